/*
 * Runs of plain bytes are copied 16 at a time, the rest one sequence at a time.
 */
#include "common/json_text.h"

#include <stdint.h>
#include <string.h>

#include "common/utf8.h"

/* GCC's vector extensions: SSE2 on amd64, NEON on arm64. */
typedef signed char block __attribute__((vector_size(16)));
typedef uint64_t halves __attribute__((vector_size(16)));

/* The lowest-addressed non-zero byte of a non-zero word. */
static inline size_t first_byte(uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (size_t)__builtin_clzll(word) / 8;
#else
    return (size_t)__builtin_ctzll(word) / 8;
#endif
}

/* How many bytes of `bytes` come before its first special one (signed: also < 0x20 from 0x80 on).
 */
static inline size_t plain_prefix(block bytes)
{
    halves special = (halves)((bytes < 0x20) | (bytes == '"') | (bytes == '\\'));
    if (special[0] != 0) {
        return first_byte(special[0]);
    }
    return special[1] != 0 ? 8 + first_byte(special[1]) : sizeof(block);
}

static inline bool is_plain(char byte)
{
    return (signed char)byte >= 0x20 && byte != '"' && byte != '\\';
}

/* How many plain bytes there are. With `copy`, copies them to `out` and may write up to 15
 * bytes more, for which there must be room. */
static inline __attribute__((always_inline)) size_t
plain_run(bool copy, char *restrict out, const char *restrict data, size_t length)
{
    size_t at = 0;
    while (length - at >= sizeof(block)) {
        block bytes;
        memcpy(&bytes, data + at, sizeof(bytes));
        if (copy) {
            memcpy(out + at, &bytes, sizeof(bytes));
        }
        size_t plain = plain_prefix(bytes);
        at += plain;
        if (plain < sizeof(block)) {
            return at;
        }
    }
    for (; at < length && is_plain(data[at]); at++) {
        if (copy) {
            out[at] = data[at];
        }
    }
    return at;
}

size_t json_plain_length(const char *data, size_t length)
{
    return plain_run(false, NULL, data, length);
}

/* What stands for a control character, `"` or `\`: text and length in 8 bytes, copied at once. */
static const struct escape {
    char text[7];
    unsigned char length;
} escapes[] = {
    {"\\u0000", 6}, {"\\u0001", 6}, {"\\u0002", 6},      {"\\u0003", 6},       {"\\u0004", 6},
    {"\\u0005", 6}, {"\\u0006", 6}, {"\\u0007", 6},      {"\\b", 2},           {"\\t", 2},
    {"\\n", 2},     {"\\u000b", 6}, {"\\f", 2},          {"\\r", 2},           {"\\u000e", 6},
    {"\\u000f", 6}, {"\\u0010", 6}, {"\\u0011", 6},      {"\\u0012", 6},       {"\\u0013", 6},
    {"\\u0014", 6}, {"\\u0015", 6}, {"\\u0016", 6},      {"\\u0017", 6},       {"\\u0018", 6},
    {"\\u0019", 6}, {"\\u001a", 6}, {"\\u001b", 6},      {"\\u001c", 6},       {"\\u001d", 6},
    {"\\u001e", 6}, {"\\u001f", 6}, ['"'] = {"\\\"", 2}, ['\\'] = {"\\\\", 2},
};

const char *json_separator_escape(const char *data, size_t length, size_t *taken)
{
    if (length >= 2 && memcmp(data, "\xc2\x85", 2) == 0) {
        *taken = 2;
        return "\\u0085";
    }
    if (length >= 3 && memcmp(data, "\xe2\x80", 2) == 0 && (data[2] & '\xfe') == '\xa8') {
        *taken = 3;
        return data[2] == '\xa8' ? "\\u2028" : "\\u2029";
    }
    return NULL;
}

/* Copies a UTF-8 sequence of more than one byte, or escapes it. Returns the end of what it wrote.
 */
static inline char *put_sequence(char *out, const char *data, size_t length)
{
    unsigned char lead = (unsigned char)data[0];
    size_t taken;
    const char *escape =
        (lead & ~0x20) == 0xc2 ? json_separator_escape(data, length, &taken) : NULL;
    if (escape != NULL) {
        return mempcpy(out, escape, JSON_SEPARATOR_ESCAPE_LENGTH);
    }
    for (size_t i = 0; i < length; i++) {
        *out++ = data[i];
    }
    return out;
}

size_t json_escape(char *restrict out, const char *restrict data, size_t length, bool last,
                   size_t *consumed)
{
    bool replaced = false;
    return json_escape_noting(out, data, length, last, consumed, &replaced);
}

size_t json_escape_noting(char *restrict out, const char *restrict data, size_t length, bool last,
                          size_t *consumed, bool *replaced)
{
    char *const begin = out;
    size_t at = 0;
    while (at < length) {
        size_t plain = plain_run(true, out, data + at, length - at);
        out += plain;
        at += plain;
        /* Special bytes come in runs: text that is not ASCII, bytes that are no text. */
        while (at < length && !is_plain(data[at])) {
            unsigned char byte = (unsigned char)data[at];
            if (byte < 0x80) {
                memcpy(out, &escapes[byte], sizeof(escapes[byte]));
                out += escapes[byte].length;
                at++;
                continue;
            }
            int sequence = utf8_sequence((const unsigned char *)data + at, length - at);
            if (sequence == UTF8_UNFINISHED && !last) {
                *consumed = at;
                return (size_t)(out - begin);
            }
            if (sequence > 0) {
                out = put_sequence(out, data + at, (size_t)sequence);
                at += (size_t)sequence;
            } else {
                out = mempcpy(out, UTF8_REPLACEMENT, UTF8_REPLACEMENT_LENGTH);
                *replaced = true;
                at++;
            }
        }
    }
    *consumed = at;
    return (size_t)(out - begin);
}
