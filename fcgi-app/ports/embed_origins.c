#include "fcgi-app/ports/embed_origins.h"

#include <stdbool.h>
#include <string.h>

#define ORIGIN_MOST 255 /* bytes */

#define HOST_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"

struct reading {
    char *text;
    size_t length;
    const char *fault;
};

/* Whether it is a scheme, a host (no IPv6, which frame-ancestors cannot name) and perhaps a port:
 * no character of it means anything else to a header. */
static bool is_origin(const char *text)
{
    size_t scheme = strncmp(text, "https://", 8) == 0  ? 8
                    : strncmp(text, "http://", 7) == 0 ? 7
                                                       : 0;
    if (scheme == 0) {
        return false;
    }
    const char *host = text + scheme;
    size_t length = strspn(host, HOST_CHARACTERS);
    if (length == 0 || host[length] == '\0') {
        return length > 0;
    }
    const char *port = host + length + 1;
    size_t digits = strspn(port, "0123456789");
    return host[length] == ':' && digits > 0 && digits <= 5 && port[digits] == '\0';
}

static bool refuse_origin(struct reading *reading, const char *fault)
{
    reading->fault = fault;
    return false;
}

static bool take_origin(void *context, struct json_span name, enum json_type type,
                        struct json_span value)
{
    (void)name;
    struct reading *reading = context;
    char origin[ORIGIN_MOST + 1];
    if (type != JSON_TYPE_STRING || value.length > ORIGIN_MOST ||
        memchr(value.data, '\\', value.length) != NULL) {
        return refuse_origin(reading, "embed_origins must be a list of origins, such as "
                                      "\"https://app.example.org\"");
    }
    memcpy(origin, value.data, value.length); /* nothing in it is escaped */
    origin[value.length] = '\0';
    if (!is_origin(origin)) {
        return refuse_origin(reading, "embed_origins must be a list of origins, such as "
                                      "\"https://app.example.org\"");
    }
    if (reading->length + 1 + value.length > SHARE_ORIGINS_MOST) {
        return refuse_origin(reading, "embed_origins is too long");
    }
    if (reading->length > 0) {
        reading->text[reading->length++] = ' ';
    }
    memcpy(reading->text + reading->length, origin, value.length + 1);
    reading->length += value.length;
    return true;
}

const char *embed_origins_read(struct json_span list, char text[static SHARE_ORIGINS_MOST + 1])
{
    struct reading reading = {.text = text};
    struct json_scan_error error;
    text[0] = '\0';
    if (list.length > 0) {
        (void)json_scan_array(list.data, list.length, take_origin, &reading, &error);
    }
    return reading.fault;
}
