#include "fcgi-app/files/body_digest.h"

#include <string.h>

#include "fcgi-app/files/base64.h"
#include "fcgi-app/http/request.h"

#define KEY         "sha-256="
#define TEXT_LENGTH BASE64_ENCODED_MAX((size_t)SHA256_DIGEST_LENGTH)

/* Finds the member of a dictionary (RFC 8941), `:<base64>:`. NULL: there is none. */
static const char *find_member(const char *list)
{
    for (list += strspn(list, " \t"); *list != '\0'; list += strspn(list, ", \t")) {
        if (strncmp(list, KEY, strlen(KEY)) == 0) {
            return list + strlen(KEY);
        }
        list += strcspn(list, ",");
    }
    return NULL;
}

/* Whether the member is a digest, which goes to `out`. */
static bool read_member(const char *member, uint8_t out[SHA256_DIGEST_LENGTH])
{
    struct base64_decoder decoder = {0};
    char decoded[BASE64_DECODED_MAX(TEXT_LENGTH)];
    if (member[0] != ':' || strcspn(member + 1, ":") != TEXT_LENGTH ||
        member[1 + TEXT_LENGTH] != ':' ||
        base64_decode(&decoder, member + 1, TEXT_LENGTH, decoded) != SHA256_DIGEST_LENGTH) {
        return false;
    }
    memcpy(out, decoded, SHA256_DIGEST_LENGTH);
    return true;
}

const char *body_digest_begin(struct body_digest *digest, const struct request *request)
{
    static const char *const headers[] = {"HTTP_CONTENT_DIGEST", "HTTP_REPR_DIGEST"};
    *digest = (struct body_digest){.count = 0};
    SHA256Init(&digest->sha256);
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        const char *member = find_member(request_param(request, headers[i]));
        if (member == NULL) {
            continue;
        }
        if (!read_member(member, digest->announced[digest->count++])) {
            return "A digest must be sha-256=:<base64>:";
        }
    }
    return NULL;
}

void body_digest_add(struct body_digest *digest, const void *data, size_t length)
{
    if (digest->count > 0) {
        SHA256Update(&digest->sha256, data, length);
    }
}

bool body_digest_holds(struct body_digest *digest)
{
    uint8_t found[SHA256_DIGEST_LENGTH];
    if (digest->count == 0) {
        return true;
    }
    SHA256Final(found, &digest->sha256);
    for (unsigned i = 0; i < digest->count; i++) {
        if (memcmp(found, digest->announced[i], sizeof(found)) != 0) {
            return false;
        }
    }
    return true;
}
