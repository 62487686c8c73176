/*
 * `procd --stop`: the end of everything below the process that becomes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "tests/unit/procd_fixture.h"

static char run_directory[64];

static int make_run(void **state)
{
    (void)state;
    strcpy(run_directory, "/tmp/test-stop.XXXXXX");
    return mkdtemp(run_directory) == NULL ? -1 : 0;
}

static void touch(const char *name)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/%s", run_directory, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

/*
 * A process with children of all kinds, which becomes `procd --stop`. `service` is what its child
 * of the same session does. Every process that is to end holds `alive`, so that its read end tells
 * when all have.
 */
static pid_t start_supervisor(const char *service, int alive)
{
    const char *directory = getenv("SANDBOX_BIN");
    char binary[300];
    snprintf(binary, sizeof(binary), "%s/procd", directory != NULL ? directory : "bin");
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    setsid();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    fcntl(alive, F_SETFD, 0);
    if (fork() == 0) {
        execl("/bin/sh", "sh", "-c", service, (char *)NULL);
        _exit(127);
    }
    if (fork() == 0) {
        execl("/bin/sh", "sh", "-c",
              "trap '' TERM INT HUP; setsid sleep 1000 & (setsid sh -c 'sleep 1000 & exec sleep "
              "1000' &); "
              "env -i sleep 1000 & exec setsid sleep 1000",
              (char *)NULL);
        _exit(127);
    }
    fcntl(alive, F_SETFD, FD_CLOEXEC); /* procd itself does not count */
    execl(binary, "procd", "--stop", "-r", run_directory, (char *)NULL);
    _exit(127);
}

static int stop(const char *service)
{
    int alive[2];
    int status;
    char byte;
    assert_int_equal(pipe2(alive, O_CLOEXEC), 0);
    int64_t begun = clock_monotonic_ms();
    pid_t pid = start_supervisor(service, alive[1]);
    close(alive[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_true(clock_monotonic_ms() - begun < INT64_C(4) * DEADLINE_MS);
    assert_int_equal(fcntl(alive[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(read(alive[0], &byte, 1), 0); /* the end: nobody is left */
    close(alive[0]);
    return WEXITSTATUS(status);
}

static void ends_everything(void **state)
{
    (void)state;
    assert_int_equal(stop("exit 0"), 0);
    assert_true(file_exists(run_directory));
    assert_int_equal(rmdir(run_directory), 0);
}

static void lets_services_finish(void **state)
{
    (void)state;
    char service[300];
    char path[200];
    snprintf(path, sizeof(path), "%s/finished", run_directory);
    snprintf(service, sizeof(service), "sleep 0.3; touch %s", path);
    assert_int_equal(stop(service), 0);
    assert_true(file_exists(path));
    unlink(path);
    assert_int_equal(rmdir(run_directory), 0);
}

static void kills_services_that_do_not(void **state)
{
    (void)state;
    assert_int_equal(stop("trap '' TERM; sleep 1000; sleep 1000"), 0);
    assert_int_equal(rmdir(run_directory), 0);
}

static void removes_a_private_directory_and_tells_failure(void **state)
{
    (void)state;
    char path[200];
    touch("remove-on-exit");
    touch("failed");
    snprintf(path, sizeof(path), "%s/state", run_directory);
    assert_int_equal(mkdir(path, 0700), 0);
    touch("state/file");
    char outside[] = "/tmp/test-stop-outside.XXXXXX";
    assert_non_null(mkdtemp(outside));
    snprintf(path, sizeof(path), "%s/state/link", run_directory);
    assert_int_equal(symlink(outside, path), 0);
    assert_int_equal(stop("exit 0"), 1);
    assert_false(file_exists(run_directory));
    assert_int_equal(rmdir(outside), 0); /* a link's target is not ours */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ends_everything, make_run),
        cmocka_unit_test_setup(lets_services_finish, make_run),
        cmocka_unit_test_setup(kills_services_that_do_not, make_run),
        cmocka_unit_test_setup(removes_a_private_directory_and_tells_failure, make_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
