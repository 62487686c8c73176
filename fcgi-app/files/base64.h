/*
 * Base64 (RFC 4648, section 4), piece by piece. The decoder is strict: it takes the standard
 * alphabet, padding at the end, zeros in the bits that are left over, and nothing else. So each
 * content has exactly one text.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The most bytes that so many characters become, and the reverse. */
#define BASE64_DECODED_MAX(length) ((length) / 4 * 3 + 3)
#define BASE64_ENCODED_MAX(length) (((length) + 2) / 3 * 4)

/* Begin with zeros. Belongs to one thread. */
struct base64_decoder {
    uint64_t taken;   /* characters so far; after a failure: before the wrong one */
    uint32_t bits;    /* of the characters of the group that is not whole yet */
    unsigned padding; /* how many = so far */
};

/*
 * Decodes the next piece into `out`, which has room for BASE64_DECODED_MAX(length). The number of
 * bytes, or -1 when a character has no place there: decoder->taken says which.
 */
ssize_t base64_decode(struct base64_decoder *decoder, const char *data, size_t length, char *out);

/* Whether the text may end here: 0, or -1 when its last group is not whole. */
int base64_decode_end(const struct base64_decoder *decoder);

/*
 * Encodes into `out`, which has room for BASE64_ENCODED_MAX(length), and returns the number of
 * characters. A length that is no multiple of 3 is padded, so only the last piece may have one.
 * Thread-safe.
 */
size_t base64_encode(const char *data, size_t length, char *out);
