/*
 * The remover, whose tree_remove() is held up as by a busy disk.
 */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "procd/jobs/remover.h"

#define DEADLINE_MS 20000
#define LOOK_MS     10

/* For remover.c. NOLINTBEGIN(bugprone-reserved-identifier): the linker's names (ld --wrap) */
int __real_tree_remove(int directory, const char *name);
int __wrap_tree_remove(int directory, const char *name);

static int begun[2] = {-1, -1}; /* a byte for each that begins */
static int gate[2] = {-1, -1};  /* a byte lets one pass, the end of the file all */

static int await_byte(int fd)
{
    char byte;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return poll(&wait, 1, DEADLINE_MS) == 1 && read(fd, &byte, 1) >= 0 ? 0 : -1;
}

int __wrap_tree_remove(int directory, const char *name)
{
    if (write(begun[1], "", 1) != 1 || await_byte(gate[0]) < 0) {
        return -1;
    }
    return __real_tree_remove(directory, name);
}
/* NOLINTEND(bugprone-reserved-identifier) */

static void make_tree(int directory, const char *name)
{
    assert_int_equal(mkdirat(directory, name, 0700), 0);
    cleanup_fd int inner = openat(directory, name, O_RDONLY | O_DIRECTORY);
    cleanup_fd int file = openat(inner, "file", O_WRONLY | O_CREAT, 0600);
    assert_true(file >= 0);
}

/* For the one that has begun. */
static void await_empty(int directory)
{
    int looks = DEADLINE_MS / LOOK_MS;
    while (directory_is_empty(directory) == 0 && looks-- > 0) {
        (void)poll(NULL, 0, LOOK_MS);
    }
    assert_int_equal(directory_is_empty(directory), 1);
}

static void removes_what_is_there_and_what_comes_while_nobody_waits(void **state)
{
    (void)state;
    char path[] = "/tmp/test-remover.XXXXXX";
    assert_non_null(mkdtemp(path));
    cleanup_fd int directory = open(path, O_RDONLY | O_DIRECTORY);
    assert_true(directory >= 0 && pipe(begun) == 0 && pipe(gate) == 0);
    make_tree(directory, "before");
    assert_int_equal(remover_open(directory), 0);
    assert_int_equal(await_byte(begun[0]), 0);
    make_tree(directory, "meanwhile");
    remover_wake();
    assert_int_equal(faccessat(directory, "before", F_OK, 0),
                     0); /* it is held up, and we are not */
    close_fd(&gate[1]);
    assert_int_equal(await_byte(begun[0]), 0);
    await_empty(directory);
    assert_int_equal(rmdir(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removes_what_is_there_and_what_comes_while_nobody_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
