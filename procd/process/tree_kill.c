/*
 * Walks over the tree in rounds until nothing is left. Each process is stopped, so that it forks no
 * more; then its children are visited; then it is killed. A child that was forked in between is an
 * orphan afterwards, so it becomes our child and is met in the next round.
 *
 * A number in /proc may belong to another process by the time it is used. Our own children keep
 * theirs until we reap them. Any other process is first held (process_hold.h) and then asked for
 * its parent. As long as the parent, held the same way, has not been reaped either, the answer is
 * true.
 */
#include "procd/process/tree_kill.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/process_stat.h"
#include "procd/process/process_hold.h"
#include "procd/process/process_table.h"

/* Each level holds a descriptor. Deeper processes are orphaned by this round, so they are near the
 * top in the next. */
#define DEPTH_MAX 64

/* How long the kernel gets to end what was killed, before the next round. */
#define PAUSE_FIRST_MS 1
#define PAUSE_MAX_MS   50

/* A process that is still in an uninterruptible sleep after this time hangs. */
#define STUCK_MS 1000

struct round {
    struct process_view view;
    int signal;
    ssize_t met;                 /* children of the first parent that are not spared */
    tree_spare_function *spared; /* NULL: nobody is */
};

static void signal_children(struct round *round, pid_t parent, int parent_held, int depth);

/* Whether the process that is held, whose number is `pid`, is the child of the held parent. */
static bool is_child(pid_t pid, pid_t parent, int parent_held)
{
    return process_parent(pid) == parent && process_held_signal(parent_held, parent, 0) == 0;
}

/*
 * Errors of signals are ignored here, because a process that survives is met in the next round.
 * `spared` is asked about the number while the process is held. If the number belongs to another
 * process by then, the answer does not matter, because the held one is dead.
 */
static void signal_process(struct round *round, pid_t pid, pid_t parent, int parent_held, int depth)
{
    cleanup_fd int held = process_hold(pid);
    bool ours = parent_held < 0; /* its number is its own until we reap it */
    bool gone = !ours && (held < 0 || !is_child(pid, parent, parent_held));
    if (!gone && depth == 0 && round->spared != NULL && round->spared(pid)) {
        /* Unless the process has gone, and that was no answer. */
        round->met += !ours && process_held_signal(held, pid, 0) < 0;
        return;
    }
    round->met += depth == 0; /* one that has gone meanwhile counts: it may have left orphans */
    if (gone) {
        return;
    }
    if (held < 0) {
        (void)kill(pid, round->signal);
        return;
    }
    if (depth < DEPTH_MAX) {
        /* It stays stopped until it has the signal itself, so that it neither forks nor sees its
         * children end first. A shell thus dies of the signal and does not report one. */
        (void)process_held_signal(held, pid, SIGSTOP);
        signal_children(round, pid, held, depth + 1);
    }
    (void)process_held_signal(held, pid, round->signal);
    if (round->signal != SIGKILL) {
        (void)process_held_signal(held, pid, SIGCONT);
    }
}

static void signal_children(struct round *round, pid_t parent, int parent_held, int depth)
{
    cleanup_(pid_list_clear) struct pid_list children = {0};
    /* What it has found so far is a beginning. */
    (void)process_view_children(&round->view, parent, &children);
    for (size_t i = 0; i < children.count; i++) {
        signal_process(round, children.pids[i], parent, parent_held, depth);
    }
}

ssize_t tree_kill_round(pid_t parent, int parent_held, tree_spare_function *spared)
{
    struct round round = {.signal = SIGKILL, .spared = spared};
    int result = process_view_take(&round.view);
    int saved = errno;
    signal_children(&round, parent, parent_held, 0);
    process_view_clear(&round.view);
    errno = saved;
    return result < 0 ? -1 : round.met;
}

/* Whether each child is in an uninterruptible sleep, where no signal reaches it: on a file system
 * that does not answer, most likely. */
static bool hang_all(void)
{
    cleanup_(pid_list_clear) struct pid_list children = {0};
    bool all = process_children(getpid(), &children) == 0 && children.count > 0;
    for (size_t i = 0; i < children.count && all; i++) {
        struct process_stat stat;
        all = process_stat_read(children.pids[i], &stat) && stat.state == 'D';
    }
    return all;
}

int tree_kill(struct shell *shell, int timeout_ms)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    int64_t stuck_at = clock_monotonic_ms() + STUCK_MS;
    long pause_ms = PAUSE_FIRST_MS;
    sigset_t child_signal;
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    for (;;) {
        (void)tree_kill_round(getpid(), -1, NULL); /* the next one meets what it has missed */
        if (!reap_children(shell)) {
            return 0;
        }
        int64_t now = clock_monotonic_ms();
        if (now >= deadline || (now >= stuck_at && hang_all())) {
            return -1;
        }
        const struct timespec pause = {.tv_nsec = pause_ms * 1000000};
        if (sigtimedwait(&child_signal, NULL, &pause) < 0 && pause_ms < PAUSE_MAX_MS) {
            pause_ms *= 2;
        }
        if (!reap_children(shell)) {
            return 0;
        }
    }
}

void tree_signal(int signal, tree_spare_function *spared)
{
    struct round round = {.signal = signal, .spared = spared};
    (void)process_view_take(&round.view); /* what it found so far is a beginning */
    signal_children(&round, getpid(), -1, 0);
    process_view_clear(&round.view);
}
