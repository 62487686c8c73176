/*
 * Jobs in an array by age. The runner of a running one is known by its lock on the job's directory
 * and heard of over the socket in there; when it falls silent the directory tells what became of
 * the job.
 */
#include "procd/daemon/registry.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/directory.h"
#include "common/logger.h"
#include "common/process_stat.h"
#include "procd/jobs/job_directory.h"
#include "procd/jobs/job_record.h"
#include "procd/log/job_log.h"
#include "procd/log/job_position.h"
#include "procd/process/process_hold.h"
#include "procd/process/process_table.h"
#include "procd/process/tree_kill.h"

/* How soon a runner that is alive but does not answer (it begins, or it ends, or its socket is
 * full) is looked at again. */
#define LOOK_AGAIN_MS 10

/* How long a runner has to end its tree, after the grace of the order, before procd does it; and
 * how soon that is done again while something is left. A command that stands still while the kernel
 * copies its memory into a pipe (a page of it may be a file of its own FUSE, which never answers)
 * holds up whoever else uses that pipe: pipe_write() has a lock meanwhile. */
#define RUNNER_PATIENCE_MS 5000
#define KILL_AGAIN_MS      500
#define GRACE_MOST_MS      86400000 /* of a client of ours it is less */

/* What jobs have left running: how much of it is shown of one, how soon it is killed again while
 * something of it is there, and for how long. */
#define LEFT_SHOWN_MAX  64
#define LEFT_PAUSE_MS   5
#define LEFT_GIVE_UP_MS 10000

/* The list of jobs goes in messages of about this size, so that a client who takes his time over a
 * long one holds no more than that in memory. */
#define PAGE_SIZE ((size_t)24576)

/* How long the look at what is too old is put off at most, whatever the clock says. */
#define EXPIRY_MOST_MS 60000

struct registered_job {
    struct watch runner; /* first: a watch is its job. Open while the runner is heard of */
    struct job_record record;
    struct job_exit ending; /* status JOB_RUNNING until it has ended */
    bool has_position;      /* of an ended one; a running one has it on the disk */
    struct job_position position;
    bool undecided;       /* to be looked at again */
    int64_t overdue_at;   /* when its end, which was ordered, is overdue; 0: none was */
    bool overdue;         /* it was, and that was told */
    struct order *orders; /* the first first */
};

static struct {
    struct registered_job **jobs;
    size_t count, capacity;
    size_t finished;
    size_t keep;
    uint64_t keep_ms;
    bool opened;     /* what is on the disk has been seen once */
    size_t unborn;   /* jobs that somebody has, but no record of them could be read yet */
    uint64_t newest; /* age_key of the last job: no two have the same */
    struct expected_job *expected; /* not among the unborn */
    size_t expected_count;
} registry;

static void look_again(struct timer *timer);
static void expire(struct timer *timer);
static void kill_overdue(struct timer *timer);
static void kill_left(struct timer *timer);
static struct timer left_timer = {.due = kill_left};
static struct timer overdue_timer = {.due = kill_overdue};
static struct timer look_timer = {.due = look_again};
static struct timer expiry_timer = {.due = expire};

static void look_again_soon(void)
{
    if (look_timer.at == 0) {
        look_timer.at = clock_monotonic_ms() + LOOK_AGAIN_MS;
    }
}

static void look_at_later(struct registered_job *job)
{
    job->undecided = true;
    look_again_soon();
}

/* ---- which jobs are kept ---- */

static struct registered_job *find(const char *id)
{
    for (size_t i = registry.count; i-- > 0;) {
        if (strcmp(registry.jobs[i]->record.id, id) == 0) {
            return registry.jobs[i];
        }
    }
    return NULL;
}

static void finish_order(struct order **link, enum order_result result, size_t written);

static void remove_job(size_t index)
{
    struct registered_job *job = registry.jobs[index];
    while (job->orders != NULL) { /* to end what it has left running */
        finish_order(&job->orders, ORDER_UNKNOWN, 0);
    }
    job_directory_remove(job->record.id);
    registry.count--;
    memmove(registry.jobs + index, registry.jobs + index + 1,
            (registry.count - index) * sizeof(*registry.jobs));
    registry.finished--;
    job_record_clear(&job->record);
    free(job);
}

void registry_delete(struct registered_job *job)
{
    for (size_t i = registry.count; i-- > 0;) {
        if (registry.jobs[i] == job) {
            remove_job(i);
            return;
        }
    }
}

/* By the time of its end: a job that ran for long and has just ended is news. */
static size_t oldest_finished(void)
{
    size_t oldest = registry.count;
    for (size_t i = 0; i < registry.count; i++) {
        const struct job_exit *ending = &registry.jobs[i]->ending;
        if (ending->status != JOB_RUNNING &&
            (oldest == registry.count ||
             ending->ended_boot_ns < registry.jobs[oldest]->ending.ended_boot_ns)) {
            oldest = i;
        }
    }
    return oldest;
}

/* How many ms the job may still be kept; 0 or less when its time is over. */
static int64_t time_left(const struct registered_job *job)
{
    const int64_t ns_per_ms = 1000000;
    int64_t age_ms = ((int64_t)clock_boot_ns() - (int64_t)job->ending.ended_boot_ns) / ns_per_ms;
    return (int64_t)registry.keep_ms - age_ms;
}

/* Removes what is too much and what is too old, and comes back when the next one will be. */
static void remove_old(void)
{
    if (!registry.opened) {
        return; /* once, when all are known */
    }
    expiry_timer.at = 0;
    while (registry.finished > 0) {
        size_t oldest = oldest_finished();
        int64_t left = registry.keep_ms == 0 ? INT64_MAX : time_left(registry.jobs[oldest]);
        if (registry.finished <= registry.keep && left > 0) {
            if (registry.keep_ms > 0) {
                expiry_timer.at =
                    clock_monotonic_ms() + (left < EXPIRY_MOST_MS ? left : EXPIRY_MOST_MS);
            }
            return;
        }
        remove_job(oldest);
    }
}

static void expire(struct timer *timer)
{
    (void)timer;
    remove_old();
}

/* ---- orders ---- */

/* Takes the order out of the list that `link` points into, and says what has come of it. */
static void finish_order(struct order **link, enum order_result result, size_t written)
{
    struct order *order = *link;
    assert(order != NULL);
    struct registered_job *job = order->job;
    *link = order->next;
    order->job = NULL;
    message_clear(&order->message);
    order->done(order, result, job, written);
}

/* The order to write that an answer of the runner is to; one that was given up is not there. */
static struct order **find_write(struct registered_job *job, const struct incoming *answer)
{
    uint64_t serial = (uint64_t)message_number(answer, FIELD_SERIAL, 0);
    struct order **link = &job->orders;
    while (*link != NULL && ((*link)->kind != ORDER_WRITE || (*link)->serial != serial)) {
        link = &(*link)->next;
    }
    return link;
}

/* Whether it says to kill at once. */
static bool is_plain_kill(const struct order *order)
{
    return order->kind == ORDER_KILL && message_is_plain(&order->message);
}

static bool is_told_to_kill(const struct registered_job *job)
{
    const struct order *order = job->orders;
    while (order != NULL && !(order->sent && is_plain_kill(order))) {
        order = order->next;
    }
    return order != NULL;
}

/* Whether nothing is to be said to the runner: to kill it once is enough. */
static bool needs_no_word(const struct registered_job *job, const struct order *order)
{
    return order->kind == ORDER_WAIT || (is_plain_kill(order) && is_told_to_kill(job));
}

/* 0 when it is not known. */
static pid_t pid_of_runner(const struct registered_job *job)
{
    struct ucred runner;
    socklen_t size = sizeof(runner);
    return getsockopt(job->runner.fd, SOL_SOCKET, SO_PEERCRED, &runner, &size) == 0 ? runner.pid
                                                                                    : 0;
}

/* A command may have stopped its runner, which then could not take the order to end it. */
static void wake_runner(const struct registered_job *job)
{
    pid_t runner = pid_of_runner(job);
    if (runner > 0) {
        (void)kill(runner, SIGCONT); /* does nothing to one that runs */
    }
}

/* Kills what is below the runner, which then goes on and tells of the end. */
static void kill_for_runner(struct registered_job *job)
{
    pid_t runner = pid_of_runner(job);
    cleanup_fd int held = runner > 0 ? process_hold(runner) : -1;
    cleanup_fd int directory = job_directory_open(job->record.id);
    /* It has its lock, so it is alive, and the number was its own when it was held. */
    if (held >= 0 && directory >= 0 && !job_directory_is_free(directory)) {
        if (!job->overdue) {
            log_request(LOG_WARNING, job->record.request_id,
                        "job %s: its runner does not end it, so procd does", job->record.id);
            job->overdue = true;
        }
        (void)tree_kill_round(runner, held, NULL);
    }
}

/* Of two times the earlier one, where 0 is none. */
static void make_earlier(int64_t *at, int64_t other)
{
    if (*at == 0 || other < *at) {
        *at = other;
    }
}

static void kill_overdue(struct timer *timer)
{
    int64_t now = clock_monotonic_ms();
    for (size_t i = 0; i < registry.count; i++) {
        struct registered_job *job = registry.jobs[i];
        if (job->ending.status != JOB_RUNNING || job->overdue_at == 0) {
            continue;
        }
        if (job->overdue_at <= now) {
            kill_for_runner(job);
            job->overdue_at = now + KILL_AGAIN_MS;
        }
        make_earlier(&timer->at, job->overdue_at);
    }
}

static void expect_end(struct registered_job *job, int64_t grace_ms)
{
    int64_t grace = grace_ms < 0 || grace_ms > GRACE_MOST_MS ? GRACE_MOST_MS : grace_ms;
    int64_t at = clock_monotonic_ms() + grace + RUNNER_PATIENCE_MS;
    make_earlier(&job->overdue_at, at);
    make_earlier(&overdue_timer.at, at);
}

/* Passes on what has not been. What does not go through now is tried again. */
static void send_orders(struct registered_job *job)
{
    for (struct order **link = &job->orders; *link != NULL && job->runner.fd >= 0;) {
        struct order *order = *link;
        if (order->sent || needs_no_word(job, order)) {
            order->sent = true;
        } else if (message_send(job->runner.fd, &order->message, NULL, 0) == 0) {
            order->sent = true;
            if (order->kind == ORDER_KILL) {
                wake_runner(job);
            }
        } else if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) {
            look_at_later(job);
            return;
        } else {
            return; /* the runner is gone: hear_runner() finds out */
        }
        if (order->kind == ORDER_SIGNAL) {
            finish_order(link, ORDER_DONE, 0);
        } else {
            link = &order->next;
        }
    }
}

bool registry_order(struct registered_job *job, struct order *order)
{
    if (job->ending.status != JOB_RUNNING) {
        return false;
    }
    struct order **link = &job->orders;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = order;
    order->next = NULL;
    order->job = job;
    order->sent = false;
    if (order->kind == ORDER_KILL) {
        expect_end(job, order->grace_ms);
    }
    send_orders(job);
    return true;
}

/* ---- what jobs have left running ---- */

/* Whether the runner of a job that has ended is still there: it stays as long as anything does that
 * the job has started. Its number may be another's by now. */
static bool has_left(struct registered_job *job)
{
    struct process_stat stat;
    if (job->ending.status == JOB_RUNNING || job->ending.runner <= 0) {
        return false;
    }
    bool is_there = process_stat_read(job->ending.runner, &stat) && stat.state != 'Z' &&
                    stat.started == job->ending.runner_started;
    job->ending.runner = is_there ? job->ending.runner : 0;
    return is_there;
}

/* One round of killing what a job has left. Whether nothing is left. */
static bool kill_once(struct registered_job *job)
{
    if (job->ending.runner <= 0) {
        return true;
    }
    cleanup_fd int held = process_hold(job->ending.runner);
    return !has_left(job) || (held >= 0 && tree_kill_round(job->ending.runner, held, NULL) == 0);
}

static void finish_left(struct registered_job *job, int64_t now)
{
    bool is_done = kill_once(job);
    for (struct order **link = &job->orders; *link != NULL;) {
        if (is_done || (*link)->give_up_at <= now) {
            finish_order(link, is_done ? ORDER_DONE : ORDER_UNKNOWN, 0);
        } else {
            link = &(*link)->next;
        }
    }
}

static void kill_left(struct timer *timer)
{
    int64_t now = clock_monotonic_ms();
    for (size_t i = 0; i < registry.count; i++) {
        struct registered_job *job = registry.jobs[i];
        if (job->ending.status == JOB_RUNNING || job->orders == NULL) {
            continue;
        }
        finish_left(job, now);
        if (job->orders != NULL) {
            timer->at = now + LEFT_PAUSE_MS;
        }
    }
}

bool registry_order_left(struct registered_job *job, struct order *order)
{
    if (!has_left(job)) {
        return false;
    }
    order->next = job->orders;
    order->job = job;
    order->give_up_at = clock_monotonic_ms() + LEFT_GIVE_UP_MS;
    job->orders = order;
    left_timer.at = clock_monotonic_ms();
    return true;
}

void registry_forget(struct order *order)
{
    if (order->job == NULL) {
        return;
    }
    for (struct order **link = &order->job->orders; *link != NULL; link = &(*link)->next) {
        if (*link == order) {
            *link = order->next;
            break;
        }
    }
    order->job = NULL;
    message_clear(&order->message);
}

/* The runner is heard of no more, and yet may be alive: an order to kill can be given again. */
static void forget_runner(struct registered_job *job)
{
    loop_close(&job->runner);
    for (struct order **link = &job->orders; *link != NULL;) {
        if ((*link)->kind == ORDER_WRITE && (*link)->sent) {
            finish_order(link, ORDER_UNKNOWN, 0);
        } else {
            (*link)->sent = false;
            link = &(*link)->next;
        }
    }
}

/* ---- the end of a job ---- */

/* The first order has killed it, if an order has; whoever came later finds it ended. */
static void finish_orders(struct registered_job *job)
{
    bool first = job->ending.status == JOB_KILLED;
    while (job->orders != NULL) {
        bool by_this_order = job->orders->kind == ORDER_KILL && first;
        first = first && !by_this_order;
        finish_order(
            &job->orders,
            by_this_order || job->orders->kind == ORDER_WAIT ? ORDER_DONE : ORDER_NOT_RUNNING, 0);
    }
}

/* The job has ended as job->ending says. It may be gone when this returns. */
static void settle(struct registered_job *job, int directory)
{
    loop_close(&job->runner);
    job->undecided = false;
    job->has_position = directory >= 0 && job_position_read(directory, &job->position) == 0;
    registry.finished++;
    finish_orders(job);
    remove_old();
}

/* Now; but no job ends before it was started, whatever the clock says. */
static uint64_t date_of_end(const struct registered_job *job)
{
    uint64_t now = clock_date_ns();
    return now > job->record.started_at ? now : job->record.started_at;
}

/* The runner is dead and has left no word: makes the log whole and writes what can be said. */
static void settle_lost(struct registered_job *job, int directory)
{
    job->ending = (struct job_exit){.status = JOB_FAILED,
                                    .code = -1,
                                    .reason = END_LOST,
                                    .ended_at = date_of_end(job),
                                    .ended_boot_ns = clock_boot_ns()};
    const char *request_id = job->record.request_id;
    log_request(LOG_WARNING, request_id, "job %s: its runner died", job->record.id);
    if (job_log_repair(directory) < 0) {
        log_request(LOG_ERR, request_id, "job %s: log: %m", job->record.id);
    }
    if (job_exit_write(directory, &job->ending) < 0) {
        log_request(LOG_ERR, request_id, "job %s: exit record: %m", job->record.id);
        job->ending.status = JOB_RUNNING;
        look_at_later(job); /* readers of its log wait for the record */
        return;
    }
    settle(job, directory);
}

/* ---- the life of a job ---- */

static void hear_runner(struct watch *watch);

/* Finds out what the job is now, and listens to its runner if there is one. */
static void look_at(struct registered_job *job)
{
    cleanup_fd int directory = job_directory_open(job->record.id);
    bool is_free = directory >= 0 && job_directory_is_free(directory);
    if (directory < 0 && errno != ENOENT && errno != ENOTDIR) {
        look_at_later(job); /* no descriptor, no memory: the job does not care */
        return;
    }
    if (directory < 0) {
        job->ending = (struct job_exit){.status = JOB_FAILED,
                                        .code = -1,
                                        .reason = END_LOST,
                                        .ended_at = date_of_end(job),
                                        .ended_boot_ns = clock_boot_ns()};
        settle(job, directory);
        return;
    }
    if (job_exit_read(directory, &job->ending) == 0) {
        settle(job, directory);
        return;
    }
    if (is_free) {
        settle_lost(job, directory);
        return;
    }
    int fd = job_directory_connect(directory);
    job->runner = (struct watch){.fd = fd, .urgent = true, .ready = hear_runner};
    if (fd < 0 || loop_add(&job->runner) < 0) {
        close_fd(&job->runner.fd);
        look_at_later(job);
        return;
    }
    job->undecided = false;
    send_orders(job);
}

/* A word of the runner. After its last one the job may be gone. */
static void take_word(struct registered_job *job, const struct incoming *message)
{
    switch ((int)message->type) {
    case MESSAGE_ENDED: {
        job->ending = job_exit_of(message);
        cleanup_fd int directory = job_directory_open(job->record.id);
        settle(job, directory);
        break;
    }
    case MESSAGE_WROTE:
    case MESSAGE_NO_STDIN: {
        struct order **link = find_write(job, message);
        if (*link != NULL) {
            finish_order(link, message->type == MESSAGE_WROTE ? ORDER_DONE : ORDER_NO_STDIN,
                         (size_t)message_number(message, FIELD_WRITTEN, 0));
        }
        break;
    }
    default:
        break; /* of a later version */
    }
}

static void hear_runner(struct watch *watch)
{
    struct registered_job *job = (struct registered_job *)watch;
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    int received = message_receive(watch->fd, packet, sizeof(packet), &message, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) {
        return;
    }
    if (received == 1 && message_open(&message) == 0) {
        take_word(job, &message);
        return;
    }
    forget_runner(job);
    look_at_later(job); /* not at once: should it live and hang up again, that would be a loop */
}

/* ---- finding jobs ---- */

uint64_t registry_new_age_key(void)
{
    uint64_t now = clock_boot_ns();
    registry.newest = now > registry.newest ? now : registry.newest + 1;
    return registry.newest;
}

uint64_t registry_new_serial(void)
{
    static uint64_t serial;
    return ++serial;
}

static bool make_space(void)
{
    if (registry.count < registry.capacity) {
        return true;
    }
    size_t capacity = registry.capacity == 0 ? 64 : registry.capacity * 2;
    struct registered_job **jobs = reallocarray(registry.jobs, capacity, sizeof(*jobs));
    if (jobs == NULL) {
        return false;
    }
    registry.jobs = jobs;
    registry.capacity = capacity;
    return true;
}

static void insert_by_age(struct registered_job *job)
{
    size_t at = registry.count++;
    for (; at > 0 && registry.jobs[at - 1]->record.age_key > job->record.age_key; at--) {
        registry.jobs[at] = registry.jobs[at - 1];
    }
    registry.jobs[at] = job;
    if (job->record.age_key > registry.newest) {
        registry.newest = job->record.age_key;
    }
}

/*
 * Takes a job from its directory. 0, also when it has ended and is not kept; or -1 with errno, as
 * job_record_read and openat(2) have it.
 */
static int take_job(const char *id)
{
    if (find(id) != NULL) {
        return 0;
    }
    cleanup_fd int directory = job_directory_open(id);
    cleanup_free struct registered_job *job = calloc(1, sizeof(*job));
    if (directory < 0 || job == NULL || !make_space() ||
        job_record_read(directory, id, &job->record) < 0) {
        return -1;
    }
    job->runner.fd = -1;
    job->ending.status = JOB_RUNNING;
    insert_by_age(job);
    look_at(steal_pointer(job));
    return 0;
}

/* Whether what take_job() failed with says that the job is none, and not that we are in trouble. */
static bool is_no_job(int error)
{
    return error == ENOENT || error == ENOTDIR || error == EBADMSG;
}

size_t registry_running(void)
{
    return registry.count - registry.finished + registry.unborn + registry.expected_count;
}

void registry_expect(struct expected_job *job, const char *id)
{
    memcpy(job->id, id, JOB_ID_SIZE);
    job->next = registry.expected;
    job->link = &registry.expected;
    if (job->next != NULL) {
        job->next->link = &job->next;
    }
    registry.expected = job;
    registry.expected_count++;
}

static void expect_no_more(struct expected_job *job)
{
    *job->link = job->next;
    if (job->next != NULL) {
        job->next->link = job->link;
    }
    registry.expected_count--;
}

static bool is_expected(const char *id)
{
    const struct expected_job *job = registry.expected;
    while (job != NULL && strcmp(job->id, id) != 0) {
        job = job->next;
    }
    return job != NULL;
}

void registry_adopt(struct expected_job *job)
{
    expect_no_more(job);
    if (take_job(job->id) < 0) {
        log_at(LOG_WARNING, "job %s: cannot read its record yet: %m", job->id);
        registry.unborn++;
        look_again_soon();
    }
}

void registry_give_up(struct expected_job *job)
{
    expect_no_more(job);
    job_directory_remove(job->id);
}

int registry_adopt_silent(struct expected_job *job, pid_t *pid)
{
    int taken = take_job(job->id);
    if (taken < 0 && is_no_job(errno)) {
        return 0;
    }
    registry_adopt(job);
    const struct registered_job *found = find(job->id);
    if (found == NULL) {
        return -1;
    }
    *pid = found->record.pid;
    return 1;
}

/*
 * Takes a job that is found on the disk. False when there is more to come: somebody has it, a
 * runner that has not got so far; or it could not be looked at.
 */
static bool find_job(const char *id)
{
    if (take_job(id) == 0) {
        return true;
    }
    if (errno == EPROTONOSUPPORT) {
        if (!registry.opened) {
            log_at(LOG_WARNING,
                   "job %s: its record is of another version than this procd; it is left alone",
                   id);
        }
        return true;
    }
    cleanup_fd int directory = is_no_job(errno) ? job_directory_open(id) : -1;
    if (directory < 0 || !job_directory_is_free(directory)) {
        return false;
    }
    /* Nobody has it, so nothing more comes; unless it came between the two looks. */
    if (take_job(id) < 0 && is_no_job(errno)) {
        job_directory_remove(id);
    }
    return true;
}

static int find_jobs(void)
{
    cleanup_directory DIR *entries = job_directories_list();
    if (entries == NULL) {
        return -1;
    }
    registry.unborn = 0;
    for (const char *name; (name = directory_next(entries)) != NULL;) {
        if (job_directory_is_name(name) && !is_expected(name) && !find_job(name)) {
            registry.unborn++;
        }
    }
    if (errno != 0) {
        return -1;
    }
    if (registry.unborn > 0) {
        look_again_soon();
    }
    return 0;
}

/* Does for an undecided job what can be done now. It may be gone after that. */
static void decide_one(struct registered_job *job)
{
    if (job->runner.fd < 0) {
        look_at(job);
    } else {
        job->undecided = false;
        send_orders(job);
    }
}

static void decide(void)
{
    /* A job may go meanwhile; who is passed over by that is looked at the next time. */
    for (size_t i = registry.count; i-- > 0;) {
        if (i < registry.count && registry.jobs[i]->undecided) {
            decide_one(registry.jobs[i]);
        }
    }
}

static void look_again(struct timer *timer)
{
    (void)timer;
    decide();
    for (size_t i = 0; i < registry.count; i++) {
        if (registry.jobs[i]->undecided) {
            look_again_soon();
        }
    }
    static bool failed; /* the last time, which was told */
    if (registry.unborn > 0 && find_jobs() < 0) {
        if (!failed) {
            log_line("cannot read the jobs' directory: %m");
        }
        failed = true;
        look_again_soon(); /* no descriptor, no memory: somebody is still to be found */
    } else {
        failed = false;
    }
}

int registry_open(const char *run_directory, size_t keep_finished, uint64_t keep_finished_ms)
{
    if (job_directories_open(run_directory) < 0) {
        return -1;
    }
    registry.keep = keep_finished;
    registry.keep_ms = keep_finished_ms;
    loop_add_timer(&look_timer);
    loop_add_timer(&overdue_timer);
    loop_add_timer(&left_timer);
    loop_add_timer(&expiry_timer);
    int result = find_jobs();
    registry.opened = true;
    remove_old();
    return result;
}

void registry_close(void)
{
    for (size_t i = 0; i < registry.count; i++) {
        loop_close(&registry.jobs[i]->runner);
        job_record_clear(&registry.jobs[i]->record);
        free(registry.jobs[i]);
    }
    free(steal_pointer(registry.jobs));
    registry.count = 0;
    job_directories_close();
}

/* ---- questions ---- */

struct registered_job *registry_find(const char *id)
{
    struct registered_job *job = find(id);
    if (job != NULL && job->undecided) {
        decide_one(job);
        job = find(id);
    }
    return job;
}

const char *registry_id(const struct registered_job *job)
{
    return job->record.id;
}

const char *registry_request_id(const struct registered_job *job)
{
    return job->record.request_id;
}

enum job_status registry_status(const struct registered_job *job)
{
    return job->ending.status;
}

/* Where the job's log begins and ends; of a running one as its runner last wrote it down. */
static bool find_position(const struct registered_job *job, struct job_position *position)
{
    if (job->ending.status != JOB_RUNNING) {
        *position = job->position;
        return job->has_position;
    }
    cleanup_fd int directory = job_directory_open(job->record.id);
    return directory >= 0 && job_position_read(directory, position) == 0;
}

/* Not by the command line, the reading of which may wait for whoever serves that memory (FUSE). */
static void describe_process(pid_t pid, struct message *message)
{
    char name[32];
    if (process_file_read(pid, "comm", name, sizeof(name))) {
        name[strcspn(name, "\n")] = '\0';
        message_add_number(message, FIELD_LEFT_PID, pid);
        message_add_text(message, FIELD_LEFT_NAME, name);
    }
}

/* What is below the runner of a job, parents before their children; no more than that many. */
static void describe_left(pid_t runner, struct message *message)
{
    cleanup_(process_view_clear) struct process_view view;
    cleanup_(pid_list_clear) struct pid_list found = {0};
    if (process_view_take(&view) < 0 || process_view_children(&view, runner, &found) < 0) {
        return; /* out of memory: it is asked for again */
    }
    for (size_t i = 0; i < found.count && i < LEFT_SHOWN_MAX; i++) {
        describe_process(found.pids[i], message);
        (void)process_view_children(&view, found.pids[i], &found); /* no memory: as above */
    }
}

void registry_describe_job(struct registered_job *job, bool left, struct message *message)
{
    struct job_position position;
    message_add_text(message, FIELD_ID, job->record.id);
    message_add_number(message, FIELD_PID, job->record.pid);
    message_add_number(message, FIELD_STARTED_AT, (int64_t)job->record.started_at);
    message_add_number(message, FIELD_AGE_KEY, (int64_t)job->record.age_key);
    message_add_text(message, FIELD_CWD, job->record.cwd);
    message_add_text(message, FIELD_COMMAND, job->record.command);
    if (job->ending.status == JOB_RUNNING) {
        message_add_number(message, FIELD_STATUS, JOB_RUNNING);
    } else {
        job_exit_describe(&job->ending, message);
    }
    if (find_position(job, &position)) {
        message_add_number(message, FIELD_FIRST_OFFSET, (int64_t)position.first_offset);
        message_add_number(message, FIELD_FIRST_LINE, (int64_t)position.first_line);
        message_add_number(message, FIELD_NEXT_OFFSET, (int64_t)position.next_offset);
        message_add_number(message, FIELD_NEXT_LINE, (int64_t)position.next_line);
        message_add_number(message, FIELD_LINES_DROPPED, (int64_t)position.lines_dropped);
    }
    if (left && has_left(job)) {
        describe_left(job->ending.runner, message);
    }
}

uint64_t registry_age_key_of(uint64_t started_at)
{
    uint64_t key = 0;
    for (size_t i = 0; i < registry.count; i++) {
        const struct job_record *record = &registry.jobs[i]->record;
        key = record->started_at <= started_at ? record->age_key : key;
    }
    return key;
}

/* The first job that is younger; jobs are in that order. */
static size_t first_after(uint64_t age_key)
{
    size_t low = 0;
    size_t high = registry.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (registry.jobs[middle]->record.age_key > age_key) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

void registry_describe(uint64_t after, bool left, struct message *message)
{
    decide();
    for (size_t i = first_after(after); i < registry.count; i++) {
        if (message->length > PAGE_SIZE) {
            message_add_number(message, FIELD_MORE, 1);
            return;
        }
        registry_describe_job(registry.jobs[i], left, message);
    }
}
