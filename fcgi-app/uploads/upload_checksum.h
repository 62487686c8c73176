/*
 * Upload-Checksum: `algorithm base64`, of the body of one request.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <sha1.h>
#include <sha2.h>

#define UPLOAD_CHECKSUM_ALGORITHMS "sha1,sha256"

enum upload_algorithm { UPLOAD_NO_CHECKSUM, UPLOAD_SHA1, UPLOAD_SHA256 };

/* Begins with a header; belongs to one thread. */
struct upload_checksum {
    enum upload_algorithm algorithm;
    uint8_t announced[SHA256_DIGEST_LENGTH];
    SHA1_CTX sha1;
    SHA2_CTX sha256;
};

/* Reads the header; an empty one is none. NULL, or what is wrong with it. */
const char *upload_checksum_begin(struct upload_checksum *checksum, const char *text);

/* The next piece of the body. */
void upload_checksum_add(struct upload_checksum *checksum, const void *data, size_t length);

/* The body is over: whether it is what was announced. */
bool upload_checksum_holds(struct upload_checksum *checksum);
