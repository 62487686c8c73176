#include "fcgi-app/uploads/upload_checksum.h"

#include <string.h>

#include "fcgi-app/files/base64.h"

#define LONGEST BASE64_ENCODED_MAX((size_t)SHA256_DIGEST_LENGTH)

static const struct {
    const char *name;
    size_t length;
} algorithms[] = {[UPLOAD_NO_CHECKSUM] = {"", 0},
                  [UPLOAD_SHA1] = {"sha1 ", SHA1_DIGEST_LENGTH},
                  [UPLOAD_SHA256] = {"sha256 ", SHA256_DIGEST_LENGTH}};

/* Reads the base64 of a digest with so many bytes. */
static bool read_digest(struct upload_checksum *checksum, const char *text, size_t length)
{
    struct base64_decoder decoder = {0};
    char decoded[BASE64_DECODED_MAX(LONGEST)];
    size_t size = strlen(text);
    if (size > LONGEST || base64_decode(&decoder, text, size, decoded) != (ssize_t)length ||
        base64_decode_end(&decoder) != 0) {
        return false;
    }
    memcpy(checksum->announced, decoded, length);
    return true;
}

const char *upload_checksum_begin(struct upload_checksum *checksum, const char *text)
{
    checksum->algorithm = UPLOAD_NO_CHECKSUM;
    if (*text == '\0') {
        return NULL;
    }
    SHA1Init(&checksum->sha1);
    SHA256Init(&checksum->sha256);
    for (enum upload_algorithm i = UPLOAD_SHA1; i <= UPLOAD_SHA256; i++) {
        size_t name_length = strlen(algorithms[i].name);
        if (strncmp(text, algorithms[i].name, name_length) == 0) {
            checksum->algorithm = i;
            return read_digest(checksum, text + name_length, algorithms[i].length)
                       ? NULL
                       : "Upload-Checksum must be an algorithm and its digest in base64";
        }
    }
    return "The algorithm of Upload-Checksum must be one of " UPLOAD_CHECKSUM_ALGORITHMS;
}

void upload_checksum_add(struct upload_checksum *checksum, const void *data, size_t length)
{
    if (checksum->algorithm == UPLOAD_SHA1) {
        SHA1Update(&checksum->sha1, data, length);
    } else if (checksum->algorithm == UPLOAD_SHA256) {
        SHA256Update(&checksum->sha256, data, length);
    }
}

bool upload_checksum_holds(struct upload_checksum *checksum)
{
    uint8_t found[SHA256_DIGEST_LENGTH];
    if (checksum->algorithm == UPLOAD_SHA1) {
        SHA1Final(found, &checksum->sha1);
    } else if (checksum->algorithm == UPLOAD_SHA256) {
        SHA256Final(found, &checksum->sha256);
    }
    return memcmp(found, checksum->announced, algorithms[checksum->algorithm].length) == 0;
}
