/*
 * A background job: both pipes into one log, or a terminal into a byte log, orders over a socket in
 * its directory, and records of its beginning and its end.
 *
 * A job ends when its shell does. Its pipes are then read to their ends, or for DRAIN_MS if
 * something that it started still holds them. A job that is killed takes everything that it has
 * started with it; whatever a job leaves running when it ends by itself lives on.
 */
#include "procd/runner/background.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/io.h"
#include "common/logger.h"
#include "common/process_stat.h"
#include "common/signal_name.h"
#include "procd/jobs/job_record.h"
#include "procd/log/job_files.h"
#include "procd/log/job_log.h"
#include "procd/process/reap.h"
#include "procd/process/tree_kill.h"
#include "procd/runner/job_input.h"
#include "procd/runner/job_output.h"
#include "procd/runner/job_peers.h"
#include "procd/runner/program.h"
#include "procd/runner/running.h"
#include "procd/runner/spawn.h"
#include "procd/runner/terminal.h"
#include "procd/runner/terminal_orders.h"

#define DRAIN_MS      100
#define EXIT_PAUSE_MS 100
#define EXIT_TRIES    50

struct background {
    const char *id;      /* borrowed */
    uint64_t started_at; /* ns since the epoch */
    uint64_t age_key;
    uint64_t log_max; /* bytes on disk */
    int directory;    /* its lock says that this runner lives */
    int signals;
    struct job_peers peers;
    struct job_log log;
    struct job_output output;
    struct terminal terminal; /* in the place of log, output and input, if it has a master */
    int input; /* write end of its standard input, non-blocking; -1 when it has none, or no more */
    struct running running;
    uint64_t signals_sent; /* by plain orders: bit n is signal n + 1 */
    int64_t drain_until;   /* monotonic ms; meaningful once it is over */
};

/* ---- the beginning ---- */

static int background_open_files(struct background *job)
{
    return job_peers_listen(&job->peers, job->directory) < 0 ? -1
                                                             : job_exit_reserve(job->directory);
}

/* Where the output of the command goes, and what it reads: a terminal, which is both, or pipes, and
 * *input if it is to be written to. */
static int background_open_streams(struct background *job, const struct incoming *command,
                                   struct command_pipes *pipes, int *input)
{
    struct terminal_size size;
    if (terminal_size_of(command, &size)) {
        if (terminal_open(&job->terminal, &size, job->directory, job->log_max) < 0) {
            return -1;
        }
        *input = fcntl(job->terminal.slave, F_DUPFD_CLOEXEC, 0);
        pipes->out_write = fcntl(job->terminal.slave, F_DUPFD_CLOEXEC, 0);
        return *input < 0 || pipes->out_write < 0 ? -1 : 0;
    }
    bool keeps_stdin = message_number(command, FIELD_STDIN, 0) != 0;
    if (job_log_open(&job->log, job->directory, job->id, job->log_max) < 0 ||
        (keeps_stdin && command_pipe_open(input, &job->input, &job->input) < 0)) {
        return -1;
    }
    return command_pipes_open(command, pipes);
}

/* Where the command starts, as an absolute path. `asked` may be relative to `directory`. */
static char *working_directory(const char *asked, const char *directory)
{
    char *joined = NULL;
    if (asked == NULL || asked[0] == '/') {
        return command_shown(asked == NULL ? directory : asked);
    }
    cleanup_free char *shown = command_shown(asked);
    const char *slash = directory[strlen(directory) - 1] == '/' ? "" : "/";
    return shown == NULL || asprintf(&joined, "%s%s%s", directory, slash, shown) < 0 ? NULL
                                                                                     : joined;
}

static int draft_record(const struct background *job, const struct incoming *command,
                        struct job_record_draft *draft)
{
    struct job_record record = {
        .started_at = job->started_at,
        .age_key = job->age_key,
        .command = program_shown(command),
        .cwd = working_directory(message_text(command, FIELD_CWD), spawn_start_directory()),
    };
    record.has_terminal = terminal_size_of(command, &record.size);
    const char *request_id = message_text(command, FIELD_REQUEST_ID);
    (void)snprintf(record.id, sizeof(record.id), "%s", job->id);
    (void)snprintf(record.request_id, sizeof(record.request_id), "%s",
                   request_id == NULL ? "" : request_id);
    int result = record.command == NULL || record.cwd == NULL
                     ? -1
                     : job_record_draft(job->directory, &record, draft);
    int saved = errno;
    job_record_clear(&record);
    errno = saved;
    return result;
}

static int publish_record(const void *draft)
{
    return job_record_publish(draft, getpid());
}

/* The record names the directory in which the shell was to begin. If that is gone, the shell began
 * elsewhere, which only the shell has found out. */
static void correct_record(const struct background *job, const struct incoming *command)
{
    cleanup_(job_record_draft_close) struct job_record_draft draft = {.fd = -1};
    if (draft_record(job, command, &draft) < 0 ||
        job_record_publish(&draft, job->running.shell.pid) < 0) {
        log_at(LOG_WARNING, "runner: record: %m");
    }
}

/* Starts the shell, which makes its record first. False, with *error, when there is no job. */
static bool background_start(struct background *job, const struct incoming *command,
                             struct spawn_error *error)
{
    cleanup_(command_pipes_close) struct command_pipes pipes = COMMAND_PIPES_NONE;
    cleanup_(job_record_draft_close) struct job_record_draft draft = {.fd = -1};
    cleanup_fd int input = -1;
    const char *directory = spawn_start_directory();
    if (background_open_files(job) < 0 || draft_record(job, command, &draft) < 0) {
        *error = (struct spawn_error){.stage = SPAWN_PREPARE, .error = errno};
        return false;
    }
    if (background_open_streams(job, command, &pipes, &input) < 0) {
        bool wants_terminal = message_number(command, FIELD_COLS, 0) != 0;
        *error = (struct spawn_error){.stage = wants_terminal ? SPAWN_TERMINAL : SPAWN_PREPARE,
                                      .error = errno};
        return false;
    }
    job->log.last_ns = job->started_at; /* no line is older than its job */
    if (running_start(&job->running, command, input, &pipes, publish_record, &draft, error) < 0) {
        (void)unlinkat(job->directory, JOB_RECORD_FILE, 0); /* if it was published */
        return false;
    }
    if (spawn_start_directory() != directory) {
        correct_record(job, command);
    }
    if (job->terminal.master < 0) {
        int64_t partial_ms = message_number(command, FIELD_PARTIAL_MS, LINE_PATIENCE_NONE);
        job_output_open(&job->output, &pipes, &job->log, job->directory, partial_ms);
    }
    return true;
}

/* ---- the middle ---- */

/* Whether only output in the pipes is still to come. Starts the time for that. */
static bool background_is_over(struct background *job)
{
    bool over = running_is_over(&job->running);
    if (over && job->drain_until == 0) {
        job->drain_until = clock_monotonic_ms() + DRAIN_MS;
        terminal_leave(&job->terminal);
    }
    return over;
}

/* The shell leads a session and a group of its own, and its number is its own until it is reaped.
 * Afterwards only the rest of the tree is left. */
static void signal_group(const struct background *job, int signal)
{
    if (job->running.shell.ended) {
        tree_signal(signal, NULL);
    } else {
        (void)kill(-job->running.shell.pid, signal);
    }
}

/* As a key of its terminal would, or as signal_group(). Whether the shell gets it. */
static bool signal_job(const struct background *job, int signal)
{
    if (job->terminal.master >= 0 && !job->running.shell.ended) {
        pid_t group = terminal_signal(&job->terminal, signal);
        if (group > 0) {
            return group == job->running.shell.pid;
        }
    }
    signal_group(job, signal);
    return true;
}

/*
 * An order to end the job, or to signal it. When the shell has ended it comes too late, and the end
 * is reported.
 */
static void take_kill(struct background *job, const struct incoming *order)
{
    int signal = (int)message_number(order, FIELD_SIGNAL, SIGKILL);
    int64_t grace_ms = message_number(order, FIELD_GRACE_MS, -1);
    struct shell *shell = &job->running.shell;
    bool had_ended = shell->ended;
    job->running.children = reap_children(shell);
    if (shell->ended && !had_ended && signal == SIGKILL && shell_reason(shell) == END_SIGNAL &&
        shell_signal(shell) == SIGKILL) {
        /* By the very signal that was ordered, while we did nothing: procd has lost its patience
         * and sent it. */
        job->signals_sent |= UINT64_C(1) << (SIGKILL - 1);
    }
    if (signal <= 0 || signal >= NSIG || background_is_over(job)) {
        return;
    }
    if (signal == SIGKILL) {
        running_kill(&job->running, END_KILLED);
        return;
    }
    if (grace_ms < 0) {
        bool is_for_shell = signal_job(job, signal);
        job->signals_sent |= (uint64_t)is_for_shell << (signal - 1);
        return;
    }
    signal_group(job, signal);
    signal_group(job, SIGCONT); /* a stopped process takes a signal only when it goes on */
    running_order(&job->running, grace_ms);
}

static void take_write(struct background *job, const struct incoming *order, int *peer)
{
    size_t length = 0;
    const char *data = message_bytes(order, FIELD_DATA, &length);
    ssize_t written =
        job->input < 0 || data == NULL ? -1 : job_input_write(job->input, data, length);
    if (written == (ssize_t)length && message_number(order, FIELD_EOF, 0) != 0) {
        close_fd(&job->input);
    }
    cleanup_message struct message answer;
    message_init(&answer, written < 0 ? MESSAGE_NO_STDIN : MESSAGE_WROTE);
    message_add_number(&answer, FIELD_SERIAL, message_number(order, FIELD_SERIAL, 0));
    if (written < 0) {
        close_fd(&job->input);
    } else {
        message_add_number(&answer, FIELD_WRITTEN, written);
    }
    if (message_send(*peer, &answer, NULL, 0) < 0) {
        close_fd(peer); /* so that procd, if it still waits, learns that no answer comes */
    }
}

/* ---- orders ---- */

static void hear_peer(struct background *job, int index)
{
    int *peer = &job->peers.all[index];
    static char packet[MESSAGE_PACKET_MAX];
    cleanup_incoming struct incoming message = {0};
    int received = message_receive(*peer, packet, sizeof(packet), &message, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) {
        return;
    }
    if (received != 1 || message_open(&message) < 0) {
        close_fd(peer);
        return;
    }
    if (message.type == MESSAGE_KILL) {
        take_kill(job, &message);
    } else if (message.type == MESSAGE_RESIZE) {
        terminal_take_resize(&job->terminal, &message, &job->peers, index);
    } else if (message.type == MESSAGE_WRITE && job->terminal.master >= 0) {
        terminal_take_write(&job->terminal, &message, &job->peers, index);
    } else if (message.type == MESSAGE_WRITE) {
        take_write(job, &message, peer);
    }
}

/* How long poll(2) may wait, in ms; -1: for ever. */
static int patience(struct background *job)
{
    if (!background_is_over(job)) {
        return job_output_patience(&job->output, running_patience(&job->running));
    }
    int64_t left = job->running.children ? job->drain_until - clock_monotonic_ms() : 0;
    return left > 0 ? (int)left : 0;
}

enum { SIGNALS, LISTENER, STREAMS, PEERS = STREAMS + 2, POLLED = PEERS + JOB_PEERS_MAX };

static int wait_for_events(struct background *job, struct pollfd polled[POLLED])
{
    polled[SIGNALS] = (struct pollfd){.fd = job->signals, .events = POLLIN};
    polled[LISTENER] = (struct pollfd){.fd = job->peers.listener, .events = POLLIN};
    for (int i = 0; i < 2; i++) {
        polled[STREAMS + i] = (struct pollfd){.fd = job->output.streams[i].fd, .events = POLLIN};
    }
    if (terminal_is_open(&job->terminal)) {
        short events = terminal_events(&job->terminal, job_peers_want_room(&job->peers));
        polled[STREAMS] = (struct pollfd){.fd = job->terminal.master, .events = events};
    }
    for (int i = 0; i < JOB_PEERS_MAX; i++) {
        polled[PEERS + i] = (struct pollfd){.fd = job->peers.all[i], .events = POLLIN};
    }
    return io_poll(polled, POLLED, patience(job));
}

static void read_output(struct background *job, const struct pollfd streams[2])
{
    if (job->terminal.master < 0) {
        if (streams[0].revents != 0 || streams[1].revents != 0) {
            job_output_read(&job->output, streams);
        }
        return;
    }
    if ((streams[0].revents & ~POLLOUT) != 0) {
        terminal_read(&job->terminal);
    }
    if ((streams[0].revents & POLLOUT) != 0) {
        terminal_offer_room(&job->terminal, &job->peers);
    }
}

static bool has_output(const struct background *job)
{
    return job->terminal.master < 0 ? job_output_is_open(&job->output)
                                    : terminal_is_open(&job->terminal);
}

static void background_serve(struct background *job, const struct pollfd polled[POLLED])
{
    /* Orders first, because an end may be the effect of an order that came before it. */
    for (int i = 0; i < JOB_PEERS_MAX; i++) {
        if (polled[PEERS + i].revents != 0) {
            hear_peer(job, i);
        }
    }
    if (polled[SIGNALS].revents != 0) {
        running_hear(&job->running, job->signals);
    }
    read_output(job, polled + STREAMS);
    if (polled[LISTENER].revents != 0) {
        (void)job_peers_accept(&job->peers);
    }
    job_output_serve(&job->output);
    running_serve(&job->running);
}

static void background_accompany(struct background *job)
{
    struct pollfd polled[POLLED];
    while (!background_is_over(job) || has_output(job)) {
        if (wait_for_events(job, polled) == 0 && background_is_over(job)) {
            return; /* the caller reads what is left in the pipes */
        }
        background_serve(job, polled);
        if (background_is_over(job) && clock_monotonic_ms() >= job->drain_until) {
            return; /* a descendant that writes without end must not keep the job from ending */
        }
    }
}

/* ---- the end ---- */

static enum end_reason reason_of(const struct background *job)
{
    int signal = shell_signal(&job->running.shell);
    if (job->running.cause != END_UNKNOWN) {
        return job->running.cause;
    }
    return signal != 0 && (job->signals_sent >> (signal - 1) & 1) != 0
               ? END_KILLED
               : shell_reason(&job->running.shell);
}

static struct job_exit describe_end(const struct background *job)
{
    struct ending how = running_ending(&job->running, reason_of(job));
    uint64_t now = clock_date_ns();
    struct process_stat self = {.started = 0};
    bool stays = job->running.children && process_stat_read(getpid(), &self);
    return (struct job_exit){
        .status = how.reason == END_KILLED                  ? JOB_KILLED
                  : how.reason == END_EXIT && how.code == 0 ? JOB_COMPLETED
                                                            : JOB_FAILED,
        .how = how,
        /*
         * The date may have been set back since, but no job ends before its start or its last line.
         */
        .ended_at = now > job->log.last_ns ? now : job->log.last_ns,
        .ended_boot_ns = clock_boot_ns(),
        .runner = stays ? getpid() : 0,
        .runner_started = self.started,
    };
}

/* Readers of the log wait for the record. It has its room on the disk, so whatever keeps it from
 * being written, such as a lack of memory, passes. */
static void write_exit(int directory, const struct job_exit *ending)
{
    const struct timespec pause = {.tv_nsec = EXIT_PAUSE_MS * 1000000L};
    for (int tries = 0; job_exit_write(directory, ending) < 0; tries++) {
        log_line("runner: exit record: %m");
        if (tries == EXIT_TRIES) {
            return;
        }
        (void)nanosleep(&pause, NULL);
    }
}

static void log_end(const char *id, const struct ending *how)
{
    char signal[SIGNAL_NAME_SIZE];
    log_at(LOG_INFO, "job %s " ENDING_FORMAT, id, end_reason_name(how->reason), how->code,
           how->signal == 0 ? "-" : signal_name(how->signal, signal), how->duration_ms,
           how->max_rss_kb);
}

/*
 * procd gets its message before the exit record appears, so that it never says that the job runs to
 * a client that has seen the record. The socket is removed first: a procd that comes later finds no
 * socket and looks for the record.
 */
static void finish(struct background *job)
{
    if (job->terminal.master < 0) {
        job_output_finish(&job->output);
        job_log_close(&job->log);
    } else {
        terminal_finish(&job->terminal);
    }
    struct job_exit ending = describe_end(job);
    (void)unlinkat(job->directory, JOB_SOCKET_FILE, 0);
    while (job_peers_accept(&job->peers)) {
    }
    job_peers_report_end(&job->peers, &ending);
    write_exit(job->directory, &ending);
    log_end(job->id, &ending.how);
}

static void background_release(struct background *job)
{
    terminal_close(&job->terminal);
    close_fd(&job->directory);
    close_fd(&job->input);
    job_peers_close(&job->peers);
}

bool background_run(struct incoming *order, const struct incoming *command, uint64_t log_max,
                    int *control, int signals, struct leftover *left)
{
    cleanup_(background_release) struct background job = {
        .id = message_text(order, FIELD_ID),
        .started_at = (uint64_t)message_number(order, FIELD_STARTED_AT, 0),
        .age_key = (uint64_t)message_number(order, FIELD_AGE_KEY, 0),
        .log_max = log_max,
        .directory = message_take_descriptor(order, 0),
        .signals = signals,
        .input = -1,
        .peers = JOB_PEERS_NONE,
        .log = {.segment = -1},
        .terminal = TERMINAL_NONE,
        .output = JOB_OUTPUT_NONE};
    struct spawn_error error = {.stage = SPAWN_PREPARE, .error = EBADMSG};
    if (job.directory < 0 || job.id == NULL || !background_start(&job, command, &error)) {
        job_log_close(&job.log);
        if (spawn_send_failure(*control, error.stage, error.error) < 0) {
            close_fd(control); /* procd waits for an answer or the end */
        }
        return false;
    }
    /* If that fails, procd takes the end for the answer, and finds the job on the disk. */
    if (spawn_send_started(*control, job.running.shell.pid, NULL, 0) < 0) {
        close_fd(control);
    }
    log_at(LOG_INFO, "job %s started: pid=%d", job.id, (int)job.running.shell.pid);
    background_accompany(&job);
    finish(&job);
    left->lease = -1;
    job_output_leave(&job.output, left->pipes);
    return true;
}
