#include "launcher/render/metrics_address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/variables.h"

#define PORT_MAX 65535

/* 0 for a text that is no port. */
static unsigned parse_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long port = strtoul(text, NULL, 10); /* ULONG_MAX when it is larger */
    return digits > 0 && text[digits] == '\0' && port <= PORT_MAX ? (unsigned)port : 0;
}

/* Whether `text` is address:port or [address]:port. */
static bool metrics_parse(const char *text, struct listen_address *address)
{
    char host[LISTEN_TEXT_SIZE];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon - text >= (ptrdiff_t)sizeof(host)) {
        return false;
    }
    unsigned port = parse_port(colon + 1);
    (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    return port != 0 && (host[0] == '[' || strchr(host, ':') == NULL) &&
           listen_address_parse(host, port, address);
}

int metrics_address_read(struct listen_address *address, const struct variables *from)
{
    const char *text = variables_get(from, METRICS_VARIABLE);
    if (text != NULL && strcmp(text, "off") != 0) {
        return metrics_parse(text, address)
                   ? 0
                   : variables_fail(from, METRICS_VARIABLE
                                    " must be off or a numeric address and a port: "
                                    "127.0.0.1:3032 or [::1]:3032");
    }
    *address = (struct listen_address){0};
    return 0;
}
