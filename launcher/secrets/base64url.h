#pragma once

#include <stddef.h>
#include <stdint.h>

/* The characters that base64url() writes. */
#define BASE64URL_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/* RFC 4648, section 5, without padding: 4 characters for 3 bytes. `text` gets a NUL at its end. */
void base64url(const uint8_t *data, size_t length, char *text);
