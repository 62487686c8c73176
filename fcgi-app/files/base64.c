#include "fcgi-app/files/base64.h"

#include <stdbool.h>

#define GROUP 4 /* characters for three bytes */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The six bits of a character, or -1. */
static int value_of(char character)
{
    if (character >= 'A' && character <= 'Z') {
        return character - 'A';
    }
    if (character >= 'a' && character <= 'z') {
        return character - 'a' + 26;
    }
    if (character >= '0' && character <= '9') {
        return character - '0' + 52;
    }
    return character == '+' ? 62 : character == '/' ? 63 : -1;
}

/* Whether = may come at this place of a group: the bits that it leaves over are zeros. */
static bool may_pad(const struct base64_decoder *decoder, unsigned place)
{
    return (place == 2 && (decoder->bits & 0xf) == 0) ||
           (place == 3 && (decoder->padding == 1 || (decoder->bits & 0x3) == 0));
}

/* Takes one character. 0, or -1 when it has no place there. */
static int take_character(struct base64_decoder *decoder, char character)
{
    unsigned place = (unsigned)(decoder->taken % GROUP);
    bool is_padding = character == '=';
    int value = is_padding ? 0 : value_of(character);
    if (is_padding ? !may_pad(decoder, place) : value < 0 || decoder->padding > 0) {
        return -1;
    }
    decoder->padding += is_padding;
    decoder->bits = decoder->bits << 6 | (uint32_t)value;
    return 0;
}

ssize_t base64_decode(struct base64_decoder *decoder, const char *data, size_t length, char *out)
{
    size_t written = 0;
    for (size_t i = 0; i < length; i++) {
        if (take_character(decoder, data[i]) != 0) {
            return -1;
        }
        decoder->taken++;
        if (decoder->taken % GROUP == 0) {
            uint32_t bits = decoder->bits;
            for (unsigned shift = 16, byte = decoder->padding; byte < 3; byte++, shift -= 8) {
                out[written++] = (char)(bits >> shift & 0xff);
            }
            decoder->bits = 0;
        }
    }
    return (ssize_t)written;
}

int base64_decode_end(const struct base64_decoder *decoder)
{
    return decoder->taken % GROUP == 0 ? 0 : -1;
}

size_t base64_encode(const char *data, size_t length, char *out)
{
    const unsigned char *bytes = (const unsigned char *)data;
    char *begin = out;
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t bits = (uint32_t)bytes[i] << 16;
        bits |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        bits |= left > 2 ? bytes[i + 2] : 0;
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = '=';
        *out++ = '=';
        if (left > 1) {
            out[-2] = alphabet[bits >> 6 & 63];
        }
        if (left > 2) {
            out[-1] = alphabet[bits & 63];
        }
    }
    return (size_t)(out - begin);
}
