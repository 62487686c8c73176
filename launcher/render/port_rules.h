/*
 * Which ports of a sandbox nginx reaches for its clients (SANDBOX_PORTS), and how: the domain whose
 * names stand for ports (SANDBOX_PORT_DOMAIN), the Host that an application reads
 * (SANDBOX_PORT_HOST), and the proxies whose X-Forwarded-* headers count (SANDBOX_TRUSTED_PROXIES).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORTS_VARIABLE       "SANDBOX_PORTS"
#define PORT_DOMAIN_VARIABLE "SANDBOX_PORT_DOMAIN"
#define PORT_HOST_VARIABLE   "SANDBOX_PORT_HOST"
#define TRUSTED_VARIABLE     "SANDBOX_TRUSTED_PROXIES"

#define PORTS_LISTED_MOST 64
#define DOMAIN_SIZE       254 /* the most of a name in the DNS, with a NUL */
#define TRUSTED_MOST      32
#define TRUSTED_SIZE      52 /* of an address and "/128", with a NUL */

enum port_access {
    PORTS_ALL,
    PORTS_OWN,    /* those that commands of this sandbox listen on */
    PORTS_LISTED, /* those in the list */
};

/* Of one sandbox. */
struct port_rules {
    enum port_access access;
    size_t count;
    uint16_t list[PORTS_LISTED_MOST];
};

/* Of all sandboxes of an nginx. */
struct port_front {
    char domain[DOMAIN_SIZE]; /* in lower case; "": none but localhost */
    bool keeps_host;          /* the application reads the client's Host */
    size_t trusted_count;
    char trusted[TRUSTED_MOST][TRUSTED_SIZE]; /* addresses, or address/bits */
    bool trusts_unix;                         /* clients of unix sockets, too */
};

struct variables;

/* Reads SANDBOX_PORTS: "all" (the default), "own", or ports with commas between them. 0, or -1
 * after one line to standard error. */
int port_rules_read(struct port_rules *rules, const struct variables *from);

/* Reads the other settings. 0, or -1 after one line to standard error. */
int port_front_read(struct port_front *front, const struct variables *from);
