/*
 * Killing trees of every shape, from the subreaper above them.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "procd/process/mark.h"
#include "procd/process/process_table.h"
#include "procd/process/tree_kill.h"

#define TIMEOUT_MS 5000

static int become_subreaper(void **state)
{
    (void)state;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    return prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || sigprocmask(SIG_BLOCK, &child, NULL) < 0 ? -1
                                                                                            : 0;
}

/* Forks processes one below the other; each writes one byte when it runs, then sleeps. */
static void descend(int depth, int ready)
{
    for (; depth > 0; depth--) {
        if (depth % 3 == 0) {
            setsid();
        }
        pid_t pid = fork();
        if (pid != 0) {
            break;
        }
    }
    signal(SIGTERM, SIG_IGN);
    (void)!write(ready, "x", 1);
    for (;;) {
        pause();
    }
}

static void await_bytes(int fd, size_t count)
{
    char byte;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(read(fd, &byte, 1), 1);
    }
}

static void assert_nobody_left(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void nothing_is_killed_at_once(void **state)
{
    (void)state;
    assert_int_equal(tree_kill(NULL, 0), 0);
}

static void kills_deep_trees(void **state)
{
    (void)state;
    static const int depths[] = {1, 5, 63, 64, 65, 300};
    for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
        int ready[2];
        assert_int_equal(pipe(ready), 0);
        struct shell shell = {.pid = fork()};
        if (shell.pid == 0) {
            descend(depths[i] - 1, ready[1]);
        }
        await_bytes(ready[0], (size_t)depths[i]);
        assert_int_equal(tree_kill(&shell, TIMEOUT_MS), 0);
        assert_nobody_left();
        assert_true(shell.ended);
        assert_int_equal(shell_signal(&shell), SIGKILL);
        assert_int_equal(shell_code(&shell), -1);
        close(ready[0]);
        close(ready[1]);
    }
}

static void kills_wide_trees_and_orphans(void **state)
{
    (void)state;
    enum { WIDTH = 200 };
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    for (int i = 0; i < WIDTH; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            if (fork() != 0) {
                _exit(0); /* its child comes to us */
            }
            descend(0, ready[1]);
        }
    }
    await_bytes(ready[0], WIDTH);
    assert_int_equal(tree_kill(NULL, TIMEOUT_MS), 0);
    assert_nobody_left();
    close(ready[0]);
    close(ready[1]);
}

/* Each process forks the next and goes: no list of processes is true for long. */
static void catches_runaways(void **state)
{
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    for (int i = 0; i < 3; i++) {
        if (fork() == 0) {
            for (int steps = 0;; steps++) {
                if (steps == 20) {
                    (void)!write(ready[1], "x", 1);
                }
                if (fork() != 0) {
                    _exit(0);
                }
                setsid();
            }
        }
    }
    await_bytes(ready[0], 3);
    assert_int_equal(tree_kill(NULL, TIMEOUT_MS), 0);
    assert_nobody_left();
    close(ready[0]);
    close(ready[1]);
}

static void spares_everybody_else(void **state)
{
    (void)state;
    int go[2];
    int answer[2];
    char byte;
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(answer), 0);
    /* A sibling's tree: the killer is a child of ours here. */
    pid_t bystander = fork();
    if (bystander == 0) {
        await_bytes(go[0], 1);
        (void)!write(answer[1], "y", 1);
        pause();
    }
    pid_t killer = fork();
    if (killer == 0) {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        if (fork() == 0) {
            descend(5, answer[1]);
        }
        await_bytes(answer[0], 6);
        _exit(tree_kill(NULL, TIMEOUT_MS) == 0 && waitpid(-1, NULL, WNOHANG) == -1 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(killer, &status, 0), killer);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(read(answer[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    assert_int_equal(tree_kill(NULL, TIMEOUT_MS), 0);
    assert_nobody_left();
}

static pid_t kept;

static bool is_kept(pid_t child)
{
    return child == kept;
}

/* Rounds as a sweep does them: orphans of what is killed come to us, and the kept tree is met but
 * not touched. */
static void rounds_spare_whom_they_are_told(void **state)
{
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    kept = fork();
    if (kept == 0) {
        descend(5, ready[1]);
    }
    for (int i = 0; i < 3; i++) {
        if (fork() == 0) {
            descend(100, ready[1]);
        }
    }
    await_bytes(ready[0], 6 + 3 * 101);
    assert_int_equal(tree_kill_round(getpid(), -1, is_kept), 3);
    for (int i = 0; tree_kill_round(getpid(), -1, is_kept) != 0; i++) {
        assert_true(i < TIMEOUT_MS);
        assert_true(reap_children(NULL));
        usleep(1000);
    }
    assert_int_equal(waitpid(kept, NULL, WNOHANG), 0);
    struct pid_list list = {0};
    assert_int_equal(process_children(kept, &list), 0);
    assert_int_equal(list.count, 1);
    pid_list_clear(&list);
    assert_int_equal(tree_kill(NULL, TIMEOUT_MS), 0);
    assert_nobody_left();
    close(ready[0]);
    close(ready[1]);
}

/* The children of another process, which is held. */
static void rounds_reach_the_children_of_others(void **state)
{
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t parent = fork();
    if (parent == 0) {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        if (fork() == 0) {
            descend(5, ready[1]);
        }
        while (wait(NULL) > 0) {
        }
        _exit(errno == ECHILD ? 0 : 1);
    }
    await_bytes(ready[0], 6);
    int pidfd = pidfd_open(parent, 0);
    assert_true(pidfd >= 0);
    int status;
    pid_t ended;
    do {
        (void)tree_kill_round(parent, pidfd, NULL);
        usleep(1000);
        ended = waitpid(parent, &status, WNOHANG);
    } while (ended == 0);
    assert_int_equal(ended, parent);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_nobody_left();
    close(pidfd);
    close(ready[0]);
    close(ready[1]);
}

/* A mark is inherited over fork(2) and execve(2), and is on nobody who was not marked. */
static void marks_are_inherited(void **state)
{
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t marked = fork();
    if (marked == 0) {
        (void)!mark_self();
        if (fork() == 0) {
            dup2(ready[1], STDOUT_FILENO);
            execl("/usr/bin/env", "env", "-i", "setsid", "sh", "-c", "echo; exec sleep 1000",
                  (char *)NULL);
            _exit(127);
        }
        descend(0, -1);
    }
    await_bytes(ready[0], 1);
    struct pid_list list = {0};
    assert_int_equal(process_children(marked, &list), 0);
    assert_int_equal(list.count, 1);
    assert_true(mark_is_on(marked, getpid()));
    assert_true(mark_is_on(list.pids[0], getpid()));
    assert_false(mark_is_on(list.pids[0], marked));
    assert_false(mark_is_on(getpid(), getpid()));
    assert_false(mark_is_on(getppid(), getpid()));
    const struct rlimit none = {0};
    assert_int_equal(prlimit(list.pids[0], RLIMIT_LOCKS, &none, NULL), 0);
    assert_true(mark_is_on(list.pids[0], marked)); /* a lower limit takes no mark away */
    pid_list_clear(&list);
    assert_int_equal(tree_kill(NULL, TIMEOUT_MS), 0);
    assert_nobody_left();
    close(ready[0]);
    close(ready[1]);
}

static void knows_parents_and_children(void **state)
{
    (void)state;
    struct pid_list list = {0};
    pid_t pid = fork();
    if (pid == 0) {
        /* A name that looks like the end of its field in /proc/<pid>/stat. */
        prctl(PR_SET_NAME, ") R 1 (x");
        pause();
    }
    assert_int_equal(process_parent(pid), getpid());
    assert_int_equal(process_parent(getpid()), getppid());
    assert_int_equal(process_children(getpid(), &list), 0);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.pids[0], pid);
    assert_int_equal(tree_kill(NULL, TIMEOUT_MS), 0);
    assert_int_equal(process_parent(pid), 0);
    pid_list_clear(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_killed_at_once),
        cmocka_unit_test(kills_deep_trees),
        cmocka_unit_test(kills_wide_trees_and_orphans),
        cmocka_unit_test(catches_runaways),
        cmocka_unit_test(spares_everybody_else),
        cmocka_unit_test(rounds_spare_whom_they_are_told),
        cmocka_unit_test(rounds_reach_the_children_of_others),
        cmocka_unit_test(marks_are_inherited),
        cmocka_unit_test(knows_parents_and_children),
    };
    return cmocka_run_group_tests(tests, become_subreaper, NULL);
}
