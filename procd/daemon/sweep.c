/*
 * A timer of the loop calls for rounds until one finds nothing to kill. Nothing waits here: SIGCHLD
 * makes procd reap what has been killed, and each orphan that ends calls for another round, because
 * its own children are our orphans now. So a tree that forks faster than one round looks is found
 * again as long as any of it is left.
 */
#include "procd/daemon/sweep.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "procd/cgroup/cgroup.h"
#include "procd/daemon/loop.h"
#include "procd/process/mark.h"
#include "procd/process/process_hold.h"
#include "procd/process/process_table.h"
#include "procd/process/runners.h"
#include "procd/process/supervisor.h"
#include "procd/process/tree_kill.h"

#define PAUSE_FIRST_MS 2
#define PAUSE_MAX_MS   200
#define LOOK_MS        1000  /* at runners whose end nothing reports */
#define GIVE_UP_MS     10000 /* what is left then hangs in the kernel, or is another user's */

/* A runner that an earlier procd has started. It is not our child, so the pidfd that holds it
 * reports its end, or a look at it finds out. */
struct elder {
    struct watch watch; /* first: a watch is its elder */
    bool is_looked_at;  /* from time to time: its pidfd does not report the end */
    LIST_ENTRY(elder) entry;
    pid_t pid;
};

static struct {
    const char *run_directory;
    struct pid_list runners; /* our children */
    LIST_HEAD(, elder) elders;
    bool has_supervisor;
    pid_t supervisor; /* in a round */
    bool again;       /* the round found a runner that is about to end */
    int64_t pause_ms;
    int64_t give_up;
} sweep;

static void do_round(void);
static struct timer round_timer = {.due = do_round};

static void order_sweep(void)
{
    int64_t now = clock_monotonic_ms();
    sweep.pause_ms = PAUSE_FIRST_MS;
    sweep.give_up = now + GIVE_UP_MS;
    if (round_timer.at == 0 || round_timer.at > now + PAUSE_FIRST_MS) {
        loop_call_at(&round_timer, now);
    }
}

/* ---- the runners of earlier procds ---- */

static bool is_elder(pid_t runner)
{
    const struct elder *elder;
    LIST_FOREACH (elder, &sweep.elders, entry) {
        if (elder->pid == runner) {
            return true;
        }
    }
    return false;
}

static void look_at_elders(void);
static struct timer elders_timer = {.due = look_at_elders};

static void elder_ended(struct watch *watch)
{
    struct elder *ended = (struct elder *)watch;
    LIST_REMOVE(ended, entry);
    loop_close(watch);
    /* Only its parent learns how it ended. */
    if (!cgroup_remove_runner(ended->pid)) {
        order_sweep();
    }
    free(ended);
}

static void look_at_elders(void)
{
    for (struct elder *elder = LIST_FIRST(&sweep.elders), *next; elder != NULL; elder = next) {
        next = LIST_NEXT(elder, entry);
        if (elder->is_looked_at && process_held_signal(elder->watch.fd, elder->pid, 0) < 0) {
            elder_ended(&elder->watch);
        } else if (elder->is_looked_at) {
            loop_call_at(&elders_timer, clock_monotonic_ms() + LOOK_MS);
        }
    }
}

/* False when it is about to end, or cannot be watched. */
static bool watch_runner(pid_t runner)
{
    if (pid_list_has(&sweep.runners, runner) || is_elder(runner)) {
        return true;
    }
    cleanup_free struct elder *elder = calloc(1, sizeof(*elder));
    cleanup_fd int held = process_hold(runner);
    if (elder == NULL || held < 0 || runner_is(runner, sweep.run_directory) != 1) {
        return false;
    }
    elder->pid = runner;
    elder->watch = (struct watch){.fd = held, .ready = elder_ended};
    if (loop_add(&elder->watch) < 0) {
        if (errno != EPERM) {
            return false;
        }
        elder->is_looked_at = true;
        loop_call_at(&elders_timer, clock_monotonic_ms() + LOOK_MS);
    }
    (void)steal_fd(&held);
    LIST_INSERT_HEAD(&sweep.elders, elder, entry);
    (void)steal_pointer(elder);
    return true;
}

/* ---- a round ---- */

static bool spare_runner(pid_t pid)
{
    return pid_list_has(&sweep.runners, pid);
}

static bool spare_of_supervisor(pid_t pid)
{
    /* A process that may be a runner is looked at again. */
    if (runner_is(pid, sweep.run_directory) != 0) {
        sweep.again = sweep.again || !watch_runner(pid);
        return true;
    }
    return !mark_is_on(pid, sweep.supervisor); /* a service, or not of this server */
}

static bool sweep_supervisor(void)
{
    cleanup_fd int held = supervisor_open(sweep.run_directory, &sweep.supervisor);
    return held >= 0 && tree_kill_round(sweep.supervisor, held, spare_of_supervisor) != 0;
}

static void do_round(void)
{
    sweep.again = false;
    bool in_cgroups = cgroup_sweep(watch_runner);
    bool supervised = sweep_supervisor();
    bool ours = tree_kill_round(getpid(), -1, spare_runner) != 0;
    if (!in_cgroups && !supervised && !ours && !sweep.again) {
        return;
    }
    int64_t now = clock_monotonic_ms();
    if (now >= sweep.give_up) {
        log_line("some processes of a dead runner could not be killed");
        return;
    }
    loop_call_at(&round_timer, now + sweep.pause_ms);
    sweep.pause_ms = sweep.pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : sweep.pause_ms * 2;
}

/* ---- our own children ---- */

int sweep_open(const char *run_directory)
{
    sweep.run_directory = run_directory;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        return -1;
    }
    cleanup_fd int supervisor = supervisor_open(run_directory, &sweep.supervisor);
    sweep.has_supervisor = supervisor >= 0;
    order_sweep();
    return 0;
}

bool sweep_has_supervisor(void)
{
    return sweep.has_supervisor;
}

int sweep_add_runner(pid_t runner)
{
    return pid_list_add(&sweep.runners, runner);
}

/* A runner that was killed has not failed. */
static bool is_failure(int status)
{
    return WIFSIGNALED(status) ? WTERMSIG(status) != SIGKILL : WEXITSTATUS(status) != 0;
}

size_t sweep_runner_count(void)
{
    size_t count = sweep.runners.count;
    const struct elder *elder;
    LIST_FOREACH (elder, &sweep.elders, entry) {
        count++;
    }
    return count;
}

int sweep_list_runners(struct pid_list *list)
{
    int result = 0;
    for (size_t i = 0; i < sweep.runners.count && result == 0; i++) {
        result = pid_list_add(list, sweep.runners.pids[i]);
    }
    const struct elder *elder;
    LIST_FOREACH (elder, &sweep.elders, entry) {
        result = result == 0 ? pid_list_add(list, elder->pid) : result;
    }
    return result;
}

unsigned sweep_reap(void)
{
    int status;
    pid_t pid;
    unsigned failures = 0;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        bool is_runner = pid_list_remove(&sweep.runners, pid);
        failures += is_runner && is_failure(status);
        if (!is_runner || (!cgroup_remove_runner(pid) && status != 0)) {
            order_sweep();
        }
    }
    return failures;
}
