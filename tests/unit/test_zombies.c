/*
 * Zombies below a process.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fcgi-app/status/zombies.h"

static pid_t fork_child(void)
{
    pid_t child = fork();
    assert_true(child >= 0);
    return child;
}

/* Waits for the end of a child and leaves it a zombie. */
static void await_end(pid_t child)
{
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
}

static void counts_them_until_they_are_reaped(void **state)
{
    (void)state;
    assert_int_equal(zombies_below(getpid()), 0);
    pid_t child = fork_child();
    if (child == 0) {
        _exit(0);
    }
    await_end(child);
    assert_int_equal(zombies_below(getpid()), 1);
    assert_int_equal(zombies_below(child), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(zombies_below(getpid()), 0);
}

/* Also those of a descendant; and nobody else's. */
static void counts_them_at_any_depth(void **state)
{
    (void)state;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork_child();
    if (child == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0) {
            _exit(0);
        }
        siginfo_t info;
        (void)waitid(P_PID, (id_t)grandchild, &info, WEXITED | WNOWAIT);
        (void)!write(ready[1], "", 1);
        (void)pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(zombies_below(getpid()), 1);
    assert_int_equal(zombies_below(child), 1);
    pid_t other = fork_child();
    if (other == 0) {
        (void)pause();
    }
    assert_int_equal(zombies_below(other), 0);
    (void)kill(child, SIGKILL);
    (void)kill(other, SIGKILL);
    (void)waitpid(child, NULL, 0);
    (void)waitpid(other, NULL, 0);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_them_until_they_are_reaped),
        cmocka_unit_test(counts_them_at_any_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
