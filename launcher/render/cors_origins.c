/*
 * Each origin is parsed and written anew, so that nginx's configuration gets nothing else, and an
 * origin in another spelling than a browser's is still found.
 */
#include "launcher/render/cors_origins.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/variables.h"
#include "launcher/base/trim.h"
#include "launcher/render/listen_address.h"

#define SCHEME_FORMAT "%32[a-z0-9+.-]://"
#define PORT_SIZE     12 /* of ":" and an unsigned number */

/* What follows the host, "" or ":" and a port. `port` becomes the same, or "" for the default of
 * the scheme. */
static bool port_rewrite(const char *text, const char *scheme, char port[PORT_SIZE])
{
    unsigned number = *text == ':' ? port_parse(text + 1) : 0;
    bool is_default = (number == 80 && strcmp(scheme, "http") == 0) ||
                      (number == 443 && strcmp(scheme, "https") == 0);
    port[0] = '\0';
    if (number != 0 && !is_default) {
        (void)snprintf(port, PORT_SIZE, ":%u", number);
    }
    return number != 0 || *text == '\0';
}

/* Writes the origin anew, as a browser sends it. `text` is changed. The caller frees; NULL with
 * errno, EINVAL if it is no origin. */
static char *origin_rewrite(char *text)
{
    char scheme[32 + 1];
    char host[253 + 1] = ""; /* the most of a name in the DNS */
    char port[PORT_SIZE];
    struct in6_addr address;
    char *result = NULL;
    int end = 0;
    for (char *at = text; *at != '\0'; at++) {
        *at = (char)tolower((unsigned char)*at);
    }
    errno = EINVAL;
    if (sscanf(text, SCHEME_FORMAT "[%250[0-9a-f:.]]%n", scheme, host + 1, &end) == 2 && end > 0) {
        if (inet_pton(AF_INET6, host + 1, &address) != 1) {
            return NULL;
        }
        (void)inet_ntop(AF_INET6, &address, host + 1, INET6_ADDRSTRLEN); /* it fits */
        host[0] = '[';
        memcpy(host + strlen(host), "]", sizeof("]"));
    } else if (sscanf(text, SCHEME_FORMAT "%253[a-z0-9._-]%n", scheme, host, &end) != 2) {
        return NULL;
    }
    if (!islower((unsigned char)scheme[0]) || !port_rewrite(text + end, scheme, port)) {
        return NULL;
    }
    return asprintf(&result, "%s://%s%s", scheme, host, port) < 0 ? NULL : result;
}

/* Adds one of the list. Returns what is wrong with it, or NULL. */
static const char *cors_add(struct cors_origins *origins, char *text)
{
    if (strcmp(text, "*") == 0) {
        origins->any = true;
        return NULL;
    }
    if (origins->count == CORS_ORIGINS_MOST) {
        return "is one too many";
    }
    char *origin = origin_rewrite(text);
    if (origin == NULL) {
        return errno == EINVAL ? "is no origin" : strerror(errno);
    }
    origins->origin[origins->count++] = origin;
    return NULL;
}

int cors_origins_read(struct cors_origins *origins, const struct variables *from)
{
    const char *setting = variables_get(from, CORS_VARIABLE);
    *origins = (struct cors_origins){0};
    cleanup_free char *text = strdup(setting == NULL ? "" : setting);
    if (text == NULL) {
        return variables_fail(from, CORS_VARIABLE ": %s", strerror(errno));
    }
    unsigned number = 0;
    const char *fault = NULL;
    char *rest = text;
    for (char *item; fault == NULL && (item = strsep(&rest, ",")) != NULL;) {
        item = trim(item);
        if (*item != '\0') {
            number++;
            fault = cors_add(origins, item);
        }
    }
    if (fault == NULL && origins->any && number > 1) {
        fault = "is not alone with *";
    }
    if (fault != NULL) {
        return variables_fail(from,
                              CORS_VARIABLE
                              " must be * or at most %d origins without a path, such as "
                              "https://app.example.org:8443, with commas between them: "
                              "number %u %s",
                              CORS_ORIGINS_MOST, number, fault);
    }
    return 0;
}

void cors_origins_free(struct cors_origins *origins)
{
    for (size_t i = 0; i < origins->count; i++) {
        free(origins->origin[i]);
    }
    *origins = (struct cors_origins){0};
}
