/*
 * Each origin is parsed and written anew, so that nginx's configuration gets nothing else, and an
 * origin in another spelling than a browser's is still found.
 */
#include "launcher/render/cors_origins.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/variables.h"
#include "launcher/base/trim.h"

#define SCHEME_MOST 32
#define HOST_MOST   253 /* bytes of a name in the DNS */
#define PORT_MOST   65535

/* Its groups are the scheme, the host, and the port after its colon. */
#define ORIGIN "^([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\\[[0-9a-f:.]+])(:([0-9]{1,5}))?$"

enum { WHOLE, SCHEME, HOST, COLON_PORT, PORT, GROUPS };

struct origin {
    char scheme[SCHEME_MOST + 1];
    char host[HOST_MOST + 1];
    unsigned port; /* 0: the default of the scheme */
};

/* Copies a group in lower case; false if it is longer than `most`. */
static bool copy_group(const char *text, const regmatch_t *group, char *copy, size_t most)
{
    size_t length = (size_t)(group->rm_eo - group->rm_so);
    for (size_t i = 0; i < length && i < most; i++) {
        copy[i] = (char)tolower((unsigned char)text[group->rm_so + (regoff_t)i]);
    }
    copy[length < most ? length : most] = '\0';
    return length <= most;
}

/* "[::1]" gets the form that browsers give it. */
static bool normalize_address(char *host)
{
    struct in6_addr address;
    host[strlen(host) - 1] = '\0';
    if (inet_pton(AF_INET6, host + 1, &address) != 1 ||
        inet_ntop(AF_INET6, &address, host + 1, HOST_MOST - 2) == NULL) {
        return false;
    }
    memcpy(host + strlen(host), "]", 2);
    return true;
}

static bool origin_parse(const char *text, struct origin *origin)
{
    regex_t regex;
    regmatch_t groups[GROUPS];
    if (regcomp(&regex, ORIGIN, REG_EXTENDED | REG_ICASE) != 0) {
        return false;
    }
    bool matches = regexec(&regex, text, GROUPS, groups, 0) == 0;
    regfree(&regex);
    if (!matches || !copy_group(text, &groups[SCHEME], origin->scheme, SCHEME_MOST) ||
        !copy_group(text, &groups[HOST], origin->host, HOST_MOST) ||
        (origin->host[0] == '[' && !normalize_address(origin->host))) {
        return false;
    }
    bool has_port = groups[PORT].rm_so >= 0;
    origin->port = has_port ? (unsigned)strtoul(text + groups[PORT].rm_so, NULL, 10) : 0;
    if (has_port && (origin->port == 0 || origin->port > PORT_MOST)) {
        return false;
    }
    if ((origin->port == 80 && strcmp(origin->scheme, "http") == 0) ||
        (origin->port == 443 && strcmp(origin->scheme, "https") == 0)) {
        origin->port = 0;
    }
    return true;
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
