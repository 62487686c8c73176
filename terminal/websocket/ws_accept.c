#include "terminal/websocket/ws_accept.h"

#include <sha1.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KEY_LENGTH 24 /* 16 bytes: 22 characters, and == */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool ws_key_is_right(const char *key)
{
    return strlen(key) == KEY_LENGTH && strspn(key, digits) == KEY_LENGTH - 2 &&
           strcmp(key + KEY_LENGTH - 2, "==") == 0;
}

bool ws_offers(const char *offered, const char *protocol)
{
    static const char between[] = ", \t";
    for (;;) {
        offered += strspn(offered, between);
        size_t length = strcspn(offered, between);
        if (length == 0) {
            return false;
        }
        if (length == strlen(protocol) && strncmp(offered, protocol, length) == 0) {
            return true;
        }
        offered += length;
    }
}

void ws_accept(const char *key, char accept[WS_ACCEPT_SIZE])
{
    static const char identifier[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    SHA1_CTX context;
    uint8_t digest[SHA1_DIGEST_LENGTH + 1] = {
        0}; /* 21 bytes are 28 digits; the last one is no digit */
    SHA1Init(&context);
    SHA1Update(&context, (const uint8_t *)key, strlen(key));
    SHA1Update(&context, (const uint8_t *)identifier, sizeof(identifier) - 1);
    SHA1Final(digest, &context);
    for (size_t i = 0; i < sizeof(digest) / 3; i++) {
        uint32_t three =
            (uint32_t)digest[3 * i] << 16 | (uint32_t)digest[3 * i + 1] << 8 | digest[3 * i + 2];
        for (unsigned j = 0; j < 4; j++) {
            accept[4 * i + j] = digits[three >> (18 - 6 * j) & 0x3f];
        }
    }
    accept[WS_ACCEPT_SIZE - 2] = '=';
    accept[WS_ACCEPT_SIZE - 1] = '\0';
}
