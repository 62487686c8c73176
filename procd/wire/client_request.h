/*
 * What the files of the client share: one request to procd and its answer, over a kept connection.
 * Deadlines are times of clock_monotonic_ms().
 *
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "procd/wire/protocol.h"
#include "procd/wire/words.h"

/* Killing an obstinate tree takes its time, and so does a machine that starts hundreds at once. */
#define CLIENT_ANSWER_MS 30000
#define CLIENT_RETRY_MS  5000 /* how long the client waits for a procd that is being restarted */
#define CLIENT_PAUSE_MS  10   /* between two attempts */

/* An answer. Its packet is on the heap, because fcgi-app has many threads and so many stacks. */
struct procd_answer {
    struct incoming message;
    char *packet; /* MESSAGE_PACKET_MAX bytes from malloc(3), or NULL: then nothing is asked */
};

/* procd listens at this O_PATH descriptor, which stays open. To call once, before threads. */
void client_connect_to(int socket_file);

void procd_answer_clear(struct procd_answer *answer);
#define cleanup_procd_answer cleanup_(procd_answer_clear)

/*
 * Sends a request and asks for the answer. PROCD_DONE when there is an answer, whatever it says;
 * PROCD_UNREACHABLE when there is no procd for `wait_ms`, or no memory; PROCD_LOST when procd has
 * the request and does not answer for `patience_ms`.
 */
enum procd_result client_ask(struct message *request, struct procd_answer *answer, int64_t wait_ms,
                             int64_t patience_ms);

/* The same with the usual times, and repeats the request while procd is being restarted: not for
 * what must not be carried out twice. */
enum procd_result client_ask_again(struct message *request, struct procd_answer *answer);

/*
 * Sends a request, with `count` descriptors (borrowed), over a kept connection or a new one. 0 with
 * the caller's *connection, or -1 with errno. A kept connection whose procd has died delivers
 * nothing and says so; then the next one is tried.
 */
int client_send(struct message *request, const int *descriptors, size_t count, int64_t deadline,
                int *connection);

/* Receives and opens the answer. 0, or -1. */
int client_receive(int connection, struct procd_answer *answer, int64_t deadline);

/* What is kept for the next request: connections to procd, and leases of runners that wait. */
enum kept { KEPT_CONNECTION, KEPT_LEASE, KEPT_KINDS };

/* The one that was kept last, the caller's, or -1. */
int client_take_kept(enum kept kind);

/* Keeps it, or closes it. *fd becomes -1. */
void client_keep(enum kept kind, int *fd);

bool client_await_readable(int fd, int64_t deadline);
void client_pause(void);

/* Appends the fields of RUN and START. */
void client_add_command(struct message *message, const struct command *command);
