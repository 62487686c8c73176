/*
 * Watchers: every change wakes every watcher of the directory, and nobody else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fcgi-app/watch.h"

#define DEADLINE_MS 5000

struct directory {
    char path[64];
    int fd;
};

static struct directory make_directory(void)
{
    struct directory directory = {.path = "/tmp/test_watch.XXXXXX"};
    assert_non_null(mkdtemp(directory.path));
    directory.fd = open(directory.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(directory.fd >= 0);
    return directory;
}

static void remove_directory(struct directory *directory)
{
    (void)unlinkat(directory->fd, "log", 0);
    (void)rmdir(directory->path);
    (void)close(directory->fd);
}

static void append(const struct directory *directory)
{
    int fd = openat(directory->fd, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(close(fd), 0);
}

static bool wakes(const struct watcher *watcher, int timeout_ms)
{
    struct pollfd polled = {.fd = watcher->fd, .events = POLLIN};
    return poll(&polled, 1, timeout_ms) == 1;
}

/* Every event that is there already has been dispatched when a later one has. */
static void settle(const struct directory *directory)
{
    struct watcher marker;
    watcher_open(&marker, directory->fd);
    append(directory);
    assert_true(wakes(&marker, DEADLINE_MS));
    watcher_close(&marker);
}

static void test_all_watchers_wake(void **state)
{
    (void)state;
    struct directory directory = make_directory();
    struct watcher watchers[3];
    for (int i = 0; i < 3; i++) {
        watcher_open(&watchers[i], directory.fd);
        assert_false(watchers[i].polling);
        assert_false(wakes(&watchers[i], 0));
    }
    for (int round = 0; round < 100; round++) {
        append(&directory);
        for (int i = 0; i < 3; i++) {
            assert_true(wakes(&watchers[i], DEADLINE_MS));
            watcher_rearm(&watchers[i]);
        }
    }
    watcher_close(&watchers[1]);
    for (int i = 0; i < 3; i += 2) {
        watcher_rearm(&watchers[i]);
    }
    append(&directory);
    assert_true(wakes(&watchers[0], DEADLINE_MS));
    assert_true(wakes(&watchers[2], DEADLINE_MS));
    watcher_close(&watchers[0]);
    watcher_close(&watchers[2]);
    remove_directory(&directory);
}

static void test_one_directory_does_not_wake_another(void **state)
{
    (void)state;
    struct directory loud = make_directory();
    struct directory quiet = make_directory();
    struct watcher watcher;
    watcher_open(&watcher, quiet.fd);
    append(&loud);
    settle(&loud);
    assert_false(wakes(&watcher, 0));
    watcher_close(&watcher);
    remove_directory(&loud);
    remove_directory(&quiet);
}

static void test_removal_wakes(void **state)
{
    (void)state;
    struct directory directory = make_directory();
    struct watcher watcher;
    watcher_open(&watcher, directory.fd);
    assert_int_equal(rmdir(directory.path), 0);
    assert_int_equal(close(directory.fd), 0); /* the kernel tells when nobody holds it any more */
    assert_true(wakes(&watcher, DEADLINE_MS));
    watcher_close(&watcher);
}

static void test_many_directories(void **state)
{
    (void)state;
    enum { DIRECTORIES = 600 }; /* more than there are buckets */
    static struct directory directories[DIRECTORIES];
    static struct watcher watchers[DIRECTORIES];
    for (int i = 0; i < DIRECTORIES; i++) {
        directories[i] = make_directory();
        watcher_open(&watchers[i], directories[i].fd);
    }
    for (int i = 0; i < DIRECTORIES; i += 7) {
        append(&directories[i]);
        assert_true(wakes(&watchers[i], DEADLINE_MS));
    }
    for (int i = 0; i < DIRECTORIES; i++) {
        assert_int_equal(wakes(&watchers[i], 0), i % 7 == 0);
        watcher_close(&watchers[i]);
        remove_directory(&directories[i]);
    }
}

static void test_without_descriptors_it_polls(void **state)
{
    (void)state;
    struct directory directory = make_directory();
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)directory.fd + 1, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct watcher watcher;
    watcher_open(&watcher, directory.fd);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(watcher.polling);
    assert_int_equal(watcher.fd, -1);
    watcher_rearm(&watcher);
    watcher_close(&watcher);
    remove_directory(&directory);
}

static int start(void **state)
{
    (void)state;
    return watch_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_watchers_wake),
        cmocka_unit_test(test_one_directory_does_not_wake_another),
        cmocka_unit_test(test_removal_wakes),
        cmocka_unit_test(test_many_directories),
        cmocka_unit_test(test_without_descriptors_it_polls),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
