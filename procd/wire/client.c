/*
 * Connections to procd, which are kept, with one request and one answer at a time on each; and the
 * questions about the server as a whole.
 */
#include "procd/wire/client_request.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

/* ---- kept connections ---- */

static struct sockaddr_un address = {.sun_family = AF_UNIX};

static struct {
    pthread_mutex_t lock;
    int idle[32];
    size_t count;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

int procd_client_init(const char *socket_path)
{
    int fd = open(socket_path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", fd);
    return 0;
}

static int take_kept(void)
{
    int fd = -1;
    pthread_mutex_lock(&kept.lock);
    if (kept.count > 0) {
        fd = kept.idle[--kept.count];
    }
    pthread_mutex_unlock(&kept.lock);
    return fd;
}

void client_keep(int *fd)
{
    pthread_mutex_lock(&kept.lock);
    if (kept.count < sizeof(kept.idle) / sizeof(kept.idle[0])) {
        kept.idle[kept.count++] = steal_fd(fd);
    }
    pthread_mutex_unlock(&kept.lock);
    close_fd(fd);
}

void client_pause(void)
{
    const struct timespec pause = {.tv_nsec = CLIENT_PAUSE_MS * 1000000L};
    (void)nanosleep(&pause, NULL);
}

bool client_await_readable(int fd, int64_t deadline)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    for (;;) {
        int64_t left = deadline - clock_monotonic_ms();
        int ready = poll(&wait, 1, left > 0 ? (int)left : 0);
        if (ready >= 0 || errno != EINTR) {
            return ready > 0;
        }
    }
}

/* The socket may have been waiting for a procd: only its greeting says that there is one. */
static bool is_greeted(int fd, int64_t deadline)
{
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    return client_await_readable(fd, deadline) &&
           message_receive(fd, packet, sizeof(packet), &message, MSG_DONTWAIT) == 1 &&
           message.type == MESSAGE_DONE;
}

/* A connection that procd has accepted, or -1 with errno. */
static int connect_procd(int64_t deadline)
{
    for (;;) {
        int64_t left = deadline - clock_monotonic_ms();
        struct timeval timeout = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
        cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (left <= 0) {
            errno = EAGAIN;
            return -1;
        }
        /* The send timeout also bounds connect(2) while the backlog is full. */
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0 ||
            connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
            return -1;
        }
        if (is_greeted(fd, deadline)) {
            return steal_fd(&fd);
        }
        close_fd(&fd);
        client_pause(); /* it died as we came */
    }
}

int client_send(struct message *request, const int *descriptors, size_t count, int64_t deadline,
                int *connection)
{
    for (;;) {
        cleanup_fd int fd = take_kept();
        if (fd < 0) {
            fd = connect_procd(deadline);
        }
        if (fd < 0) {
            return -1;
        }
        if (message_send(fd, request, descriptors, count) == 0) {
            *connection = steal_fd(&fd);
            return 0;
        }
        if (errno != EPIPE && errno != ECONNRESET && errno != ENOTCONN) {
            return -1;
        }
    }
}

/* ---- one request and its answer ---- */

void procd_answer_clear(struct procd_answer *answer)
{
    incoming_clear(&answer->message);
    free(answer->large);
}

int client_receive(int connection, struct procd_answer *answer, int64_t deadline)
{
    if (!client_await_readable(connection, deadline)) {
        return -1;
    }
    char *buffer = answer->large != NULL ? answer->large : answer->small;
    size_t size = answer->large != NULL ? MESSAGE_PACKET_MAX : sizeof(answer->small);
    if (message_receive(connection, buffer, size, &answer->message, 0) != 1) {
        return -1;
    }
    return message_open(&answer->message);
}

enum procd_result client_ask(struct message *request, struct procd_answer *answer, int64_t deadline,
                             int64_t patience_ms)
{
    cleanup_fd int connection = -1;
    if (client_send(request, NULL, 0, deadline, &connection) < 0) {
        return PROCD_UNREACHABLE;
    }
    if (client_receive(connection, answer, clock_monotonic_ms() + patience_ms) < 0) {
        return PROCD_LOST;
    }
    client_keep(&connection);
    return PROCD_DONE;
}

enum procd_result client_ask_once(struct message *request, struct procd_answer *answer)
{
    return client_ask(request, answer, clock_monotonic_ms() + CLIENT_RETRY_MS, CLIENT_ANSWER_MS);
}

enum procd_result client_ask_again(struct message *request, struct procd_answer *answer)
{
    int64_t deadline = clock_monotonic_ms() + CLIENT_RETRY_MS;
    for (;;) {
        enum procd_result result = client_ask(request, answer, deadline, CLIENT_ANSWER_MS);
        if (result != PROCD_LOST) {
            return result;
        }
        if (clock_monotonic_ms() >= deadline) {
            return PROCD_UNREACHABLE;
        }
        client_pause();
    }
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
        if (field.tag == FIELD_ID && status->daemon_count == DAEMONS_MAX) {
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

void client_add_command(struct message *message, const struct command *command)
{
    message_add_text(message, FIELD_CMD, command->cmd);
    if (command->request_id != NULL) {
        message_add_text(message, FIELD_REQUEST_ID, command->request_id);
    }
    if (command->cwd != NULL) {
        message_add_text(message, FIELD_CWD, command->cwd);
    }
    for (size_t i = 0; i < command->env_count; i++) {
        message_add_text(message, FIELD_ENV, command->env[i]);
    }
    if (command->timeout_ms > 0) {
        message_add_number(message, FIELD_TIMEOUT_MS, (int64_t)command->timeout_ms);
        message_add_number(message, FIELD_GRACE_MS, (int64_t)command->grace_ms);
    }
    for (int i = 0; i < CGROUP_LIMITS; i++) {
        if (command->limits[i] > 0) {
            message_add_number(message, cgroup_limit_field((enum cgroup_limit)i),
                               (int64_t)command->limits[i]);
        }
    }
    if (command->wait_tree) {
        message_add_number(message, FIELD_WAIT_TREE, 1);
    }
    if (command->keeps_stdin) {
        message_add_number(message, FIELD_STDIN, 1);
    }
    if (command->merges_stderr) {
        message_add_number(message, FIELD_MERGE_STDERR, 1);
    } else if (command->ordered) {
        message_add_number(message, FIELD_ORDERED, 1);
    }
    if (command->hangup_grace_ms > 0) {
        message_add_number(message, FIELD_HANGUP_GRACE_MS, (int64_t)command->hangup_grace_ms);
    }
}
