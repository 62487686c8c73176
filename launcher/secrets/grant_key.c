/*
 * HMAC as RFC 2104 has it.
 */
#include "launcher/secrets/grant_key.h"

#include <sha2.h>
#include <stdint.h>
#include <string.h>

#include "launcher/secrets/base64url.h"

#define LABEL "nginx-sandbox grants 1"

/* Hashes the key's block, changed by `pad`, and what follows it. */
static void hash_padded(const uint8_t block[SHA256_BLOCK_LENGTH], uint8_t pad, const void *data,
                        size_t length, uint8_t digest[SHA256_DIGEST_LENGTH])
{
    uint8_t padded[SHA256_BLOCK_LENGTH];
    SHA2_CTX sha256;
    for (size_t i = 0; i < sizeof(padded); i++) {
        padded[i] = block[i] ^ pad;
    }
    SHA256Init(&sha256);
    SHA256Update(&sha256, padded, sizeof(padded));
    SHA256Update(&sha256, data, length);
    SHA256Final(digest, &sha256);
    explicit_bzero(padded, sizeof(padded));
    explicit_bzero(&sha256, sizeof(sha256));
}

void grant_key_derive(const char *secret, char key[GRANT_KEY_SIZE])
{
    uint8_t block[SHA256_BLOCK_LENGTH] = {0};
    uint8_t digest[SHA256_DIGEST_LENGTH];
    size_t length = strlen(secret);
    if (length > sizeof(block)) {
        SHA2_CTX sha256;
        SHA256Init(&sha256);
        SHA256Update(&sha256, (const uint8_t *)secret, length);
        SHA256Final(block, &sha256);
        explicit_bzero(&sha256, sizeof(sha256));
    } else {
        for (size_t i = 0; i < length; i++) {
            block[i] = (uint8_t)secret[i];
        }
    }
    hash_padded(block, 0x36, LABEL, strlen(LABEL), digest);
    hash_padded(block, 0x5c, digest, sizeof(digest), digest);
    base64url(digest, sizeof(digest), key);
    explicit_bzero(block, sizeof(block));
    explicit_bzero(digest, sizeof(digest));
}
