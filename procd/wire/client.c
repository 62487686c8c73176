/*
 * Where procd is, and the questions about the server as a whole.
 */
#include "procd/wire/client.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "procd/wire/client_request.h"

int procd_client_init(const char *socket_path)
{
    int fd = open(socket_path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    client_connect_to(fd);
    return 0;
}

bool procd_is_connected(void)
{
    cleanup_fd int fd = client_take_kept(KEPT_CONNECTION);
    struct pollfd idle = {.fd = fd, .events = POLLIN};
    if (fd < 0 || poll(&idle, 1, 0) != 0) {
        return false;
    }
    client_keep(KEPT_CONNECTION, &fd);
    return true;
}

/* Asks for an answer of type `expected`, by a request without fields. */
static enum procd_result ask_plain(enum message_type type, enum message_type expected,
                                   struct procd_answer *answer, int timeout_ms)
{
    cleanup_message struct message request;
    message_init(&request, type);
    enum procd_result result = client_ask(&request, answer, timeout_ms, timeout_ms);
    return result == PROCD_DONE && answer->message.type != expected ? PROCD_LOST : result;
}

enum procd_result procd_ping(bool *can_start, int timeout_ms)
{
    cleanup_procd_answer struct procd_answer answer = {.packet = malloc(MESSAGE_PACKET_MAX)};
    enum procd_result result = ask_plain(MESSAGE_PING, MESSAGE_DONE, &answer, timeout_ms);
    if (result == PROCD_DONE && can_start != NULL) {
        *can_start = message_number(&answer.message, FIELD_RUNNER_FAILURES, 0) == 0;
    }
    return result;
}

static struct daemon_status read_daemon(const struct incoming *fields)
{
    int64_t starts = message_number(fields, FIELD_STARTS, -1);
    struct daemon_status daemon = {
        .restarts = starts > 0 ? starts - 1 : starts,
        .pid = message_number(fields, FIELD_PID, -1),
        .descriptors = message_number(fields, FIELD_DESCRIPTORS, -1),
        .threads = message_number(fields, FIELD_THREADS, -1),
        .rss_kb = message_number(fields, FIELD_RSS_KB, -1),
    };
    (void)snprintf(daemon.name, sizeof(daemon.name), "%s", message_text(fields, FIELD_ID));
    return daemon;
}

static void read_status(const struct incoming *message, struct procd_status *status)
{
    *status = (struct procd_status){
        .uptime_ms = message_number(message, FIELD_UPTIME_MS, -1),
        .running = message_number(message, FIELD_RUNNING, -1),
        .runners = message_number(message, FIELD_RUNNERS, -1),
        .idle_runners = message_number(message, FIELD_IDLE, -1),
        .runner_failures = message_number(message, FIELD_RUNNER_FAILURES, -1),
        .disk_free = message_number(message, FIELD_DISK_FREE, -1),
        .disk_total = message_number(message, FIELD_DISK_TOTAL, -1),
    };
    struct incoming daemon = {0};
    while (status->daemon_count < DAEMON_COUNT && message_next_group(message, FIELD_ID, &daemon)) {
        status->daemons[status->daemon_count++] = read_daemon(&daemon);
    }
}

enum procd_result procd_status(struct procd_status *status, int timeout_ms)
{
    cleanup_procd_answer struct procd_answer answer = {.packet = malloc(MESSAGE_PACKET_MAX)};
    enum procd_result result = ask_plain(MESSAGE_STATUS, MESSAGE_STATUS, &answer, timeout_ms);
    if (result == PROCD_DONE) {
        read_status(&answer.message, status);
    }
    return result;
}

enum procd_result procd_socket_owners(const uint32_t *inodes, size_t count,
                                      socket_owner_function *each, void *context)
{
    cleanup_message struct message request;
    cleanup_procd_answer struct procd_answer answer = {.packet = malloc(MESSAGE_PACKET_MAX)};
    message_init(&request, MESSAGE_SOCKETS);
    for (size_t i = 0; i < count; i++) {
        message_add_number(&request, FIELD_INODE, inodes[i]);
    }
    enum procd_result result = client_ask_again(&request, &answer);
    if (result != PROCD_DONE || answer.message.type != MESSAGE_SOCKETS) {
        return result == PROCD_DONE ? PROCD_LOST : result;
    }
    struct incoming fields = {0};
    while (message_next_group(&answer.message, FIELD_INODE, &fields)) {
        const char *name = message_text(&fields, FIELD_LEFT_NAME);
        each(context, &(const struct socket_owner){
                          .inode = (uint32_t)message_number(&fields, FIELD_INODE, 0),
                          .pid = (pid_t)message_number(&fields, FIELD_PID, 0),
                          .name = name == NULL ? "" : name,
                          .job_id = message_text(&fields, FIELD_ID),
                      });
    }
    return PROCD_DONE;
}
