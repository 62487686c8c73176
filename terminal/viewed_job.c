/*
 * The runner gets one WRITE at a time. What it does not take stays with its writer until the runner
 * says that there is room.
 *
 * A runner may hang up, as on the oldest of many connections. It is sought again (lookup.h) once
 * somebody has something for it.
 */
#include "terminal/viewed_job.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "procd/log/job_files.h"
#include "procd/wire/protocol.h"
#include "terminal/lookup.h"
#include "terminal/scratch.h"
#include "terminal/viewer.h"
#include "terminal/viewer_input.h"

#define TRIES 3

#define WATCHED (IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)

enum { CHANGED_BYTES = 1, CHANGED_SIZE = 2, CHANGED_END = 4, CHANGED_GONE = 8 };

static struct {
    LIST_HEAD(, viewed_job) all;
    struct watched inotify;
    const struct viewed_job_uses *uses;
} jobs = {.inotify.fd = -1};

/* ---- the directory ---- */

static void read_ending(struct viewed_job *job)
{
    if (!job->has_ended && job_exit_read(job->directory, &job->ending) == 0) {
        job->has_ended = true;
    }
}

/* Hands on what has been reported. Each viewer may leave by it, and the job with the last. */
static void look_at_job(struct viewed_job *job)
{
    unsigned changed = job->changed;
    struct viewer *next;
    job->changed = 0;
    if ((changed & CHANGED_END) != 0) {
        read_ending(job);
    }
    if ((changed & CHANGED_SIZE) != 0) {
        (void)terminal_size_read(job->directory, &job->size); /* otherwise it stays as it was */
    }
    for (struct viewer *viewer = LIST_FIRST(&job->viewers); viewer != NULL; viewer = next) {
        next = LIST_NEXT(viewer, of_job);
        if ((changed & CHANGED_SIZE) != 0) {
            jobs.uses->has_size(viewer);
        }
        jobs.uses->has_bytes(viewer);
        if ((changed & CHANGED_GONE) != 0) {
            jobs.uses->has_gone(viewer);
        }
    }
}

static unsigned meaning_of(const struct inotify_event *event)
{
    const char *name = event->len > 0 ? event->name : "";
    if ((event->mask & (IN_DELETE_SELF | IN_IGNORED | IN_UNMOUNT)) != 0) {
        return CHANGED_GONE;
    }
    if (strcmp(name, JOB_SIZE_FILE) == 0) {
        return CHANGED_SIZE;
    }
    return strcmp(name, JOB_EXIT_FILE) == 0 ? CHANGED_END | CHANGED_BYTES : CHANGED_BYTES;
}

static void note_event(const struct inotify_event *event)
{
    struct viewed_job *job;
    bool is_overflow = (event->mask & IN_Q_OVERFLOW) != 0;
    LIST_FOREACH (job, &jobs.all, all) {
        if (is_overflow) {
            job->changed |= CHANGED_BYTES | CHANGED_SIZE | CHANGED_END;
        } else if (job->descriptor == event->wd) {
            job->changed |= meaning_of(event);
            return;
        }
    }
}

static void inotify_ready(struct watched *watched, uint32_t events)
{
    (void)events;
    _Alignas(struct inotify_event) static char reports[SCRATCH_SIZE];
    ssize_t length = TEMP_FAILURE_RETRY(read(watched->fd, reports, sizeof(reports)));
    for (ssize_t at = 0; at < length;) {
        const struct inotify_event *event =
            (const struct inotify_event *)(const void *)(reports + at);
        note_event(event);
        at += (ssize_t)(sizeof(*event) + event->len);
    }
    struct viewed_job *next;
    for (struct viewed_job *job = LIST_FIRST(&jobs.all); job != NULL; job = next) {
        next = LIST_NEXT(job, all);
        if (job->changed != 0) {
            look_at_job(job);
        }
    }
}

int viewed_jobs_start(const struct viewed_job_uses *uses)
{
    LIST_INIT(&jobs.all);
    jobs.uses = uses;
    jobs.inotify =
        (struct watched){.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), .ready = inotify_ready};
    return jobs.inotify.fd < 0 ? -1 : loop_want(&jobs.inotify, EPOLLIN);
}

/* ---- what the runner answers ---- */

/* Nobody takes what waits. */
static void refuse_waiting(struct viewed_job *job)
{
    struct viewer *viewer;
    job->owes_size = false;
    while ((viewer = TAILQ_FIRST(&job->writers)) != NULL) {
        TAILQ_REMOVE(&job->writers, viewer, as_writer);
        viewer->is_writer = false;
        jobs.uses->was_refused(viewer, REFUSED_ENDED);
    }
    while ((viewer = TAILQ_FIRST(&job->callers)) != NULL) {
        TAILQ_REMOVE(&job->callers, viewer, as_caller);
        viewer->is_caller = false;
        jobs.uses->order_is_done(viewer, true);
    }
}

/* The job has no connection to its runner: asks for one. Whether one may come. */
static bool seek_runner(struct viewed_job *job)
{
    read_ending(job);
    if (job->is_sought || job->has_ended) {
        return job->is_sought;
    }
    if (job->tries == TRIES) {
        job->tries = 0;
        return false;
    }
    job->tries++;
    job->is_sought = lookup_begin(job->id) != NULL;
    return job->is_sought;
}

/* What it was asked and has not answered may have been done. */
static void close_runner(struct viewed_job *job)
{
    struct viewer *asker = job->asker;
    loop_close(&job->runner);
    job->is_asked = job->awaits_room = job->runner_is_full = false;
    job->asker = NULL;
    if (asker != NULL) {
        jobs.uses->was_refused(asker, REFUSED_LOST);
    }
}

/* It has hung up. What waits goes to a new connection. */
static void lose_runner(struct viewed_job *job)
{
    close_runner(job);
    bool has_more = job->owes_size || !TAILQ_EMPTY(&job->writers) || !TAILQ_EMPTY(&job->callers);
    if (has_more && !seek_runner(job)) {
        refuse_waiting(job);
    }
}

/* The runner has answered about the input of `asker`. */
static void take_write_answer(struct viewed_job *job, const struct incoming *answer)
{
    struct viewer *asker = job->asker;
    size_t written = (size_t)message_number(answer, FIELD_WRITTEN, 0);
    if (!job->is_asked || message_number(answer, FIELD_SERIAL, 0) != job->serial) {
        return; /* about a size, or an end of input */
    }
    job->is_asked = false;
    job->asker = NULL;
    if (answer->type == MESSAGE_WROTE) {
        job->awaits_room = written < job->asked_length;
    }
    if (asker == NULL) {
        return;
    }
    if (answer->type == MESSAGE_WROTE) {
        jobs.uses->was_written(asker, written);
    } else {
        jobs.uses->was_refused(asker, answer->type == MESSAGE_LINE_TOO_LONG ? REFUSED_LINE_TOO_LONG
                                                                            : REFUSED_ENDED);
    }
}

static void take_runner_message(struct viewed_job *job, const struct incoming *message)
{
    switch ((int)message->type) {
    case MESSAGE_WROTE:
    case MESSAGE_NO_STDIN:
    case MESSAGE_LINE_TOO_LONG: take_write_answer(job, message); break;
    case MESSAGE_ROOM: job->awaits_room = false; break;
    default: break; /* the end stands in the directory */
    }
}

static void hear_runner(struct viewed_job *job)
{
    char packet[MESSAGE_PACKET_SMALL];
    while (job->runner.fd >= 0) {
        cleanup_incoming struct incoming message = {.fields = NULL};
        int got = message_receive(job->runner.fd, packet, sizeof(packet), &message, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (got <= 0 || message_open(&message) < 0) {
            lose_runner(job);
            return;
        }
        job->tries = 0;
        take_runner_message(job, &message);
    }
}

/* ---- orders ---- */

static enum sent send_message(struct viewed_job *job, struct message *message)
{
    if (job->runner.fd < 0) {
        return seek_runner(job) ? SENT_LATER : SENT_NEVER;
    }
    if (job->runner_is_full) {
        return SENT_LATER;
    }
    if (message_send(job->runner.fd, message, NULL, 0) == 0) {
        return SENT_NOW;
    }
    if (errno == EAGAIN && loop_want(&job->runner, EPOLLIN | EPOLLOUT) == 0) {
        job->runner_is_full = true;
        return SENT_LATER;
    }
    close_runner(job);
    return seek_runner(job) ? SENT_LATER : SENT_NEVER;
}

/* Begins one with a number of its own. */
static int64_t begin_order(struct message *message, enum message_type type)
{
    static int64_t last;
    message_init(message, type);
    message_add_number(message, FIELD_SERIAL, ++last);
    return last;
}

static enum sent send_size(struct viewed_job *job, const struct terminal_size *size)
{
    cleanup_message struct message message;
    (void)begin_order(&message, MESSAGE_RESIZE);
    terminal_size_describe(size, &message);
    return send_message(job, &message);
}

enum sent viewed_job_resize(struct viewed_job *job, const struct terminal_size *size)
{
    enum sent sent = send_size(job, size);
    job->owes_size = sent == SENT_LATER;
    job->owed = *size;
    return sent;
}

static enum sent send_order(struct viewed_job *job, int order)
{
    cleanup_message struct message message;
    (void)begin_order(&message, order == VIEWER_EOF ? MESSAGE_WRITE : MESSAGE_KILL);
    if (order == VIEWER_EOF) {
        message_add_bytes(&message, FIELD_DATA, "", 0);
        message_add_number(&message, FIELD_EOF, 1);
    } else if (order != SIGKILL) { /* which ends the whole tree */
        message_add_number(&message, FIELD_SIGNAL, order);
    }
    return send_message(job, &message);
}

enum sent viewed_job_order(struct viewer *viewer, int order)
{
    struct viewed_job *job = viewer->job;
    enum sent sent = send_order(job, order);
    if (sent == SENT_LATER) {
        viewer->order = order;
        viewer->is_caller = true;
        TAILQ_INSERT_TAIL(&job->callers, viewer, as_caller);
    }
    return sent;
}

/* Sends the size, and then the orders, that wait. Whether all have gone. */
static bool send_orders(struct viewed_job *job)
{
    struct viewer *caller;
    job->owes_size = job->owes_size && send_size(job, &job->owed) == SENT_LATER;
    while (!job->owes_size && (caller = TAILQ_FIRST(&job->callers)) != NULL) {
        enum sent sent = send_order(job, caller->order);
        if (sent == SENT_LATER || !caller->is_caller) {
            break;
        }
        TAILQ_REMOVE(&job->callers, caller, as_caller);
        caller->is_caller = false;
        jobs.uses->order_is_done(caller, sent == SENT_NEVER);
    }
    return !job->owes_size && TAILQ_EMPTY(&job->callers);
}

static void ask_runner(struct viewed_job *job, struct viewer *writer)
{
    cleanup_message struct message message;
    size_t length = viewer_piece(writer);
    int64_t serial = begin_order(&message, MESSAGE_WRITE);
    message_add_bytes(&message, FIELD_DATA, writer->input.data + writer->input.begin, length);
    enum sent sent = send_message(job, &message);
    if (sent == SENT_NOW) {
        job->asked_length = length;
        job->serial = serial;
        job->is_asked = true;
        job->asker = writer;
    } else if (sent == SENT_NEVER) {
        refuse_waiting(job);
    }
}

void viewed_job_pump(struct viewed_job *job)
{
    struct viewer *writer = TAILQ_FIRST(&job->writers);
    if (writer != NULL && !job->is_asked && !job->awaits_room && !job->is_sought &&
        !job->owes_size) {
        ask_runner(job, writer);
    }
}

static void runner_ready(struct watched *watched, uint32_t events)
{
    struct viewed_job *job =
        (struct viewed_job *)((char *)watched - offsetof(struct viewed_job, runner));
    if ((events & EPOLLOUT) != 0) {
        job->runner_is_full = false;
        (void)loop_want(&job->runner, EPOLLIN); /* it is watched, so this cannot fail */
    }
    hear_runner(job);
    if (send_orders(job)) {
        viewed_job_pump(job);
    }
}

/* ---- jobs ---- */

static struct viewed_job *find_job(const char *id)
{
    struct viewed_job *job;
    LIST_FOREACH (job, &jobs.all, all) {
        if (strcmp(job->id, id) == 0 && (job->changed & CHANGED_GONE) == 0) {
            return job;
        }
    }
    return NULL;
}

struct viewed_job *viewed_job_find(const char *id)
{
    struct viewed_job *job = find_job(id);
    return job != NULL && (job->runner.fd >= 0 || job->has_ended) ? job : NULL;
}

/* Watches before it reads, so that nothing is missed. 0, or -1 with errno. */
static int read_directory(struct viewed_job *job)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", job->directory);
    job->descriptor = inotify_add_watch(jobs.inotify.fd, path, WATCHED);
    if (job->descriptor < 0 || terminal_size_read(job->directory, &job->size) < 0) {
        return -1;
    }
    read_ending(job);
    return 0;
}

static void take_runner(struct viewed_job *job, int *runner)
{
    if (job->runner.fd < 0 && *runner >= 0) {
        job->runner.fd = steal_fd(runner);
        if (loop_want(&job->runner, EPOLLIN) < 0) {
            loop_close(&job->runner);
        }
    }
}

void viewed_job_found(const char *id, int *runner)
{
    struct viewed_job *job = find_job(id);
    if (job == NULL || !job->is_sought) {
        return;
    }
    job->is_sought = false;
    take_runner(job, runner);
    if (job->runner.fd < 0) {
        refuse_waiting(job);
    } else if (send_orders(job)) {
        viewed_job_pump(job);
    }
}

static void forget_job(struct viewed_job *job)
{
    LIST_REMOVE(job, all);
    loop_close(&job->runner);
    if (job->descriptor >= 0) {
        (void)inotify_rm_watch(jobs.inotify.fd, job->descriptor); /* it may have gone by itself */
    }
    close_fd(&job->directory);
    loop_free(&job->garbage, job);
}

struct viewed_job *viewed_job_open(const char *id, int directory, int *runner)
{
    struct viewed_job *job = find_job(id);
    if (job != NULL) {
        take_runner(job, runner);
        return job;
    }
    job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return NULL;
    }
    (void)snprintf(job->id, sizeof(job->id), "%s", id);
    job->directory = fcntl(directory, F_DUPFD_CLOEXEC, 0);
    job->descriptor = -1;
    job->runner = (struct watched){.fd = -1, .ready = runner_ready};
    TAILQ_INIT(&job->writers);
    TAILQ_INIT(&job->callers);
    LIST_INSERT_HEAD(&jobs.all, job, all);
    if (job->directory < 0 || read_directory(job) < 0) {
        int error = errno;
        forget_job(job);
        errno = error;
        return NULL;
    }
    take_runner(job, runner);
    return job;
}

void viewed_job_leave(struct viewed_job *job)
{
    if (LIST_EMPTY(&job->viewers)) {
        forget_job(job);
    }
}
