#include "fcgi-app/files/disposition.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/utf8.h"

/* Letters and digits, and what RFC 8187 lets stand for itself beside them. */
static bool stands_for_itself(char byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
           (byte != '\0' && strchr("!#$&+-.^_`|~", byte) != NULL);
}

const char *disposition_header(char header[DISPOSITION_SIZE], const char *name, size_t length,
                               const char *extension)
{
    char *out = stpcpy(header, "Content-Disposition: attachment; filename=\"");
    length = length < DISPOSITION_NAME_MOST ? length : DISPOSITION_NAME_MOST;
    for (size_t i = 0; i < length; i++) {
        char byte = name[i];
        if (!stands_for_itself(byte) && byte != ' ') {
            byte = '_';
        }
        *out++ = byte;
    }
    out = stpcpy(stpcpy(out, extension), "\"");
    if (utf8_valid_length(name, length) == length) {
        out = stpcpy(out, "; filename*=UTF-8''");
        for (size_t i = 0; i < length; i++) {
            out += stands_for_itself(name[i]) ? snprintf(out, 2, "%c", name[i])
                                              : snprintf(out, 4, "%%%02X", (unsigned char)name[i]);
        }
        out = stpcpy(out, extension);
    }
    (void)stpcpy(out, "\r\n");
    return header;
}
