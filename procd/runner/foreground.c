/*
 * A foreground command: begun, started, ended, each told over the lease; or killed because nobody
 * holds the other end of the lease any more.
 */
#include "procd/runner/foreground.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/io.h"
#include "procd/cgroup/cgroup_oom.h"
#include "procd/process/reap.h"
#include "procd/runner/deadline.h"
#include "procd/runner/runner_cgroup.h"
#include "procd/runner/spawn.h"

static int report_start(int lease, pid_t pid, const struct command_pipes *pipes)
{
    const int readers[] = {pipes->out_read, pipes->err_read};
    cleanup_message struct message message;
    message_init(&message, MESSAGE_STARTED);
    message_add_number(&message, FIELD_PID, pid);
    return message_send(lease, &message, readers, 2);
}

static void report_end(int lease, const struct shell *shell, enum end_reason reason,
                       int64_t duration_ms, bool children)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_EXIT);
    message_add_number(&message, FIELD_CODE, shell_code(shell));
    message_add_number(&message, FIELD_SIGNAL, shell_signal(shell));
    message_add_number(&message, FIELD_REASON, reason);
    message_add_number(&message, FIELD_LEFT_CHILDREN, children);
    message_add_number(&message, FIELD_DURATION_MS, duration_ms);
    message_add_number(&message, FIELD_CPU_USER_MS,
                       (int64_t)clock_duration_ms(shell->usage.ru_utime));
    message_add_number(&message, FIELD_CPU_SYSTEM_MS,
                       (int64_t)clock_duration_ms(shell->usage.ru_stime));
    message_add_number(&message, FIELD_MAX_RSS_KB, shell->usage.ru_maxrss);
    (void)message_send(lease, &message, NULL, 0);
}

/* The client goes, and gives the command time to end. False when it has just gone. */
static bool take_leave(int lease, struct deadline *deadline, const struct shell *shell)
{
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    if (message_receive(lease, packet, sizeof(packet), &message, MSG_DONTWAIT) != 1 ||
        message_open(&message) < 0 || message.type != MESSAGE_KILL) {
        return false;
    }
    int64_t grace_ms = message_number(&message, FIELD_GRACE_MS, 0);
    if (grace_ms <= 0) {
        return false;
    }
    deadline_stop(deadline, grace_ms, shell);
    return true;
}

/*
 * Waits for the end of the command. True when it has ended, with *children; false when the lease
 * was closed before, and then it wins also when both have happened.
 */
static bool await_end(int lease, int signals, struct deadline *deadline, struct shell *shell,
                      bool *children)
{
    struct pollfd polled[] = {{.fd = lease, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    while (!deadline_is_over(deadline, shell, *children)) {
        (void)io_poll(polled, 2, deadline_patience(deadline));
        if (polled[0].revents != 0) {
            if (!take_leave(lease, deadline, shell)) {
                return false;
            }
            polled[0].fd = -1; /* nobody waits for the end */
        }
        if (polled[1].revents != 0) {
            bool stops = deadline_hear_stop(signals);
            *children = reap_children(shell);
            if (stops) {
                deadline_stop(deadline, -1, shell);
            }
        }
        deadline_serve(deadline, shell, children);
    }
    return true;
}

/* The part after the shell runs. Same result as foreground_run. */
static bool accompany(int *lease_fd, int signals, const struct incoming *command,
                      struct shell *shell, struct command_pipes *pipes, struct leftover *left)
{
    int lease = *lease_fd;
    int64_t started = clock_monotonic_ms();
    struct deadline deadline = deadline_of(command);
    bool children = true;
    if (report_start(lease, shell->pid, pipes) < 0 ||
        !await_end(lease, signals, &deadline, shell, &children)) {
        deadline_kill(&deadline, END_KILLED, shell, &children);
    } else {
        /* A stop of the server is no reason of its own: what became of the command is told. */
        report_end(lease, shell, deadline.cause == END_TIMEOUT ? END_TIMEOUT : shell_reason(shell),
                   clock_monotonic_ms() - started, children);
    }
    if (children) {
        *left =
            (struct leftover){.lease = steal_fd(lease_fd),
                              .pipes = {steal_fd(&pipes->out_read), steal_fd(&pipes->err_read)}};
    }
    return !children;
}

bool foreground_run(const struct incoming *command, int *lease_fd, int *input_fd, int signals,
                    struct leftover *left)
{
    cleanup_fd int lease = steal_fd(lease_fd);
    cleanup_fd int input = steal_fd(input_fd);
    cleanup_(command_pipes_close) struct command_pipes pipes = COMMAND_PIPES_NONE;
    struct spawn_error error = {.stage = SPAWN_PREPARE};
    struct shell shell = {.pid = 0};
    if (message_send_plain(lease, MESSAGE_BEGIN) < 0) {
        return true; /* the client is gone already */
    }
    if (command_pipes_open(&pipes) < 0) {
        /* here and below: a client that is gone needs no report */
        (void)spawn_send_failure(lease, SPAWN_PREPARE, errno);
        return true;
    }
    int limited = runner_cgroup_limit(command, &error);
    shell.oom_kills = cgroup_oom_kills();
    if (limited < 0 || spawn_shell(command, input, &pipes, NULL, NULL, &shell.pid, &error) < 0) {
        (void)spawn_send_failure(lease, error.stage, error.error);
        return true;
    }
    close_fd(&input);
    command_pipes_close_writers(&pipes);
    return accompany(&lease, signals, command, &shell, &pipes, left);
}
