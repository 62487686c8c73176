/*
 * A numeric address and a port. They are read into a sockaddr and written anew, so that what
 * nginx's configuration gets is nothing else.
 */
#include "launcher/render/metrics_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/logger.h"

#define PORT_MAX 65535

union address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

/* The port after the last colon, 0 for what is none. */
static unsigned parse_port(const char *text)
{
    char *end;
    errno = 0;
    unsigned long port = strtoul(text, &end, 10);
    bool digits = text[strspn(text, "0123456789")] == '\0' && end != text;
    return digits && errno == 0 && port <= PORT_MAX ? (unsigned)port : 0;
}

/* Whether `text` is address:port or [address]:port. */
static bool parse(const char *text, union address *address)
{
    char host[METRICS_ADDRESS_SIZE];
    const char *colon = strrchr(text, ':');
    unsigned port = colon == NULL ? 0 : parse_port(colon + 1);
    if (port == 0 || colon - text >= (ptrdiff_t)sizeof(host)) {
        return false;
    }
    size_t length = (size_t)(colon - text);
    memcpy(host, text, length);
    host[length] = '\0';
    *address = (union address){.ipv4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}};
    if (inet_pton(AF_INET, host, &address->ipv4.sin_addr) == 1) {
        return true;
    }
    if (length < 2 || host[0] != '[' || host[length - 1] != ']') {
        return false;
    }
    host[length - 1] = '\0';
    *address =
        (union address){.ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)}};
    return inet_pton(AF_INET6, host + 1, &address->ipv6.sin6_addr) == 1;
}

static unsigned port_of(const union address *address)
{
    return ntohs(address->any.sa_family == AF_INET ? address->ipv4.sin_port
                                                   : address->ipv6.sin6_port);
}

static void format(const union address *address, char text[METRICS_ADDRESS_SIZE])
{
    char host[INET6_ADDRSTRLEN] = "";
    bool is_ipv4 = address->any.sa_family == AF_INET;
    const void *number =
        is_ipv4 ? (const void *)&address->ipv4.sin_addr : (const void *)&address->ipv6.sin6_addr;
    (void)inet_ntop(address->any.sa_family, number, host, sizeof(host)); /* it fits */
    (void)snprintf(text, METRICS_ADDRESS_SIZE, is_ipv4 ? "%s:%u" : "[%s]:%u", host,
                   port_of(address));
}

int metrics_address_read(char address[METRICS_ADDRESS_SIZE], char *error, size_t size)
{
    const char *text = getenv(METRICS_VARIABLE);
    union address parsed;
    address[0] = '\0';
    if (text == NULL || *text == '\0' || strcmp(text, "off") == 0) {
        return 0;
    }
    if (!parse(text, &parsed)) {
        (void)snprintf(error, size,
                       METRICS_VARIABLE " must be off or a numeric address and a port: "
                                        "127.0.0.1:3032 or [::1]:3032");
        return -1;
    }
    format(&parsed, address);
    return 0;
}

int metrics_address_take(char address[METRICS_ADDRESS_SIZE], const struct settings *settings)
{
    char error[256];
    if (metrics_address_read(address, error, sizeof(error)) < 0) {
        log_line("%s", error);
        return -1;
    }
    unsigned port = metrics_address_port(address);
    if (port != 0 && (port == settings->port || port == settings->proxy_port)) {
        log_line(METRICS_VARIABLE " must have a port of its own, not PORT or PROXY_PORT (%u)",
                 port);
        return -1;
    }
    return 0;
}

unsigned metrics_address_port(const char *address)
{
    const char *colon = strrchr(address, ':');
    return colon == NULL ? 0 : parse_port(colon + 1);
}

int metrics_address_open(const char *address, struct listeners *listeners)
{
    union address parsed;
    if (address[0] == '\0' || !parse(address, &parsed)) {
        return 0;
    }
    bool is_ipv6 = parsed.any.sa_family == AF_INET6;
    if (listeners_add(listeners, &parsed.any, is_ipv6 ? sizeof(parsed.ipv6) : sizeof(parsed.ipv4)) <
        0) {
        log_line(METRICS_VARIABLE ": cannot listen on %s: %m", address);
        return -1;
    }
    return 0;
}
