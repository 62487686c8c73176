/*
 * Addresses are read into a sockaddr and written anew, so that nginx's configuration gets nothing
 * else.
 */
#include "launcher/render/listen_address.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/variables.h"
#include "launcher/base/trim.h"
#include "launcher/start/run_dir.h"

#define UNIX_PREFIX "unix:"

#define PORT_MOST    65535
#define SETTING_MOST 2048 /* bytes */

static struct listen_address ipv4_address(unsigned port)
{
    return (struct listen_address){
        .ipv4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)},
        .size = sizeof(struct sockaddr_in)};
}

static struct listen_address ipv6_address(unsigned port)
{
    return (struct listen_address){
        .ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)},
        .size = sizeof(struct sockaddr_in6)};
}

static bool parse_unix(const char *path, struct listen_address *address)
{
    *address = (struct listen_address){.local = {.sun_family = AF_UNIX},
                                       .size = sizeof(struct sockaddr_un)};
    size_t length = strlen(path);
    if (path[0] != '/' || path[length - 1] == '/' || length >= sizeof(address->local.sun_path) ||
        !run_dir_is_plain_path(path)) {
        return false;
    }
    memcpy(address->local.sun_path, path, length + 1);
    return true;
}

/* A numeric address: "127.0.0.1", "::1" or "[::1]". `text` is changed. */
static bool parse_numeric(char *text, unsigned port, struct listen_address *address)
{
    *address = ipv4_address(port);
    if (inet_pton(AF_INET, text, &address->ipv4.sin_addr) == 1) {
        return true;
    }
    size_t length = strlen(text);
    if (length > 2 && text[0] == '[' && text[length - 1] == ']') {
        text[length - 1] = '\0';
        text++;
    }
    *address = ipv6_address(port);
    return inet_pton(AF_INET6, text, &address->ipv6.sin6_addr) == 1;
}

unsigned listen_address_port(const struct listen_address *address)
{
    return ntohs(address->any.sa_family == AF_INET ? address->ipv4.sin_port
                                                   : address->ipv6.sin6_port);
}

static bool address_is_known(const struct listen_addresses *addresses,
                             const struct listen_address *one)
{
    for (size_t i = 0; i < addresses->count; i++) {
        const struct listen_address *other = &addresses->address[i];
        if (other->size == one->size && memcmp(&other->any, &one->any, one->size) == 0) {
            return true;
        }
    }
    return false;
}

/* NULL, or what is wrong. */
static const char *address_append(struct listen_addresses *addresses,
                                  const struct listen_address *address)
{
    if (address_is_known(addresses, address)) {
        return "the same address twice";
    }
    if (addresses->count == LISTEN_ADDRESSES_MOST) {
        return "more than 8 addresses";
    }
    addresses->address[addresses->count++] = *address;
    return NULL;
}

static const char *append_all(struct listen_addresses *addresses, unsigned port, bool ipv6)
{
    const struct listen_address any4 = ipv4_address(port);
    const struct listen_address any6 = ipv6_address(port);
    const char *wrong = address_append(addresses, &any4);
    return wrong == NULL && ipv6 ? address_append(addresses, &any6) : wrong;
}

/* One item of the list; NULL, or what is wrong. */
static const char *read_item(struct listen_addresses *addresses, char *item, unsigned port,
                             bool ipv6)
{
    struct listen_address address;
    if (strcmp(item, "*") == 0) {
        return append_all(addresses, port, ipv6);
    }
    bool is_unix = strncmp(item, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0;
    bool is_good = is_unix ? parse_unix(item + strlen(UNIX_PREFIX), &address)
                           : parse_numeric(item, port, &address);
    return is_good ? address_append(addresses, &address) : "something else";
}

int listen_addresses_read(struct listen_addresses *addresses, const struct variables *from,
                          const char *variable, unsigned port, bool ipv6)
{
    const char *setting = variables_get(from, variable);
    char text[SETTING_MOST];
    *addresses = (struct listen_addresses){0};
    const char *wrong = NULL;
    if (snprintf(text, sizeof(text), "%s", setting == NULL ? "*" : setting) >= (int)sizeof(text)) {
        wrong = "more than 8 addresses";
    }
    addresses->all = strcmp(trim(text), "*") == 0;
    char *rest = text;
    for (char *item; wrong == NULL && (item = strsep(&rest, ",")) != NULL;) {
        wrong = read_item(addresses, trim(item), port, ipv6);
    }
    if (wrong != NULL) {
        return variables_fail(
            from,
            "%s must be numeric addresses without a port, unix:/absolute/path or *, "
            "with commas between them; it has %s",
            variable, wrong);
    }
    return 0;
}

unsigned port_parse(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    bool is_number = digits > 0 && digits <= 5 && text[digits] == '\0';
    unsigned port = is_number ? (unsigned)strtoul(text, NULL, 10) : 0;
    return port <= PORT_MOST ? port : 0;
}

int metrics_address_read(struct listen_address *address, const struct variables *from)
{
    const char *setting = variables_get(from, METRICS_VARIABLE);
    char host[LISTEN_TEXT_SIZE];
    *address = (struct listen_address){0};
    if (setting == NULL || strcmp(setting, "off") == 0) {
        return 0;
    }
    (void)snprintf(host, sizeof(host), "%s", setting);
    char *colon = strrchr(host, ':');
    unsigned port = colon == NULL ? 0 : port_parse(colon + 1);
    if (port != 0) {
        *colon = '\0';
    }
    if (port == 0 || (host[0] != '[' && strchr(host, ':') != NULL) ||
        !parse_numeric(host, port, address)) {
        return variables_fail(from, METRICS_VARIABLE " must be off or a numeric address and a "
                                                     "port: 127.0.0.1:3032 or [::1]:3032");
    }
    return 0;
}

void listen_address_format(const struct listen_address *address, char text[LISTEN_TEXT_SIZE])
{
    char host[INET6_ADDRSTRLEN] = "";
    bool is_ipv4 = address->any.sa_family == AF_INET;
    if (address->any.sa_family == AF_UNIX) {
        (void)snprintf(text, LISTEN_TEXT_SIZE, UNIX_PREFIX "%s", address->local.sun_path);
        return;
    }
    const void *number = is_ipv4 ? (const void *)&address->ipv4.sin_addr : &address->ipv6.sin6_addr;
    (void)inet_ntop(address->any.sa_family, number, host, sizeof(host)); /* it fits */
    (void)snprintf(text, LISTEN_TEXT_SIZE, is_ipv4 ? "%s:%u" : "[%s]:%u", host,
                   listen_address_port(address));
}

struct listen_address listen_address_reachable(const struct listen_address *address)
{
    struct listen_address found = *address;
    if (found.any.sa_family == AF_INET && found.ipv4.sin_addr.s_addr == htonl(INADDR_ANY)) {
        found.ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (found.any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&found.ipv6.sin6_addr)) {
        found.ipv6.sin6_addr = in6addr_loopback;
    }
    return found;
}

void listen_addresses_url(const struct listen_addresses *addresses, char url[LISTEN_URL_SIZE])
{
    struct listen_address first = listen_address_reachable(&addresses->address[0]);
    char text[LISTEN_TEXT_SIZE] = "localhost"; /* a client names the unix socket beside the URL */
    if (addresses->all) {
        first.any.sa_family = AF_INET; /* the port is at the same place */
        first.ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    if (first.any.sa_family != AF_UNIX) {
        listen_address_format(&first, text);
    }
    (void)snprintf(url, LISTEN_URL_SIZE, "http://%s", text);
}
