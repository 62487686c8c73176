/*
 * Runners are found in the process table and get their order by a signal.
 */
#include "procd/process/runners.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "procd/process/process_hold.h"

/* The supervisor's supervisor, the supervisor of a service, procd, a runner. */
#define DEPTH_MAX 5

int runner_is(pid_t pid, const char *run_directory)
{
    char line[PATH_MAX + 32];
    /* The real user, and not the owner of /proc/<pid>, which is root where a process may not be
     * dumped. Any command can give itself that command line, but with SANDBOX_USER no command has
     * our user. Reading the command line of a command may hang, because its memory may be served by
     * FUSE. */
    int64_t user = process_file_number(pid, "status", "\nUid:");
    if (user >= 0 && user != (int64_t)getuid()) {
        return 0;
    }
    /* Three arguments, each with its NUL. */
    int length =
        snprintf(line, sizeof(line), RUNNER_NAME "%c" RUNNER_OPTION "%c%s", 0, 0, run_directory);
    int result = length < (int)sizeof(line)
                     ? process_file_begins(pid, "cmdline", line, (size_t)length + 1)
                     : 0;
    return result == 1 && user < 0 ? -1 : result;
}

void runners_clear(struct runners *runners)
{
    pid_list_clear(&runners->signalled);
}

/* Held, so that the signal goes to the process that was looked at. A runner that cannot be noted
 * gets no signal, because its commands must not get it twice. */
static bool meet(struct runners *runners, pid_t pid)
{
    cleanup_fd int held = process_hold(pid);
    if (held < 0 || runner_is(pid, runners->run_directory) != 1) {
        return false;
    }
    runners->living++;
    if (runners->order && !pid_list_has(&runners->signalled, pid) &&
        pid_list_add(&runners->signalled, pid) == 0) {
        (void)process_held_signal(held, pid, RUNNER_STOP_SIGNAL);
    }
    return true;
}

bool runners_meet(void *runners, pid_t pid)
{
    (void)meet(runners, pid);
    return true;
}

static void meet_children(struct runners *runners, const struct process_view *view, pid_t parent,
                          int depth)
{
    cleanup_(pid_list_clear) struct pid_list children = {0};
    (void)process_view_children(view, parent, &children);
    for (size_t i = 0; i < children.count; i++) {
        if (!meet(runners, children.pids[i]) && depth < DEPTH_MAX) {
            meet_children(runners, view, children.pids[i], depth + 1);
        }
    }
}

void runners_meet_below(struct runners *runners, pid_t top)
{
    struct process_view view;
    (void)process_view_take(&view);
    meet_children(runners, &view, top, 1);
    process_view_clear(&view);
}
