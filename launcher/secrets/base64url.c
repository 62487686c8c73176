#include "launcher/secrets/base64url.h"

void base64url(const uint8_t *data, size_t length, char *text)
{
    static const char alphabet[] = BASE64URL_CHARACTERS;
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < length; i++) {
        bits = bits << 8 | data[i];
        for (count += 8; count >= 6; count -= 6) {
            *text++ = alphabet[bits >> (count - 6) & 63];
        }
    }
    if (count > 0) {
        *text++ = alphabet[bits << (6 - count) & 63];
    }
    *text = '\0';
}
