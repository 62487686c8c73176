/*
 * Rounds over the tree until nothing is left: each process is stopped, so that it forks no more,
 * then its children are visited, then it is killed. What forked in between is an orphan afterwards,
 * so it is our child and met in the next round.
 *
 * A number in /proc may belong to another process by the time it is used. Our own children keep
 * theirs until we reap them. Any other process is held by a pidfd and only then asked who its
 * parent is; as long as the parent, held the same way, has not been reaped either, the answer is
 * true.
 */
#include "procd/tree_kill.h"

#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "procd/process_table.h"

/* Each level holds a descriptor. What lies deeper is orphaned by this round, and so is near in the
 * next. */
#define DEPTH_MAX 64

/* How long the kernel gets to end what was killed, before the next round. */
#define PAUSE_FIRST_MS 1
#define PAUSE_MAX_MS   50

static void kill_children(pid_t parent, int parent_pidfd, int depth);

/* Whether the process held by `pidfd`, whose number is `pid`, is the child of the held parent. */
static bool is_child(pid_t pid, pid_t parent, int parent_pidfd)
{
    return process_parent(pid) == parent && pidfd_send_signal(parent_pidfd, 0, NULL, 0) == 0;
}

/* Signals and errors are not looked at here: whoever survives is there in the next round. */
static void kill_process(pid_t pid, pid_t parent, int parent_pidfd, int depth)
{
    cleanup_fd int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        if (depth == 0) {
            (void)kill(pid, SIGKILL); /* our child: its number is its own until we reap it */
        }
        return;
    }
    if (depth > 0 && !is_child(pid, parent, parent_pidfd)) {
        return;
    }
    if (depth < DEPTH_MAX) {
        (void)pidfd_send_signal(pidfd, SIGSTOP, NULL, 0);
        kill_children(pid, pidfd, depth + 1);
    }
    (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
}

static void kill_children(pid_t parent, int parent_pidfd, int depth)
{
    cleanup_(pid_list_clear) struct pid_list children = {0};
    (void)process_children(parent, &children); /* what it found so far is a beginning */
    for (size_t i = 0; i < children.count; i++) {
        kill_process(children.pids[i], parent, parent_pidfd, depth);
    }
}

int tree_kill(struct shell *shell, int timeout_ms)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    long pause_ms = PAUSE_FIRST_MS;
    sigset_t child_signal;
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    for (;;) {
        kill_children(getpid(), -1, 0);
        if (!reap_children(shell)) {
            return 0;
        }
        if (clock_monotonic_ms() >= deadline) {
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
