/*
 * What ended a shell, by its wait status and what the kernel has counted. The count is a stand-in:
 * no test can be sure of a cgroup with a memory controller.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "procd/cgroup/cgroup_oom.h"
#include "procd/process/reap.h"

static int64_t oom_kills_now;

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names (ld --wrap) */
int64_t __wrap_cgroup_oom_kills(void);
int64_t __wrap_cgroup_oom_kills(void)
{
    return oom_kills_now;
}
/* NOLINTEND(bugprone-reserved-identifier) */

/* A real process that ends by exit code or signal. */
static struct shell ended(int code, int signal)
{
    struct shell shell = {.pid = fork()};
    if (shell.pid == 0) {
        if (signal != 0) {
            (void)kill(getpid(), signal);
        }
        _exit(code);
    }
    assert_true(shell.pid > 0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)shell.pid, &info, WEXITED | WNOWAIT), 0);
    (void)reap_children(&shell);
    assert_true(shell.ended);
    return shell;
}

static enum end_reason reason(int code, int signal, int64_t before, int64_t now)
{
    struct shell shell = ended(code, signal);
    shell.oom_kills = before;
    oom_kills_now = now;
    return shell_reason(&shell);
}

static void tells_exit_from_signal(void **state)
{
    (void)state;
    assert_int_equal(reason(0, 0, -1, -1), END_EXIT);
    assert_int_equal(reason(3, 0, 5, 5), END_EXIT);
    assert_int_equal(reason(137, 0, 5, 5), END_EXIT);
    assert_int_equal(reason(0, SIGTERM, 5, 5), END_SIGNAL);
    assert_int_equal(reason(0, SIGKILL, 5, 5), END_SIGNAL);
    assert_int_equal(reason(0, SIGKILL, -1, -1), END_SIGNAL); /* nobody counts */
    assert_int_equal(reason(0, SIGKILL, -1, 1), END_SIGNAL);  /* nobody counted before */
}

static void tells_want_of_memory(void **state)
{
    (void)state;
    assert_int_equal(reason(0, SIGKILL, 5, 6), END_OOM);
    assert_int_equal(reason(0, SIGKILL, 0, 3), END_OOM);
    assert_int_equal(reason(137, 0, 5, 6), END_OOM); /* what the shell ran was killed */
    assert_int_equal(reason(0, SIGTERM, 5, 6), END_SIGNAL);
    assert_int_equal(reason(1, 0, 5, 6), END_EXIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_exit_from_signal),
        cmocka_unit_test(tells_want_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
