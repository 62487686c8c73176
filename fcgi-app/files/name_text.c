#include "fcgi-app/files/name_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/json_text.h"
#include "common/utf8.h"
#include "fcgi-app/http/writer.h"

#define ESCAPED_SUFFIX "_escaped"
#define HEAD_SIZE      64 /* a member's name and what is around it */

static bool stays_plain(unsigned char byte)
{
    static const char others[] = "-._~/";
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || (byte != '\0' && strchr(others, byte) != NULL);
}

size_t name_text_escape(char *out, const char *name, size_t length)
{
    static const char digits[] = "0123456789ABCDEF";
    char *at = out;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)name[i];
        if (stays_plain(byte)) {
            *at++ = name[i];
            continue;
        }
        *at++ = '%';
        *at++ = digits[byte >> 4];
        *at++ = digits[byte & 15];
    }
    return (size_t)(at - out);
}

size_t name_text_render(char *out, const char *member, const char *name, size_t length)
{
    size_t taken;
    char *at = out + snprintf(out, HEAD_SIZE, "\"%.30s\":\"", member);
    at += json_escape(at, name, length, true, &taken);
    *at++ = '"';
    if (utf8_valid_length(name, length) < length) {
        at += snprintf(at, HEAD_SIZE, ",\"%.30s" ESCAPED_SUFFIX "\":\"", member);
        at += name_text_escape(at, name, length);
        *at++ = '"';
    }
    return (size_t)(at - out);
}

int name_text_write(struct writer *writer, const char *member, const char *name, size_t length)
{
    (void)writer_string(writer, "\"");
    (void)writer_string(writer, member);
    (void)writer_string(writer, "\":\"");
    (void)writer_text(writer, name, length);
    int written = writer_string(writer, "\"");
    if (utf8_valid_length(name, length) == length || written != 0) {
        return written;
    }
    written = writer_format(writer, ",\"%.30s" ESCAPED_SUFFIX "\":\"", member);
    for (size_t step; written == 0 && length > 0; name += step, length -= step) {
        char piece[3 * 64];
        step = length < 64 ? length : 64;
        written = writer_raw(writer, piece, name_text_escape(piece, name, step));
    }
    return written == 0 ? writer_string(writer, "\"") : written;
}
