#include "procd/daemon/leftovers.h"

#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/process_stat.h"
#include "procd/process/process_hold.h"
#include "procd/process/process_table.h"
#include "procd/process/tree_kill.h"

#define SHOWN_MAX  64 /* processes of one job */
#define PAUSE_MS   5  /* between two rounds of killing */
#define GIVE_UP_MS 10000

static void kill_leftovers(void);
static struct timer kill_timer = {.due = kill_leftovers};

/* Whether the runner of a job that has ended is still there: it stays as long as anything does that
 * the job has started. Its number may be another's by now. */
static bool has_leftovers(struct registered_job *job)
{
    struct process_stat stat;
    if (job->state != REGISTERED_ENDED || job->ending.runner <= 0) {
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
    cleanup_fd int held = process_hold(job->ending.runner);
    return !has_leftovers(job) ||
           (held >= 0 && tree_kill_round(job->ending.runner, held, NULL) == 0);
}

static void kill_of_job(struct registered_job *job, int64_t now)
{
    bool is_done = kill_once(job);
    struct order *next;
    for (struct order *order = TAILQ_FIRST(&job->orders); order != NULL; order = next) {
        next = TAILQ_NEXT(order, entry);
        if (is_done || order->give_up_at <= now) {
            orders_finish(order, is_done ? ORDER_DONE : ORDER_UNKNOWN, 0);
        } else {
            loop_call_at(&kill_timer, now + PAUSE_MS);
        }
    }
}

static void kill_leftovers(void)
{
    for (size_t i = 0; i < registered_jobs.count; i++) {
        struct registered_job *job = registered_jobs.all[i];
        if (job->state == REGISTERED_ENDED && !TAILQ_EMPTY(&job->orders)) {
            kill_of_job(job, clock_monotonic_ms());
        }
    }
}

bool leftovers_kill(struct registered_job *job, struct order *order)
{
    if (!has_leftovers(job)) {
        return false;
    }
    int64_t now = clock_monotonic_ms();
    TAILQ_INSERT_TAIL(&job->orders, order, entry);
    order->job = job;
    order->give_up_at = now + GIVE_UP_MS;
    loop_call_at(&kill_timer, now);
    return true;
}

/* Parents before their children, by their names: to read the command line of a process may take for
 * ever, where FUSE serves its memory. */
void leftovers_describe(struct registered_job *job, struct message *message)
{
    cleanup_(process_view_clear) struct process_view view = {0};
    cleanup_(pid_list_clear) struct pid_list found = {0};
    if (!has_leftovers(job)) {
        return;
    }
    if (process_view_take(&view) < 0 ||
        process_view_children(&view, job->ending.runner, &found) < 0) {
        return; /* out of memory: the client asks again */
    }
    for (size_t i = 0; i < found.count && i < SHOWN_MAX; i++) {
        char name[32];
        if (process_file_read(found.pids[i], "comm", name, sizeof(name))) {
            name[strcspn(name, "\n")] = '\0';
            message_add_number(message, FIELD_LEFT_PID, found.pids[i]);
            message_add_text(message, FIELD_LEFT_NAME, name);
        }
        (void)process_view_children(&view, found.pids[i], &found); /* no memory: as above */
    }
}
