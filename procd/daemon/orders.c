/*
 * The orders of a job are a queue. A runner that gets an order to kill has some time for it; then
 * procd kills what is below the runner, which goes on and reports the end.
 */
#include "procd/daemon/orders.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "procd/jobs/job_directory.h"
#include "procd/process/process_hold.h"
#include "procd/process/tree_kill.h"

/* How long a runner has to end its tree, after the grace of the order, before procd does it; and
 * how soon that is done again while something is left. A runner may be held up: a command that
 * stands still while the kernel copies its memory into a pipe (a page of it may be a file of its
 * own FUSE, which never answers) holds the lock of that pipe meanwhile (pipe_write()). */
#define RUNNER_PATIENCE_MS 5000
#define KILL_AGAIN_MS      500
#define GRACE_MOST_MS      86400000 /* a client of ours asks for less */

static void kill_overdue(void);
static struct timer overdue_timer = {.due = kill_overdue};

uint64_t orders_new_serial(void)
{
    static uint64_t serial;
    return ++serial;
}

void orders_forget(struct order *order)
{
    if (order->job != NULL) {
        TAILQ_REMOVE(&order->job->orders, order, entry);
        order->job = NULL;
        message_clear(&order->message);
    }
}

void orders_finish(struct order *order, enum order_result result, size_t written)
{
    struct registered_job *job = order->job;
    orders_forget(order);
    order->done(order, result, job, written);
}

/* ---- runners that do not end their jobs ---- */

/* 0 when it is unknown. */
static pid_t runner_pid(const struct registered_job *job)
{
    struct ucred runner;
    socklen_t size = sizeof(runner);
    return getsockopt(job->runner.fd, SOL_SOCKET, SO_PEERCRED, &runner, &size) == 0 ? runner.pid
                                                                                    : 0;
}

static void kill_for_runner(struct registered_job *job)
{
    pid_t runner = runner_pid(job);
    cleanup_fd int held = runner > 0 ? process_hold(runner) : -1;
    cleanup_fd int directory = job_directory_open(job->record.id);
    /* It has its lock, so it is alive, and the number was its own when it was held. */
    if (held >= 0 && directory >= 0 && !job_directory_is_free(directory)) {
        if (job->overdue != OVERDUE_NOW) {
            log_request(LOG_WARNING, job->record.request_id,
                        "job %s: its runner does not end it, so procd does", job->record.id);
            job->overdue = OVERDUE_NOW;
        }
        (void)tree_kill_round(runner, held, NULL);
    }
}

static void kill_overdue(void)
{
    int64_t now = clock_monotonic_ms();
    for (size_t i = 0; i < registered_jobs.count; i++) {
        struct registered_job *job = registered_jobs.all[i];
        if (job->state == REGISTERED_ENDED || job->overdue == OVERDUE_NEVER) {
            continue;
        }
        if (job->overdue_at <= now) {
            kill_for_runner(job);
            job->overdue_at = now + KILL_AGAIN_MS;
        }
        loop_call_at(&overdue_timer, job->overdue_at);
    }
}

static void expect_end(struct registered_job *job, int64_t grace_ms)
{
    int64_t grace = grace_ms < 0 || grace_ms > GRACE_MOST_MS ? GRACE_MOST_MS : grace_ms;
    int64_t at = clock_monotonic_ms() + grace + RUNNER_PATIENCE_MS;
    if (job->overdue == OVERDUE_NEVER) {
        job->overdue = OVERDUE_LATER;
        job->overdue_at = at;
    }
    job->overdue_at = at < job->overdue_at ? at : job->overdue_at;
    loop_call_at(&overdue_timer, at);
}

/* ---- the queue ---- */

void orders_add(struct registered_job *job, struct order *order)
{
    TAILQ_INSERT_TAIL(&job->orders, order, entry);
    order->job = job;
    order->sent = false;
    if (order->kind == ORDER_KILL) {
        expect_end(job, order->grace_ms);
    }
}

/* Whether it says to kill at once. */
static bool is_plain_kill(const struct order *order)
{
    return order->kind == ORDER_KILL && message_is_plain(&order->message);
}

/* Whether the runner need not hear of it: to kill once is enough. */
static bool needs_no_message(const struct registered_job *job, const struct order *order)
{
    return order->sent || order->kind == ORDER_WAIT || (is_plain_kill(order) && job->is_killed);
}

/* 0, or -1 with errno. */
static int send_order(struct registered_job *job, struct order *order)
{
    if (message_send(job->runner.fd, &order->message, NULL, 0) < 0) {
        return -1;
    }
    job->is_killed = job->is_killed || is_plain_kill(order);
    pid_t runner = order->kind == ORDER_KILL ? runner_pid(job) : 0;
    if (runner > 0) {
        /* A command may have stopped it. This does nothing to one that runs. */
        (void)kill(runner, SIGCONT);
    }
    return 0;
}

bool orders_send(struct registered_job *job)
{
    struct order *next;
    for (struct order *order = TAILQ_FIRST(&job->orders); order != NULL; order = next) {
        next = TAILQ_NEXT(order, entry);
        if (!needs_no_message(job, order) && send_order(job, order) < 0) {
            /* With any other error the runner is gone, as its socket will say. */
            return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM;
        }
        order->sent = true;
        if (order->kind == ORDER_SIGNAL) {
            orders_finish(order, ORDER_DONE, 0);
        }
    }
    return false;
}

void orders_answer(struct registered_job *job, const struct incoming *answer)
{
    uint64_t serial = (uint64_t)message_number(answer, FIELD_SERIAL, 0);
    struct order *order;
    TAILQ_FOREACH (order, &job->orders, entry) {
        if (order->kind == ORDER_WRITE && order->serial == serial) {
            orders_finish(order,
                          answer->type == MESSAGE_WROTE           ? ORDER_DONE
                          : answer->type == MESSAGE_LINE_TOO_LONG ? ORDER_LINE_TOO_LONG
                                                                  : ORDER_NO_STDIN,
                          (size_t)message_number(answer, FIELD_WRITTEN, 0));
            return;
        }
    }
}

void orders_lose_runner(struct registered_job *job)
{
    struct order *next;
    job->is_killed = false;
    for (struct order *order = TAILQ_FIRST(&job->orders); order != NULL; order = next) {
        next = TAILQ_NEXT(order, entry);
        if (order->kind == ORDER_WRITE && order->sent) {
            orders_finish(order, ORDER_UNKNOWN, 0);
        } else {
            order->sent = false;
        }
    }
}

/* If an order has killed the job, it was the first one to kill; those that came later find the job
 * ended. */
void orders_end(struct registered_job *job)
{
    bool is_killed = job->ending.status == JOB_KILLED;
    for (struct order *order; (order = TAILQ_FIRST(&job->orders)) != NULL;) {
        bool has_killed = is_killed && order->kind == ORDER_KILL;
        bool is_done = has_killed || order->kind == ORDER_WAIT;
        is_killed = is_killed && !has_killed;
        orders_finish(order, is_done ? ORDER_DONE : ORDER_NOT_RUNNING, 0);
    }
}
