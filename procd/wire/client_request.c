#include "procd/wire/client_request.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/descriptor.h"

/* ---- what is kept ---- */

static struct sockaddr_un address = {.sun_family = AF_UNIX};

static struct {
    int idle[32];
    size_t count;
} kept[KEPT_KINDS];
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

void client_connect_to(int socket_file)
{
    (void)descriptor_path(socket_file, address.sun_path);
}

int client_take_kept(enum kept kind)
{
    int fd = -1;
    pthread_mutex_lock(&kept_lock);
    if (kept[kind].count > 0) {
        fd = kept[kind].idle[--kept[kind].count];
    }
    pthread_mutex_unlock(&kept_lock);
    return fd;
}

void client_keep(enum kept kind, int *fd)
{
    pthread_mutex_lock(&kept_lock);
    if (kept[kind].count < sizeof(kept[kind].idle) / sizeof(kept[kind].idle[0])) {
        kept[kind].idle[kept[kind].count++] = steal_fd(fd);
    }
    pthread_mutex_unlock(&kept_lock);
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
        cleanup_fd int fd = client_take_kept(KEPT_CONNECTION);
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
    free(answer->packet);
}

int client_receive(int connection, struct procd_answer *answer, int64_t deadline)
{
    if (!client_await_readable(connection, deadline)) {
        return -1;
    }
    int received =
        message_receive(connection, answer->packet, MESSAGE_PACKET_MAX, &answer->message, 0);
    return received == 1 ? message_open(&answer->message) : -1;
}

enum procd_result client_ask(struct message *request, struct procd_answer *answer, int64_t wait_ms,
                             int64_t patience_ms)
{
    cleanup_fd int connection = -1;
    if (answer->packet == NULL ||
        client_send(request, NULL, 0, clock_monotonic_ms() + wait_ms, &connection) < 0) {
        return PROCD_UNREACHABLE;
    }
    if (client_receive(connection, answer, clock_monotonic_ms() + patience_ms) < 0) {
        return PROCD_LOST;
    }
    client_keep(KEPT_CONNECTION, &connection);
    return PROCD_DONE;
}

enum procd_result client_ask_again(struct message *request, struct procd_answer *answer)
{
    int64_t deadline = clock_monotonic_ms() + CLIENT_RETRY_MS;
    for (;;) {
        int64_t left = deadline - clock_monotonic_ms();
        enum procd_result result = client_ask(request, answer, left, CLIENT_ANSWER_MS);
        if (result != PROCD_LOST) {
            return result;
        }
        if (clock_monotonic_ms() >= deadline) {
            return PROCD_UNREACHABLE;
        }
        client_pause();
    }
}

static void add_text_if_any(struct message *message, enum field_tag tag, const char *text)
{
    if (text != NULL) {
        message_add_text(message, tag, text);
    }
}

static void add_number_if_any(struct message *message, enum field_tag tag, uint64_t number)
{
    if (number != 0) {
        message_add_number(message, tag, (int64_t)number);
    }
}

void client_add_command(struct message *message, const struct command *command)
{
    add_text_if_any(message, FIELD_CMD, command->cmd);
    for (size_t i = 0; i < command->argc; i++) {
        message_add_text(message, FIELD_ARGUMENT, command->argv[i]);
    }
    add_text_if_any(message, FIELD_REQUEST_ID, command->request_id);
    add_text_if_any(message, FIELD_CWD, command->cwd);
    if (command->term != NULL) {
        message_add_text(message, FIELD_ENV, command->term);
    }
    for (size_t i = 0; i < command->env_count; i++) {
        message_add_text(message, FIELD_ENV, command->env[i]);
    }
    add_number_if_any(message, FIELD_TIMEOUT_MS, command->timeout_ms);
    add_number_if_any(message, FIELD_GRACE_MS, command->timeout_ms > 0 ? command->grace_ms : 0);
    add_number_if_any(message, FIELD_HANGUP_GRACE_MS, command->hangup_grace_ms);
    for (enum cgroup_limit limit = 0; limit < CGROUP_LIMITS; limit++) {
        add_number_if_any(message, command_limits[limit].field, command->limits[limit]);
    }
    add_number_if_any(message, FIELD_WAIT_TREE, command->wait_tree);
    if (command->splits_lines) {
        message_add_number(message, FIELD_PARTIAL_MS, (int64_t)command->partial_ms);
    }
    add_number_if_any(message, FIELD_STDIN, command->keeps_stdin);
    add_number_if_any(message, FIELD_BENEATH, command->beneath);
    add_number_if_any(message, FIELD_MERGE_STDERR, command->merges_stderr);
    add_number_if_any(message, FIELD_ORDERED, command->ordered && !command->merges_stderr);
    add_number_if_any(message, FIELD_COLS, (uint64_t)command->cols);
    add_number_if_any(message, FIELD_ROWS, (uint64_t)command->rows);
}
