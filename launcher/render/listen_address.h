/*
 * SANDBOX_LISTEN and SANDBOX_PROXY_LISTEN: the addresses where the API and the TCP proxy listen, at
 * PORT and PROXY_PORT. Without them these are all addresses of the machine. And
 * SANDBOX_METRICS_LISTEN: where Prometheus may ask without a token. Nowhere, unless the operator
 * names an address and a port.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#define LISTEN_VARIABLE       "SANDBOX_LISTEN"
#define PROXY_LISTEN_VARIABLE "SANDBOX_PROXY_LISTEN"
#define METRICS_VARIABLE      "SANDBOX_METRICS_LISTEN"

#define LISTEN_ADDRESSES_MOST 8 /* of each variable */

/* "unix:" and a path, the longest of the texts, with its NUL. */
#define LISTEN_TEXT_SIZE 128
#define LISTEN_URL_SIZE  (LISTEN_TEXT_SIZE + sizeof("http://"))

/* IPv4, IPv6, or a unix socket with an absolute path of plain characters. */
struct listen_address {
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
        struct sockaddr_un local;
    };
    socklen_t size;
};

struct listen_addresses {
    struct listen_address address[LISTEN_ADDRESSES_MOST];
    size_t count; /* at least 1 */
    bool all;     /* the default: every address of the machine */
};

struct variables;

/*
 * Reads the setting `variable`: numeric addresses, "unix:/path" or "*", with commas between them.
 * `ipv6` says whether "*" is IPv6 as well. 0, or -1 after one line to standard error.
 */
int listen_addresses_read(struct listen_addresses *addresses, const struct variables *from,
                          const char *variable, unsigned port, bool ipv6);

/* Reads SANDBOX_METRICS_LISTEN, "127.0.0.1:3032" or "[::1]:3032"; without one the size of the
 * address is 0. 0, or -1 after one line to standard error. */
int metrics_address_read(struct listen_address *address, const struct variables *from);

/* The port that these digits are, 1 to 65535; 0 for another text. */
unsigned port_parse(const char *text);

/* The port of a numeric address. */
unsigned listen_address_port(const struct listen_address *address);

/* As nginx takes it: "127.0.0.1:3030", "[::1]:3030" or "unix:/path". */
void listen_address_format(const struct listen_address *address, char text[LISTEN_TEXT_SIZE]);

/* Where a client on this machine reaches a server that listens at `address`. */
struct listen_address listen_address_reachable(const struct listen_address *address);

/* The URL of the first of the addresses, as a client on this machine reaches it. */
void listen_addresses_url(const struct listen_addresses *addresses, char url[LISTEN_URL_SIZE]);
