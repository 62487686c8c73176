/*
 * Watchers: every change reaches every watcher of the directory, and no other.
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
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fcgi-app/streams/watch.h"

/* inotify reports a change before the system call that made it returns: nothing here waits. */

struct directory {
    char path[64];
    struct watcher watcher;
    int changes; /* that the watcher was told of */
    int fd;
};

static struct watch_table table;

#define MASK (IN_MODIFY | IN_CREATE | IN_DELETE_SELF)

static void count_change(struct watcher *watcher, const struct inotify_event *event)
{
    assert_true(event->mask != 0);
    struct directory *directory =
        (struct directory *)(void *)((char *)watcher - offsetof(struct directory, watcher));
    directory->changes++;
}

static void read_table(void)
{
    watch_table_lock(&table);
    assert_int_equal(watch_table_read(&table), 0);
    watch_table_unlock(&table);
}

static void make_directory(struct directory *directory)
{
    *directory = (struct directory){
        .path = "/tmp/test_watch.XXXXXX",
        .watcher = {.descriptor = -1, .changed = count_change},
    };
    assert_non_null(mkdtemp(directory->path));
    directory->fd = open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(directory->fd >= 0);
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

static void test_all_watchers_are_told(void **state)
{
    (void)state;
    struct directory directories[3];
    make_directory(&directories[0]);
    for (int i = 0; i < 3; i++) { /* the second and third watch the first's directory */
        directories[i].fd = i == 0 ? directories[0].fd : dup(directories[0].fd);
        directories[i].changes = 0;
        directories[i].watcher = (struct watcher){.descriptor = -1, .changed = count_change};
        assert_int_equal(watcher_add(&table, &directories[i].watcher, directories[i].fd, MASK), 0);
    }
    for (int round = 1; round <= 100; round++) {
        append(&directories[0]);
        read_table();
        for (int i = 0; i < 3; i++) {
            assert_true(directories[i].changes >= round);
        }
    }
    watcher_remove(&table, &directories[1].watcher);
    int before = directories[1].changes;
    append(&directories[0]);
    read_table();
    assert_int_equal(directories[1].changes, before);
    assert_true(directories[0].changes > 100 && directories[2].changes > 100);
    watcher_remove(&table, &directories[0].watcher);
    watcher_remove(&table, &directories[2].watcher);
    watcher_remove(&table, &directories[2].watcher); /* it watches nothing */
    (void)close(directories[1].fd);
    (void)close(directories[2].fd);
    remove_directory(&directories[0]);
}

static void test_one_directory_does_not_wake_another(void **state)
{
    (void)state;
    enum { DIRECTORIES = 2 * WATCH_BUCKETS + 1 };
    static struct directory directories[DIRECTORIES];
    for (int i = 0; i < DIRECTORIES; i++) {
        make_directory(&directories[i]);
        assert_int_equal(watcher_add(&table, &directories[i].watcher, directories[i].fd, MASK), 0);
    }
    for (int i = 0; i < DIRECTORIES; i += 7) {
        append(&directories[i]);
    }
    read_table();
    for (int i = 0; i < DIRECTORIES; i++) {
        assert_int_equal(directories[i].changes > 0, i % 7 == 0);
        watcher_remove(&table, &directories[i].watcher);
        remove_directory(&directories[i]);
    }
    read_table(); /* what is left is about watches that are gone */
}

/* Two watchers of a directory want different things: neither hides the other's. */
static void test_masks_are_united(void **state)
{
    (void)state;
    struct directory one, other;
    make_directory(&one);
    other = one;
    assert_int_equal(watcher_add(&table, &one.watcher, one.fd, IN_CREATE), 0);
    assert_int_equal(watcher_add(&table, &other.watcher, one.fd, IN_DELETE), 0);
    assert_int_equal(one.watcher.descriptor, other.watcher.descriptor);
    append(&one);
    read_table();
    assert_true(one.changes > 0);
    int before = other.changes;
    assert_int_equal(unlinkat(one.fd, "log", 0), 0);
    read_table();
    assert_true(other.changes > before);
    watcher_remove(&table, &other.watcher);
    before = one.changes;
    append(&one);
    read_table();
    assert_true(one.changes > before);
    watcher_remove(&table, &one.watcher);
    remove_directory(&one);
}

static void test_a_watcher_changes_its_directory(void **state)
{
    (void)state;
    struct directory one, other;
    make_directory(&one);
    make_directory(&other);
    assert_int_equal(watcher_add(&table, &one.watcher, one.fd, MASK), 0);
    assert_int_equal(watcher_add(&table, &one.watcher, one.fd, MASK), 0); /* the same again */
    assert_int_equal(watcher_add(&table, &one.watcher, other.fd, MASK), 0);
    append(&one);
    read_table();
    assert_int_equal(one.changes, 0);
    append(&other);
    read_table();
    assert_true(one.changes > 1);
    watcher_remove(&table, &one.watcher);
    remove_directory(&one);
    remove_directory(&other);
}

static void test_removal_is_told(void **state)
{
    (void)state;
    struct directory directory;
    make_directory(&directory);
    assert_int_equal(watcher_add(&table, &directory.watcher, directory.fd, MASK), 0);
    assert_int_equal(rmdir(directory.path), 0);
    assert_int_equal(close(directory.fd), 0); /* the kernel tells when nobody holds it any more */
    read_table();
    assert_true(directory.changes > 0);
    watcher_remove(&table, &directory.watcher);
}

/* More changes than the kernel's queue takes: the last one, of another directory, is lost. */
static void test_lost_changes_wake_all(void **state)
{
    (void)state;
    unsigned long most = 0;
    FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &most), 1); /* NOLINT(cert-err34-c) */
    assert_int_equal(fclose(file), 0);
    struct directory busy, quiet;
    make_directory(&busy);
    make_directory(&quiet);
    assert_int_equal(watcher_add(&table, &busy.watcher, busy.fd, MASK), 0);
    assert_int_equal(watcher_add(&table, &quiet.watcher, quiet.fd, MASK), 0);
    for (unsigned long i = 0; i <= most; i++) {
        assert_int_equal(mknodat(busy.fd, "log", S_IFREG | 0600, 0), 0);
        assert_int_equal(unlinkat(busy.fd, "log", 0), 0);
        append(&busy); /* equal changes in a row are one */
        assert_int_equal(unlinkat(busy.fd, "log", 0), 0);
    }
    append(&quiet);
    read_table();
    assert_true(busy.changes > 0 && quiet.changes > 0);
    watcher_remove(&table, &busy.watcher);
    watcher_remove(&table, &quiet.watcher);
    remove_directory(&busy);
    remove_directory(&quiet);
}

static void test_what_cannot_be_watched(void **state)
{
    (void)state;
    struct watcher watcher = {.descriptor = -1, .changed = count_change};
    static struct watch_table none;
    struct rlimit limit;
    assert_int_equal(watcher_add(&table, &watcher, -1, MASK), -1);
    watcher_remove(&table, &watcher);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit no_more = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &no_more), 0);
    int made = watch_table_init(&none);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(made, -1);
    assert_int_equal(watcher_add(&none, &watcher, STDIN_FILENO, MASK), -1);
    watcher_remove(&none, &watcher);
}

static int start(void **state)
{
    (void)state;
    return watch_table_init(&table);
}

static int end(void **state)
{
    (void)state;
    close_fd(&table.fd);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_watchers_are_told),
        cmocka_unit_test(test_one_directory_does_not_wake_another),
        cmocka_unit_test(test_masks_are_united),
        cmocka_unit_test(test_a_watcher_changes_its_directory),
        cmocka_unit_test(test_removal_is_told),
        cmocka_unit_test(test_lost_changes_wake_all),
        cmocka_unit_test(test_what_cannot_be_watched),
    };
    return cmocka_run_group_tests(tests, start, end);
}
