/*
 * Each origin is parsed and written anew, so that nginx's configuration gets nothing else, and an
 * origin in another spelling than a browser's is still found.
 */
#include "launcher/render/cors_origins.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/variables.h"
#include "launcher/base/trim.h"

#define LOWER   "abcdefghijklmnopqrstuvwxyz"
#define DIGITS  "0123456789"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZ" LOWER

#define SCHEME_MOST 32
#define HOST_MOST   253 /* bytes of a name in the DNS */
#define PORT_MOST   65535

struct origin {
    char scheme[SCHEME_MOST + 1];
    char host[HOST_MOST + 1];
    unsigned port; /* 0: the default of the scheme */
};

/* Takes the first `length` bytes of *text in lower case. False if that is nothing, or too much. */
static bool origin_take(const char **text, size_t length, char *taken, size_t most)
{
    if (length == 0 || length > most) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        char byte = (*text)[i];
        taken[i] = (char)(byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte);
    }
    taken[length] = '\0';
    *text += length;
    return true;
}

static bool take_scheme(const char **text, struct origin *origin)
{
    size_t length = strspn(*text, LETTERS DIGITS "+-.");
    if (strspn(*text, LETTERS) == 0 || !origin_take(text, length, origin->scheme, SCHEME_MOST) ||
        strncmp(*text, "://", 3) != 0) {
        return false;
    }
    *text += 3;
    return true;
}

/* "[::1]", in the form that browsers give it. */
static bool take_address(const char **text, struct origin *origin)
{
    struct in6_addr address;
    size_t length = strcspn(*text, "]");
    if ((*text)[length] != ']' || !origin_take(text, length + 1, origin->host, HOST_MOST)) {
        return false;
    }
    origin->host[length] = '\0';
    if (inet_pton(AF_INET6, origin->host + 1, &address) != 1 ||
        inet_ntop(AF_INET6, &address, origin->host + 1, HOST_MOST - 2) == NULL) {
        return false;
    }
    memcpy(origin->host + strlen(origin->host), "]", 2);
    return true;
}

static bool take_host(const char **text, struct origin *origin)
{
    if (**text == '[') {
        return take_address(text, origin);
    }
    return origin_take(text, strspn(*text, LETTERS DIGITS "-._"), origin->host, HOST_MOST);
}

/* ":8443", or nothing. */
static bool take_port(const char **text, struct origin *origin)
{
    origin->port = 0;
    if (**text != ':') {
        return true;
    }
    size_t length = strspn(++*text, DIGITS);
    if (length == 0 || length > 5) {
        return false;
    }
    origin->port = (unsigned)strtoul(*text, NULL, 10);
    *text += length;
    if (origin->port == 0 || origin->port > PORT_MOST) {
        return false;
    }
    if ((origin->port == 80 && strcmp(origin->scheme, "http") == 0) ||
        (origin->port == 443 && strcmp(origin->scheme, "https") == 0)) {
        origin->port = 0;
    }
    return true;
}

static bool origin_parse(const char *text, struct origin *origin)
{
    return take_scheme(&text, origin) && take_host(&text, origin) && take_port(&text, origin) &&
           *text == '\0';
}

static char *origin_format(const struct origin *origin)
{
    char *text = NULL;
    int length = origin->port == 0
                     ? asprintf(&text, "%s://%s", origin->scheme, origin->host)
                     : asprintf(&text, "%s://%s:%u", origin->scheme, origin->host, origin->port);
    return length < 0 ? NULL : text;
}

/* Adds one of the list. Returns what is wrong with it, or NULL. */
static const char *cors_add(struct cors_origins *origins, const char *text)
{
    struct origin origin;
    if (strcmp(text, "*") == 0) {
        origins->any = true;
        return NULL;
    }
    if (!origin_parse(text, &origin)) {
        return "is no origin";
    }
    if (origins->count == CORS_ORIGINS_MOST) {
        return "is one too many";
    }
    char *formatted = origin_format(&origin);
    if (formatted == NULL) {
        return strerror(ENOMEM);
    }
    origins->origin[origins->count++] = formatted;
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
