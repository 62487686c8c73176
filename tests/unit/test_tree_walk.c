/*
 * The walk through a tree: its order and its bounds, and what happens when the tree changes under
 * it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/tree.h"
#include "fcgi-app/files/tree_walk.h"

#define BASE "/tmp/tree-walk-XXXXXX"

static char base[] = BASE;
static int root = -1;

static int set_up(void **state)
{
    (void)state;
    memcpy(base, BASE, sizeof(base));
    root = mkdtemp(base) == NULL ? -1 : open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return root < 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)close(root);
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = tree_remove(tmp, base + strlen("/tmp/"));
    (void)close(tmp);
    return result;
}

static void make_directory(const char *path)
{
    assert_int_equal(mkdirat(root, path, 0755), 0);
}

static void make_file_at(int directory, const char *path)
{
    int fd = openat(directory, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
}

static void make_file(const char *path)
{
    make_file_at(root, path);
}

static struct tree_walk *begin(const struct tree_walk_plan *plan)
{
    struct tree_walk *walk = tree_walk_begin(openat(root, ".", O_RDONLY | O_CLOEXEC), plan);
    assert_non_null(walk);
    return walk;
}

/* The events of a walk, a letter and a path each: + an entry, - a directory that is left, ! one
 * that is refused. */
static void assert_walk(const char *from, const char *wanted)
{
    char seen[4096] = "";
    struct tree_walk_plan plan = {.from = from};
    struct tree_walk *walk = begin(&plan);
    struct tree_entry entry;
    enum tree_event event;
    while ((event = tree_walk_next(walk, &entry)) < TREE_END) {
        size_t used = strlen(seen);
        (void)snprintf(seen + used, sizeof(seen) - used, "%c%s ", "+-!"[event], entry.path);
        assert_int_equal(strlen(entry.path), entry.path_length);
        const char *slash = strrchr(entry.path, '/');
        assert_string_equal(entry.name, slash == NULL ? entry.path : slash + 1);
        struct stat status;
        assert_int_equal(fstatat(entry.directory, entry.name, &status, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(IFTODT(status.st_mode), entry.type);
    }
    assert_int_equal(event, TREE_END);
    tree_walk_free(walk);
    assert_string_equal(seen, wanted);
}

static void walks_in_order(void **state)
{
    (void)state;
    make_directory("a");
    make_directory("a/b");
    make_directory("a/empty");
    make_file("a/b/c");
    make_file("a.txt");
    make_file("z");
    make_file("a/\xff");
    assert_int_equal(symlinkat("..", root, "a/up"), 0);
    assert_int_equal(symlinkat("nowhere", root, "dangling"), 0);
    assert_walk(NULL,
                "+a +a/b +a/b/c -a/b +a/empty -a/empty +a/up +a/\xff -a +a.txt +dangling +z ");
}

static void goes_on_from_a_path(void **state)
{
    walks_in_order(state);
    assert_walk("a/b/c", "+a/b/c -a/b +a/empty -a/empty +a/up +a/\xff -a +a.txt +dangling +z ");
    assert_walk("a/b", "+a/b +a/b/c -a/b +a/empty -a/empty +a/up +a/\xff -a +a.txt +dangling +z ");
    assert_walk("a/b/gone/too", "-a/b +a/empty -a/empty +a/up +a/\xff -a +a.txt +dangling +z ");
    assert_walk("a/up", "+a/up +a/\xff -a +a.txt +dangling +z ");
    assert_walk("a/up/b", "+a/\xff -a +a.txt +dangling +z ");
    assert_walk("b/b", "+dangling +z ");
    assert_walk("z", "+z ");
    assert_walk("zz", "");
}

static bool stops(void *left)
{
    return --*(int *)left <= 0;
}

static void stops_when_it_is_asked_to(void **state)
{
    (void)state;
    char name[16];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        make_file(name);
    }
    int left = 4;
    struct tree_walk_plan plan = {.check = {stops, &left}};
    struct tree_walk *walk = begin(&plan);
    struct tree_entry entry;
    enum tree_event event;
    int count = 0;
    while ((event = tree_walk_next(walk, &entry)) == TREE_ENTRY) {
        count++;
    }
    assert_true(event == TREE_FAILED && errno == ECANCELED && count > 0 && count < 1000);
    tree_walk_free(walk);
}

static void skips_what_its_caller_skips(void **state)
{
    walks_in_order(state);
    struct tree_walk_plan plan = {.from = NULL};
    struct tree_walk *walk = begin(&plan);
    struct tree_entry entry;
    assert_int_equal(tree_walk_next(walk, &entry), TREE_ENTRY);
    assert_string_equal(entry.path, "a");
    tree_walk_skip(walk);
    assert_int_equal(tree_walk_next(walk, &entry), TREE_ENTRY);
    assert_string_equal(entry.path, "a.txt");
    tree_walk_free(walk);
}

/* Names of `length` bytes: more than a batch keeps. */
static void fill(int directory, int count, int length)
{
    char name[256];
    for (int i = 0; i < count; i++) {
        (void)snprintf(name, sizeof(name), "%0*d", length, (i * 7919) % count);
        make_file_at(directory, name);
    }
}

#define WIDE   12000
#define LENGTH 230

static void keeps_its_bounds_in_wide_directories(void **state)
{
    (void)state;
    int directory = dup(root);
    /* The directory sorts in the midst of the names. */
    char between[LENGTH + 2];
    (void)snprintf(between, sizeof(between), "%0*d~", LENGTH, WIDE / 2);
    for (int level = 0; level < 3; level++) {
        fill(directory, WIDE, LENGTH);
        assert_int_equal(mkdirat(directory, between, 0755), 0);
        int below = openat(directory, between, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        (void)close(directory);
        directory = below;
    }
    (void)close(directory);
    struct tree_walk_plan plan = {.from = NULL};
    struct tree_walk *walk = begin(&plan);
    struct tree_entry entry;
    enum tree_event event;
    int count = 0;
    char last[3 * (LENGTH + 2)] = "";
    while ((event = tree_walk_next(walk, &entry)) < TREE_END) {
        if (event == TREE_ENTRY && entry.type != DT_DIR) {
            assert_true(strcmp(entry.path, last) > 0 || strchr(last, '/') != NULL);
            (void)snprintf(last, sizeof(last), "%.600s", entry.path);
            count++;
        }
    }
    assert_int_equal(event, TREE_END);
    assert_int_equal(count, 3 * WIDE);
    tree_walk_free(walk);
}

#define DEPTH 3000

static void goes_down_far(void **state)
{
    (void)state;
    int directory = dup(root);
    for (int level = 0; level < DEPTH; level++) {
        assert_int_equal(mkdirat(directory, "some-directory", 0755), 0);
        int below = openat(directory, "some-directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        (void)close(directory);
        directory = below;
    }
    make_file_at(directory, "bottom");
    (void)close(directory);
    struct tree_walk_plan plan = {.from = NULL};
    struct tree_walk *walk = begin(&plan);
    struct tree_entry entry;
    int counts[TREE_END + 1] = {0};
    enum tree_event event;
    while ((event = tree_walk_next(walk, &entry)) < TREE_END) {
        counts[event]++;
    }
    assert_int_equal(event, TREE_END);
    assert_int_equal(counts[TREE_ENTRY], DEPTH + 1);
    assert_int_equal(counts[TREE_LEFT], DEPTH);
    tree_walk_free(walk);
}

/* A directory is moved out while the walk is two levels below it: what is behind it comes. */
static void survives_a_directory_that_moves(void **state)
{
    (void)state;
    make_directory("a");
    make_directory("a/b");
    make_directory("a/b/c");
    make_directory("a/b/c/d");
    make_file("a/b/c/d/e");
    make_file("a/b/x");
    make_file("a/z");
    make_file("z");
    make_directory("out");
    struct tree_walk_plan plan = {.from = NULL};
    struct tree_walk *walk = begin(&plan);
    struct tree_entry entry;
    char seen[256] = "";
    enum tree_event event;
    while ((event = tree_walk_next(walk, &entry)) < TREE_END) {
        size_t used = strlen(seen);
        (void)snprintf(seen + used, sizeof(seen) - used, "%c%s ", "+-!"[event], entry.path);
        if (event == TREE_ENTRY && strcmp(entry.path, "a/b/c/d/e") == 0) {
            assert_int_equal(renameat(root, "a/b/c", root, "out/c"), 0);
            assert_int_equal(renameat(root, "a/b", root, "out/b"), 0);
        }
    }
    assert_int_equal(event, TREE_END);
    tree_walk_free(walk);
    assert_string_equal(seen,
                        "+a +a/b +a/b/c +a/b/c/d +a/b/c/d/e -a/b/c/d -a/b/c -a/b +a/z -a +out "
                        "+out/b +out/b/x -out/b +out/c +out/c/d +out/c/d/e -out/c/d "
                        "-out/c -out +z ");
}

static void reports_what_has_gone(void **state)
{
    (void)state;
    make_directory("a");
    make_file("b");
    struct tree_walk_plan plan = {.from = NULL};
    struct tree_walk *walk = begin(&plan);
    struct tree_entry entry;
    assert_int_equal(tree_walk_next(walk, &entry), TREE_ENTRY);
    assert_int_equal(unlinkat(root, "a", AT_REMOVEDIR), 0);
    assert_int_equal(symlinkat("/", root, "a"), 0);
    assert_int_equal(tree_walk_next(walk, &entry), TREE_REFUSED);
    assert_true(errno == ELOOP || errno == ENOTDIR);
    assert_string_equal(entry.path, "a");
    assert_int_equal(tree_walk_next(walk, &entry), TREE_ENTRY);
    assert_string_equal(entry.path, "b");
    assert_int_equal(tree_walk_next(walk, &entry), TREE_END);
    tree_walk_free(walk);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(walks_in_order),
        TEST(goes_on_from_a_path),
        TEST(stops_when_it_is_asked_to),
        TEST(skips_what_its_caller_skips),
        TEST(keeps_its_bounds_in_wide_directories),
        TEST(goes_down_far),
        TEST(survives_a_directory_that_moves),
        TEST(reports_what_has_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
