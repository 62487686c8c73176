/*
 * The client's end of a foreground command's lease.
 */
#include "procd/wire/client.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "procd/wire/client_request.h"

/* What came of one attempt to start a foreground command. */
enum attempt { ATTEMPT_DECIDED, ATTEMPT_NOT_BEGUN };

/* To the caller a failure of our own, before anything was sent, is like one of the runner. */
static enum procd_result not_started(struct spawn_error *error, int reason)
{
    *error = (struct spawn_error){.stage = SPAWN_PREPARE, .error = reason};
    return PROCD_NOT_STARTED;
}

static bool is_delivery_failure(int error)
{
    return error == ECONNREFUSED || error == ENOENT || error == EAGAIN || error == EPIPE ||
           error == ECONNRESET || error == EACCES;
}

static enum procd_result take_started(struct incoming *message, const struct command *command,
                                      int *lease, struct foreground *foreground)
{
    cleanup_fd int out = message_take_descriptor(message, 0);
    cleanup_fd int err = command->merges_stderr ? -1 : message_take_descriptor(message, 1);
    cleanup_fd int watch = command->ordered ? message_take_descriptor(message, 2) : -1;
    if (out < 0 || (err < 0 && !command->merges_stderr)) {
        return PROCD_LOST;
    }
    *foreground = (struct foreground){.lease = steal_fd(lease),
                                      .out = steal_fd(&out),
                                      .err = steal_fd(&err),
                                      .watch = steal_fd(&watch),
                                      .pid = (pid_t)message_number(message, FIELD_PID, 0),
                                      .grace_ms = command->hangup_grace_ms};
    return PROCD_DONE;
}

/*
 * Nothing has come over the lease for too long. It is shut first, so that the runner cannot begin
 * any more; whether it has begun is certain after that.
 */
static enum procd_result give_up_start(int lease)
{
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    (void)shutdown(lease, SHUT_RD);
    bool begun = message_receive(lease, packet, sizeof(packet), &message, MSG_DONTWAIT) == 1;
    return begun ? PROCD_LOST : PROCD_UNREACHABLE;
}

/*
 * Reads the lease until the command runs, or it is known that it does not. `attempt` is what is
 * known before.
 */
static enum attempt await_start(const struct command *command, int *lease, enum attempt attempt,
                                struct foreground *foreground, struct spawn_error *spawn_error,
                                enum procd_result *result)
{
    char packet[MESSAGE_PACKET_SMALL];
    for (;;) {
        cleanup_incoming struct incoming message = {0};
        if (attempt == ATTEMPT_NOT_BEGUN &&
            !client_await_readable(*lease, clock_monotonic_ms() + CLIENT_ANSWER_MS)) {
            *result = give_up_start(*lease);
            return ATTEMPT_DECIDED;
        }
        int received = message_receive(*lease, packet, sizeof(packet), &message, 0);
        if (received < 0 && errno == ECONNRESET) {
            return ATTEMPT_NOT_BEGUN; /* the runner has ended with the command unread */
        }
        if (received != 1 || message_open(&message) < 0) {
            *result = attempt == ATTEMPT_DECIDED ? PROCD_RUNNER_LOST : PROCD_LOST;
            return received == 0 ? attempt : ATTEMPT_DECIDED; /* it may have been BEGIN */
        }
        attempt = ATTEMPT_DECIDED;
        if (message.type == MESSAGE_STARTED) {
            *result = take_started(&message, command, lease, foreground);
            return attempt;
        }
        if (message.type == MESSAGE_FAILED) {
            *spawn_error = spawn_error_of(&message);
            *result = PROCD_NOT_STARTED;
            return attempt;
        }
    }
}

/* Whether the runner has read the command. */
static bool is_read(int lease)
{
    int unread = 0;
    return ioctl(lease, SIOCOUTQ, &unread) < 0 || unread == 0;
}

/* Waits until the runner has read the command. False when it does not, and then it does not begin
 * it, either: it looks whether the lease is shut. */
static bool await_reading(int lease)
{
    if (client_await_readable(lease, clock_monotonic_ms() + CLIENT_ANSWER_MS) || is_read(lease)) {
        return true;
    }
    (void)shutdown(lease, SHUT_RDWR);
    return is_read(lease);
}

/* Gives the command to a runner that waits for this client's next one, if there is any: procd is
 * not asked. */
static enum attempt attempt_kept(struct message *request, const struct command *command,
                                 struct foreground *foreground, struct spawn_error *spawn_error,
                                 enum procd_result *result)
{
    size_t count = command->input > STDERR_FILENO ? 1 : 0;
    for (;;) {
        cleanup_fd int lease = client_take_kept(KEPT_LEASE);
        if (lease < 0) {
            return ATTEMPT_NOT_BEGUN;
        }
        if (message_send(lease, request, &command->input, count) < 0) {
            continue; /* it has waited long enough, or has died */
        }
        if (!await_reading(lease)) {
            *result = PROCD_UNREACHABLE;
            return ATTEMPT_DECIDED;
        }
        if (await_start(command, &lease, ATTEMPT_DECIDED, foreground, spawn_error, result) ==
            ATTEMPT_DECIDED) {
            return ATTEMPT_DECIDED;
        }
    }
}

static enum attempt attempt_run(struct message *request, const struct command *command,
                                int64_t deadline, struct foreground *foreground,
                                struct spawn_error *spawn_error, enum procd_result *result)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        *result = not_started(spawn_error, errno);
        return ATTEMPT_DECIDED;
    }
    cleanup_fd int lease = pair[0];
    cleanup_fd int given = pair[1];
    cleanup_fd int connection = -1;
    const int descriptors[] = {given, command->input};
    size_t count = command->input > STDERR_FILENO ? 2 : 1;
    if (client_send(request, descriptors, count, deadline, &connection) < 0) {
        *result = is_delivery_failure(errno) ? PROCD_UNREACHABLE : not_started(spawn_error, errno);
        return ATTEMPT_DECIDED;
    }
    close_fd(&given);
    client_keep(KEPT_CONNECTION, &connection); /* nothing comes back on it */
    return await_start(command, &lease, ATTEMPT_NOT_BEGUN, foreground, spawn_error, result);
}

enum procd_result procd_run(const struct command *command, struct foreground *foreground,
                            struct spawn_error *spawn_error)
{
    cleanup_message struct message request;
    message_init(&request, MESSAGE_RUN);
    client_add_command(&request, command);
    int64_t deadline = clock_monotonic_ms() + CLIENT_RETRY_MS;
    enum procd_result result;
    if (attempt_kept(&request, command, foreground, spawn_error, &result) == ATTEMPT_DECIDED) {
        return result;
    }
    for (;;) {
        if (attempt_run(&request, command, deadline, foreground, spawn_error, &result) ==
            ATTEMPT_DECIDED) {
            return result;
        }
        if (clock_monotonic_ms() >= deadline) {
            return PROCD_UNREACHABLE;
        }
        client_pause();
    }
}

static int receive_ending(int lease, struct ending *ending, int flags)
{
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    *ending = (struct ending){.lost = true, .code = -1};
    int received = message_receive(lease, packet, sizeof(packet), &message, MSG_DONTWAIT | flags);
    if (received < 0 && errno == EAGAIN) {
        return 0;
    }
    if (received != 1 || message_open(&message) < 0 || message.type != MESSAGE_EXIT) {
        return 1;
    }
    *ending = ending_of(&message);
    ending->left_children = message_number(&message, FIELD_LEFT_CHILDREN, 0) != 0;
    ending->duration_ms = (uint64_t)message_number(&message, FIELD_DURATION_MS, 0);
    return 1;
}

int foreground_ending(int lease, struct ending *ending)
{
    return receive_ending(lease, ending, 0);
}

bool foreground_peek_ending(int lease, struct ending *ending)
{
    return receive_ending(lease, ending, MSG_PEEK) == 1 && !ending->lost;
}

int foreground_kill(int lease)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_KILL);
    message_add_number(&message, FIELD_SIGNAL, SIGKILL);
    return message_send(lease, &message, NULL, 0);
}

void foreground_keep_runner(int *lease)
{
    client_keep(KEPT_LEASE, lease);
}

void foreground_leave(int lease, uint64_t grace_ms)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_KILL);
    message_add_number(&message, FIELD_GRACE_MS, (int64_t)grace_ms);
    (void)message_send(lease, &message, NULL, 0);
}
