/*
 * Where procd is, and the questions about the server as a whole.
 */
#include "procd/wire/client.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/clock.h"
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

enum procd_result procd_ping(int timeout_ms)
{
    bool can_start;
    return procd_can_start(&can_start, timeout_ms);
}

enum procd_result procd_can_start(bool *can_start, int timeout_ms)
{
    cleanup_message struct message request;
    cleanup_procd_answer struct procd_answer answer = {.large = NULL};
    message_init(&request, MESSAGE_PING);
    enum procd_result result =
        client_ask(&request, &answer, clock_monotonic_ms() + timeout_ms, timeout_ms);
    if (result != PROCD_DONE || answer.message.type != MESSAGE_DONE) {
        return result == PROCD_DONE ? PROCD_LOST : result;
    }
    *can_start = message_number(&answer.message, FIELD_RUNNER_FAILURES, 0) == 0;
    return PROCD_DONE;
}

static void read_daemon_number(struct daemon_status *daemon, const struct field *field)
{
    switch ((int)field->tag) {
    case FIELD_STARTS:
        daemon->restarts = field->number > 0 ? field->number - 1 : 0;
        break;
    case FIELD_PID:
        daemon->pid = field->number;
        break;
    case FIELD_DESCRIPTORS:
        daemon->descriptors = field->number;
        break;
    case FIELD_THREADS:
        daemon->threads = field->number;
        break;
    case FIELD_RSS_KB:
        daemon->rss_kb = field->number;
        break;
    default:
        break;
    }
}

static void read_status(const struct incoming *message, struct procd_status *status)
{
    *status = (struct procd_status){
        .supervisor = -1, /* a FIELD_PID that comes after a FIELD_ID is a daemon's */
        .uptime_ms = message_number(message, FIELD_UPTIME_MS, -1),
        .running = message_number(message, FIELD_RUNNING, -1),
        .runners = message_number(message, FIELD_RUNNERS, -1),
        .idle_runners = message_number(message, FIELD_IDLE, -1),
        .runner_failures = message_number(message, FIELD_RUNNER_FAILURES, -1),
        .disk_free = message_number(message, FIELD_DISK_FREE, -1),
        .disk_total = message_number(message, FIELD_DISK_TOTAL, -1),
    };
    struct daemon_status *daemon = NULL;
    struct field field = {0};
    while (message_next(message, &field)) {
        if (field.tag == FIELD_ID && status->daemon_count == DAEMON_COUNT) {
            return;
        }
        if (field.tag == FIELD_ID) {
            daemon = &status->daemons[status->daemon_count++];
            *daemon = (struct daemon_status){
                .pid = -1, .restarts = -1, .descriptors = -1, .threads = -1, .rss_kb = -1};
            (void)snprintf(daemon->name, sizeof(daemon->name), "%s", field.text);
        } else if (daemon != NULL) {
            read_daemon_number(daemon, &field);
        } else if (field.tag == FIELD_PID) {
            status->supervisor = (pid_t)field.number;
        }
    }
}

enum procd_result procd_status(struct procd_status *status, int timeout_ms)
{
    cleanup_message struct message request;
    cleanup_procd_answer struct procd_answer answer = {.large = malloc(MESSAGE_PACKET_MAX)};
    message_init(&request, MESSAGE_STATUS);
    if (answer.large == NULL) {
        return PROCD_UNREACHABLE;
    }
    enum procd_result result =
        client_ask(&request, &answer, clock_monotonic_ms() + timeout_ms, timeout_ms);
    if (result == PROCD_DONE && answer.message.type != MESSAGE_STATUS) {
        return PROCD_LOST;
    }
    if (result == PROCD_DONE) {
        read_status(&answer.message, status);
    }
    return result;
}
