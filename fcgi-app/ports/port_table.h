/*
 * The ports on which something listens, as the server last saw them: one entry for each port and
 * address, with the process that listens there. Several threads look, and share what they see.
 *
 * The server's own ports are not in it.
 *
 * Thread-safe, but for port_table_init().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-app/ports/listening.h"
#include "procd/wire/client.h"

#define PROGRAM_NAME_SIZE 32 /* of a program as in /proc/<pid>/comm */

struct port_entry {
    struct listening_socket socket; /* one of those that listen there */
    uint64_t since;                 /* when the server first saw it: ns since the epoch */
    bool is_known;                  /* procd has said who listens: */
    pid_t pid;                      /* 0: no process of a command */
    char program[PROGRAM_NAME_SIZE];
    char job_id[JOB_ID_SIZE]; /* "": no background job */
    bool is_shared;           /* as port_list_mark_shared() has found */
};

/* Ordered by port, then by family and address. */
struct port_list {
    struct port_entry *entries;
    size_t count;
    size_t capacity;
};

void port_list_clear(struct port_list *list);

#define OWN_PORTS 3 /* PORT, PROXY_PORT, and the one of SANDBOX_METRICS_LISTEN */

/* Leaves out the server's own ports (0: none) and, with `only_own` (SANDBOX_PORTS=own), what no
 * process of a command listens on. Call once, before threads. */
void port_table_init(const unsigned own_ports[OWN_PORTS], bool only_own);

/* So many entries at most; what listens beside them is not seen. */
#define PORT_ENTRIES_MAX SOCKET_OWNERS_MAX

/* Looks what listens, unless somebody has within the last `max_age_ms`; where a look takes long it
 * may be older, unless that is 0. 0, or -1 with errno. */
int port_table_look(int max_age_ms);

/* Asks procd who listens: on all ports, or on those of which that is not known yet. PROCD_DONE also
 * where there is nothing to ask. PROCD_UNREACHABLE when memory is out, too. */
enum procd_result port_table_ask(bool all);

/* Copies the entries of which it is known who listens into a list that this begins; *version
 * changes with each of them. 0, or -1 with errno: the list is empty then. */
int port_table_copy(struct port_list *list, uint64_t *version);
uint64_t port_table_version(void);

/* Whether anything listens on the port, on any address, but these sockets. */
bool port_table_listens(unsigned port, const uint32_t *but, size_t but_count);

/* Whether it is one of the server's own. */
bool port_is_own(unsigned port);
