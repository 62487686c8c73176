/*
 * The beginning, the start and the end of a foreground command are reported over the lease. When
 * nobody holds the other end of the lease any more, the command is ended.
 */
#include "procd/runner/foreground.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/io.h"
#include "procd/cgroup/cgroup_oom.h"
#include "procd/process/reap.h"
#include "procd/process/tree_kill.h"
#include "procd/runner/deadline.h"
#include "procd/runner/runner_cgroup.h"
#include "procd/runner/spawn.h"

static int report_start(int lease, pid_t pid, const struct command_pipes *pipes)
{
    const int descriptors[] = {pipes->out_read, pipes->err_read, pipes->watch};
    size_t count = pipes->err_read < 0 ? 1 : pipes->watch < 0 ? 2 : 3;
    cleanup_message struct message message;
    message_init(&message, MESSAGE_STARTED);
    message_add_number(&message, FIELD_PID, pid);
    return message_send(lease, &message, descriptors, count);
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

/* A command and everything it needs until its end. */
struct foreground_job {
    int lease;
    int signals;
    int64_t hangup_grace_ms;
    struct deadline deadline;
    struct shell shell;
    struct command_pipes pipes;
    bool hung_up;  /* nobody else reads the pipes any more */
    bool children; /* some are left */
};

/* The grace that fcgi-app grants a command when it stops; 0 when it has just gone. */
static int64_t parting_grace_ms(int lease)
{
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    if (message_receive(lease, packet, sizeof(packet), &message, MSG_DONTWAIT) != 1 ||
        message_open(&message) < 0 || message.type != MESSAGE_KILL) {
        return 0;
    }
    return message_number(&message, FIELD_GRACE_MS, 0);
}

/* The client or fcgi-app has gone, so the tree must end. The read ends of the pipes stay open,
 * because otherwise its last words would kill a command (SIGPIPE). */
static void take_hang_up(struct foreground_job *job)
{
    int64_t parting_ms = parting_grace_ms(job->lease);
    int64_t grace_ms = parting_ms > job->hangup_grace_ms ? parting_ms : job->hangup_grace_ms;
    job->hung_up = true;
    if (grace_ms <= 0) {
        deadline_kill(&job->deadline, END_KILLED, &job->shell, &job->children);
        return;
    }
    if (job->deadline.state == DEADLINE_OPEN) { /* otherwise it has had its SIGTERM */
        tree_signal(SIGTERM);
    }
    deadline_order(&job->deadline, grace_ms);
}

enum { LEASE, SIGNALS, PIPES, POLLED = PIPES + 2 };

static void foreground_step(struct foreground_job *job)
{
    int *pipes[] = {&job->pipes.out_read, &job->pipes.err_read};
    struct pollfd polled[POLLED] = {
        [LEASE] = {.fd = job->hung_up ? -1 : job->lease, .events = POLLIN},
        [SIGNALS] = {.fd = job->signals, .events = POLLIN},
        [PIPES] = {.fd = job->hung_up ? *pipes[0] : -1, .events = POLLIN},
        [PIPES + 1] = {.fd = job->hung_up ? *pipes[1] : -1, .events = POLLIN},
    };
    (void)io_poll(polled, POLLED, deadline_patience(&job->deadline));
    if (polled[SIGNALS].revents != 0) {
        bool stops = deadline_hear_stop(job->signals);
        job->children = reap_children(&job->shell);
        if (stops) {
            deadline_stop(&job->deadline, -1, &job->shell);
        }
    }
    if (polled[LEASE].revents != 0) {
        take_hang_up(job); /* the client sends nothing else */
    }
    for (int i = 0; i < 2; i++) {
        if (polled[PIPES + i].revents != 0) {
            leftover_discard(pipes[i]);
        }
    }
    deadline_serve(&job->deadline, &job->shell, &job->children);
}

/* From the start of the shell to the end. The result is that of foreground_run. */
static bool foreground_accompany(struct foreground_job *job, struct leftover *left)
{
    int64_t started = clock_monotonic_ms();
    if (report_start(job->lease, job->shell.pid, &job->pipes) < 0) {
        take_hang_up(job);
    }
    close_fd(&job->pipes.watch);
    while (!deadline_is_over(&job->deadline, &job->shell, job->children)) {
        foreground_step(job);
    }
    if (job->shell.ended) { /* a client that hung up may wait for the end of the tree as well */
        /*
         * A stop of the server is no reason of its own: the report says what became of the command.
         */
        bool timed_out = job->deadline.cause == END_TIMEOUT;
        report_end(job->lease, &job->shell, timed_out ? END_TIMEOUT : shell_reason(&job->shell),
                   clock_monotonic_ms() - started, job->children);
    }
    if (job->children) {
        *left = (struct leftover){
            .lease = job->hung_up ? -1 : steal_fd(&job->lease),
            .pipes = {steal_fd(&job->pipes.out_read), steal_fd(&job->pipes.err_read)}};
    }
    return !job->children;
}

/* Starts the shell. False, after a report, when there is none. */
static bool foreground_start(struct foreground_job *job, const struct incoming *command, int input)
{
    struct spawn_error error = {.stage = SPAWN_PREPARE};
    int result = command_pipes_open(command, &job->pipes);
    error.error = result < 0 ? errno : 0;
    if (result == 0) {
        result = runner_cgroup_limit(command, &error);
    }
    if (result == 0) {
        job->shell.oom_kills = cgroup_oom_kills();
        job->deadline = deadline_of(command);
        result = spawn_shell(command, input, &job->pipes, NULL, NULL,
                             deadline_patience(&job->deadline), &job->shell.pid, &error);
    }
    if (result < 0) {
        /* a client that has gone needs no report */
        (void)spawn_send_failure(job->lease, error.stage, error.error);
        return false;
    }
    command_pipes_close_writers(&job->pipes);
    job->children = true;
    job->hangup_grace_ms = message_number(command, FIELD_HANGUP_GRACE_MS, 0);
    return true;
}

static void foreground_release(struct foreground_job *job)
{
    close_fd(&job->lease);
    command_pipes_close(&job->pipes);
}

bool foreground_run(const struct incoming *command, int *lease_fd, int *input_fd, int signals,
                    struct leftover *left)
{
    cleanup_fd int input = steal_fd(input_fd);
    cleanup_(foreground_release) struct foreground_job job = {
        .lease = steal_fd(lease_fd), .signals = signals, .pipes = COMMAND_PIPES_NONE};
    /* A client that has gone already needs no start. */
    if (message_send_plain(job.lease, MESSAGE_BEGIN) < 0 ||
        !foreground_start(&job, command, input)) {
        return true;
    }
    close_fd(&input);
    return foreground_accompany(&job, left);
}
