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
#include "common/io.h"
#include "procd/process/reap.h"
#include "procd/process/tree_kill.h"
#include "procd/runner/running.h"
#include "procd/runner/spawn.h"

static void report_end(int lease, const struct ending *ending)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_EXIT);
    ending_describe(ending, &message);
    message_add_number(&message, FIELD_LEFT_CHILDREN, ending->left_children);
    message_add_number(&message, FIELD_DURATION_MS, (int64_t)ending->duration_ms);
    (void)message_send(lease, &message, NULL, 0);
}

/* A command and everything it needs until its end. */
struct foreground_job {
    int lease;
    int signals;
    int64_t hangup_grace_ms;
    struct running running;
    struct command_pipes pipes;
    bool hung_up;   /* nobody else reads the pipes any more */
    bool is_killed; /* by an order */
};

/* The client or fcgi-app has gone, so the tree must end. The read ends of the pipes stay open,
 * because otherwise its last words would kill a command (SIGPIPE). `parting_ms`: the grace that
 * fcgi-app grants a command when it stops; 0 when it has just gone. */
static void take_hang_up(struct foreground_job *job, int64_t parting_ms)
{
    int64_t grace_ms = parting_ms > job->hangup_grace_ms ? parting_ms : job->hangup_grace_ms;
    job->hung_up = true;
    if (grace_ms <= 0) {
        running_kill(&job->running, END_KILLED);
        return;
    }
    if (job->running.state == RUNNING_OPEN) { /* otherwise it has had its SIGTERM */
        tree_signal(SIGTERM, NULL);
    }
    running_order(&job->running, grace_ms);
}

/* An order to kill. When the shell has ended it comes too late. */
static void take_kill_order(struct foreground_job *job)
{
    job->running.children = reap_children(&job->running.shell);
    if (!running_is_over(&job->running)) {
        job->is_killed = true;
        running_kill(&job->running, END_KILLED);
    }
}

/* What the client sends, or its end. */
static void hear_lease(struct foreground_job *job)
{
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    if (message_receive(job->lease, packet, sizeof(packet), &message, MSG_DONTWAIT) != 1 ||
        message_open(&message) < 0 || message.type != MESSAGE_KILL) {
        take_hang_up(job, 0);
    } else if (message_number(&message, FIELD_SIGNAL, 0) == SIGKILL) {
        take_kill_order(job);
    } else {
        take_hang_up(job, message_number(&message, FIELD_GRACE_MS, 0));
    }
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
    (void)io_poll(polled, POLLED, running_patience(&job->running));
    if (polled[SIGNALS].revents != 0) {
        running_hear(&job->running, job->signals);
    }
    if (polled[LEASE].revents != 0) {
        hear_lease(job);
    }
    for (int i = 0; i < 2; i++) {
        if (polled[PIPES + i].revents != 0) {
            leftover_discard(pipes[i]);
        }
    }
    running_serve(&job->running);
}

/* From the start of the shell to the end. The result is that of foreground_run. */
static bool foreground_accompany(struct foreground_job *job, struct leftover *left)
{
    const struct command_pipes *pipes = &job->pipes;
    const int ends[] = {pipes->out_read, pipes->err_read, pipes->watch};
    size_t count = pipes->err_read < 0 ? 1 : pipes->watch < 0 ? 2 : 3;
    if (spawn_send_started(job->lease, job->running.shell.pid, ends, count) < 0) {
        take_hang_up(job, 0);
    }
    close_fd(&job->pipes.watch);
    while (!running_is_over(&job->running)) {
        foreground_step(job);
    }
    struct shell *shell = &job->running.shell;
    if (shell->ended) { /* a client that hung up may wait for the end of the tree as well */
        /* A stop of the server is no reason of its own: the report says how the command ended. */
        enum end_reason cause = job->running.cause;
        bool is_killed = job->is_killed && shell_signal(shell) == SIGKILL;
        bool has_cause = cause == END_TIMEOUT || (cause == END_KILLED && is_killed);
        struct ending ending =
            running_ending(&job->running, has_cause ? cause : shell_reason(shell));
        report_end(job->lease, &ending);
    }
    if (job->running.children) {
        *left = (struct leftover){
            .lease = job->hung_up ? -1 : steal_fd(&job->lease),
            .pipes = {steal_fd(&job->pipes.out_read), steal_fd(&job->pipes.err_read)}};
    }
    return !job->running.children;
}

/* Starts the shell. False, after a report, when there is none. */
static bool foreground_start(struct foreground_job *job, const struct incoming *command, int input)
{
    struct spawn_error error = {.stage = SPAWN_PREPARE};
    if (command_pipes_open(command, &job->pipes) < 0) {
        error.error = errno;
    } else if (running_start(&job->running, command, input, &job->pipes, NULL, NULL, &error) == 0) {
        command_pipes_close_writers(&job->pipes);
        return true;
    }
    /* a client that has gone needs no report */
    (void)spawn_send_failure(job->lease, error.stage, error.error);
    return false;
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
        .lease = steal_fd(lease_fd),
        .signals = signals,
        .hangup_grace_ms = message_number(command, FIELD_HANGUP_GRACE_MS, 0),
        .pipes = COMMAND_PIPES_NONE};
    if (!foreground_start(&job, command, input)) {
        return true;
    }
    close_fd(&input);
    if (!foreground_accompany(&job, left)) {
        return false;
    }
    *lease_fd = job.hung_up ? -1 : steal_fd(&job.lease);
    return true;
}
