/*
 * A background job: both pipes into one log, orders over a socket in its directory, and records of
 * its beginning and its end.
 *
 * The end of a job is the end of its shell. Its pipes are then read to their ends, or for DRAIN_MS
 * when something that it started still holds them. A job that was killed takes everything it
 * started with it; what a job leaves running by ending lives on.
 */
#include "procd/background.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/io.h"
#include "common/logger.h"
#include "common/settings.h"
#include "procd/job_files.h"
#include "procd/job_log.h"
#include "procd/job_record.h"
#include "procd/job_stream.h"
#include "procd/reap.h"
#include "procd/spawn.h"
#include "procd/tree_kill.h"

#define DRAIN_MS        100
#define KILL_TIMEOUT_MS 10000
#define READS_PER_TURN  16 /* then signals and orders are looked at, whatever a job prints */
#define PEERS_MAX       4  /* procd, and its predecessors that are not gone yet */

struct background {
    int directory; /* its lock says that this runner lives */
    int listener;
    int signals;
    int peers[PEERS_MAX];
    struct job_log log;
    struct job_stream streams[2];
    struct shell shell;
    bool children;       /* some are left */
    bool killed;         /* by order, while the shell ran */
    int64_t drain_until; /* monotonic ms; meaningful once the shell has ended */
};

/* ---- the beginning ---- */

static void answer_start(int control, pid_t pid)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_STARTED);
    message_add_number(&message, FIELD_PID, pid);
    (void)message_send(control, &message, NULL, 0); /* the next procd finds the job on the disk */
}

/* Listens in the job's directory, by way of /proc: sun_path holds 108 bytes, a path may be longer.
 */
static int listen_for_orders(int directory)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", directory,
                   JOB_SOCKET_FILE);
    cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, PEERS_MAX) < 0) {
        return -1;
    }
    return steal_fd(&fd);
}

static int open_files(struct background *job)
{
    struct settings settings;
    char error[200];
    if (settings_read(&settings, error, sizeof(error)) < 0) {
        log_line("runner: %s", error);
        errno = EINVAL;
        return -1;
    }
    job->listener = listen_for_orders(job->directory);
    if (job->listener < 0 || job_exit_reserve(job->directory) < 0) {
        return -1;
    }
    return job_log_open(&job->log, job->directory, settings.log_max);
}

static int write_record(const struct background *job, const struct incoming *order,
                        const struct incoming *command)
{
    struct job_record record = {
        .pid = job->shell.pid,
        .started_at = (uint64_t)message_number(order, FIELD_STARTED_AT, 0),
        .command = command_shown(message_text(command, FIELD_CMD)),
    };
    (void)snprintf(record.id, sizeof(record.id), "%s", message_text(order, FIELD_ID));
    int result = record.command == NULL ? -1 : job_record_write(job->directory, &record);
    int saved = errno;
    job_record_clear(&record);
    errno = saved;
    return result;
}

/* Starts the shell and writes the record. False, with *error, when there is no job. */
static bool start(struct background *job, const struct incoming *order,
                  const struct incoming *command, struct spawn_error *error)
{
    cleanup_(command_pipes_close) struct command_pipes pipes = COMMAND_PIPES_NONE;
    if (open_files(job) < 0 || command_pipes_open(&pipes) < 0 ||
        io_set_nonblocking(pipes.out_read, 1) < 0 || io_set_nonblocking(pipes.err_read, 1) < 0) {
        *error = (struct spawn_error){.stage = SPAWN_PREPARE, .error = errno};
        return false;
    }
    if (spawn_shell(command, &pipes, &job->shell.pid, error) < 0) {
        return false;
    }
    job->children = true;
    if (write_record(job, order, command) < 0) {
        *error = (struct spawn_error){.stage = SPAWN_PREPARE, .error = errno};
        (void)tree_kill(&job->shell, KILL_TIMEOUT_MS);
        return false;
    }
    job_stream_open(&job->streams[0], steal_fd(&pipes.out_read), "stdout", &job->log,
                    job->directory);
    job_stream_open(&job->streams[1], steal_fd(&pipes.err_read), "stderr", &job->log,
                    job->directory);
    return true;
}

/* ---- the middle ---- */

static void note_children(struct background *job)
{
    bool had_ended = job->shell.ended;
    job->children = reap_children(&job->shell);
    if (job->shell.ended && !had_ended) {
        job->drain_until = clock_monotonic_ms() + DRAIN_MS;
    }
}

static void kill_job(struct background *job)
{
    note_children(job);
    if (job->shell.ended) {
        return; /* too late: it has ended by itself, and its end will be told */
    }
    job->killed = true;
    job->children = tree_kill(&job->shell, KILL_TIMEOUT_MS) < 0;
    job->drain_until = clock_monotonic_ms() + DRAIN_MS;
    if (job->children) {
        log_line("runner: processes of a killed job could not be killed");
    }
}

static void hear_peer(struct background *job, int *peer)
{
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    int received = message_receive(*peer, packet, sizeof(packet), &message, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) {
        return;
    }
    if (received != 1) {
        close_fd(peer);
        return;
    }
    if (message.type == MESSAGE_KILL) {
        kill_job(job);
    }
}

/* Whether there was one. */
static bool accept_peer(struct background *job)
{
    cleanup_fd int peer = accept4(job->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    bool accepted = peer >= 0;
    for (size_t i = 0; peer >= 0 && i < PEERS_MAX; i++) {
        if (job->peers[i] < 0) {
            job->peers[i] = steal_fd(&peer);
        }
    }
    return accepted;
}

/* Reads both pipes until they are empty for the moment, but not for ever; then the log is flushed.
 */
static void read_streams(struct background *job)
{
    for (int turn = 0; turn < READS_PER_TURN; turn++) {
        bool out = job_stream_read(&job->streams[0]);
        bool err = job_stream_read(&job->streams[1]);
        if (!out && !err) {
            break;
        }
    }
    job_log_flush(&job->log);
}

/* How long to wait for something to happen, in ms; -1 for ever. */
static int patience(const struct background *job)
{
    if (!job->shell.ended) {
        return -1;
    }
    int64_t left = job->children ? job->drain_until - clock_monotonic_ms() : 0;
    return left > 0 ? (int)left : 0;
}

enum { SIGNALS, LISTENER, STREAMS, PEERS = STREAMS + 2, POLLED = PEERS + PEERS_MAX };

static int wait_for_events(const struct background *job, struct pollfd polled[POLLED])
{
    polled[SIGNALS] = (struct pollfd){.fd = job->signals, .events = POLLIN};
    polled[LISTENER] = (struct pollfd){.fd = job->listener, .events = POLLIN};
    for (int i = 0; i < 2; i++) {
        polled[STREAMS + i] = (struct pollfd){.fd = job->streams[i].fd, .events = POLLIN};
    }
    for (int i = 0; i < PEERS_MAX; i++) {
        polled[PEERS + i] = (struct pollfd){.fd = job->peers[i], .events = POLLIN};
    }
    int ready = poll(polled, POLLED, patience(job));
    return ready < 0 && errno == EINTR ? 0 : ready;
}

static void accompany(struct background *job)
{
    struct pollfd polled[POLLED];
    while (!job->shell.ended || job->streams[0].fd >= 0 || job->streams[1].fd >= 0) {
        int ready = wait_for_events(job, polled);
        if (ready < 0) {
            log_line("runner: poll: %m");
            return;
        }
        if (ready == 0 && job->shell.ended) {
            return; /* what is left in the pipes is taken by the caller */
        }
        if (polled[SIGNALS].revents != 0) {
            struct signalfd_siginfo signal;
            (void)io_read_some(job->signals, &signal, sizeof(signal));
            note_children(job);
        }
        if (polled[STREAMS].revents != 0 || polled[STREAMS + 1].revents != 0) {
            read_streams(job);
        }
        for (int i = 0; i < PEERS_MAX; i++) {
            if (polled[PEERS + i].revents != 0) {
                hear_peer(job, &job->peers[i]);
            }
        }
        if (polled[LISTENER].revents != 0) {
            (void)accept_peer(job);
        }
        if (job->shell.ended && clock_monotonic_ms() >= job->drain_until) {
            return; /* a descendant that writes without end must not keep the job from ending */
        }
    }
}

/* ---- the end ---- */

static struct job_exit describe_end(const struct background *job)
{
    int code = shell_code(&job->shell);
    return (struct job_exit){
        .status = job->killed ? JOB_KILLED
                  : code == 0 ? JOB_COMPLETED
                              : JOB_FAILED,
        .code = code,
        .signal = shell_signal(&job->shell),
        .ended_at = clock_date_ns(),
        .cpu_user_ms = clock_duration_ms(job->shell.usage.ru_utime),
        .cpu_system_ms = clock_duration_ms(job->shell.usage.ru_stime),
        .max_rss_kb = (uint64_t)job->shell.usage.ru_maxrss,
    };
}

static void tell_peers(const struct background *job, const struct job_exit *ending)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_ENDED);
    message_add_number(&message, FIELD_STATUS, ending->status);
    message_add_number(&message, FIELD_CODE, ending->code);
    message_add_number(&message, FIELD_SIGNAL, ending->signal);
    message_add_number(&message, FIELD_ENDED_AT, (int64_t)ending->ended_at);
    for (int i = 0; i < PEERS_MAX; i++) {
        if (job->peers[i] >= 0) {
            (void)message_send(job->peers[i], &message, NULL,
                               0); /* the exit record says the same */
        }
    }
}

/*
 * procd is told before the exit record appears, so that whoever has seen the record and asks procd
 * is not told that the job runs. The socket goes first: who comes later finds no socket and looks
 * again.
 */
static void finish(struct background *job)
{
    for (int i = 0; i < 2; i++) {
        job_stream_read_rest(&job->streams[i]);
        job_stream_end(&job->streams[i]);
    }
    job_log_close(&job->log);
    struct job_exit ending = describe_end(job);
    (void)unlinkat(job->directory, JOB_SOCKET_FILE, 0);
    while (accept_peer(job)) {
    }
    tell_peers(job, &ending);
    if (job_exit_write(job->directory, &ending) < 0) {
        log_line("runner: exit record: %m");
    }
}

static void release(struct background *job)
{
    close_fd(&job->directory);
    close_fd(&job->listener);
    for (int i = 0; i < PEERS_MAX; i++) {
        close_fd(&job->peers[i]);
    }
}

bool background_run(struct incoming *order, const struct incoming *command, int *control,
                    int signals, struct leftover *left)
{
    struct background job = {.directory = message_take_descriptor(order, 0),
                             .listener = -1,
                             .signals = signals,
                             .peers = {-1, -1, -1, -1},
                             .log = {.segment = -1},
                             .streams = {{.fd = -1}, {.fd = -1}}};
    struct spawn_error error = {.stage = SPAWN_PREPARE, .error = EBADMSG};
    if (job.directory < 0 || message_text(order, FIELD_ID) == NULL ||
        !start(&job, order, command, &error)) {
        job_log_close(&job.log);
        release(&job);
        /* without procd nobody waits */
        (void)spawn_send_failure(*control, error.stage, error.error);
        return false;
    }
    answer_start(*control, job.shell.pid);
    close_fd(control);
    accompany(&job);
    finish(&job);
    *left = (struct leftover){.lease = -1, .pipes = {job.streams[0].fd, job.streams[1].fd}};
    release(&job);
    return true;
}
