/*
 * Changes that become one, and the names that a directory is known to have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fcgi-app/changes/change_set.h"
#include "fcgi-app/changes/name_set.h"

static struct change_set set;

/* What is in the set, as text, which empties it: "+a ~b -c d>e ". */
static const char *told(void)
{
    static char text[4096];
    char *at = text;
    const struct change *change;
    *at = '\0';
    while ((change = change_set_first(&set)) != NULL) {
        static const char signs[] = "+~-";
        if (change->kind == CHANGE_RENAMED) {
            at += sprintf(at, "%s>%s ", change->old_path, change->path);
        } else {
            at += sprintf(at, "%c%s ", signs[change->kind], change->path);
        }
        change_set_drop_first(&set);
    }
    assert_int_equal(set.count, 0);
    assert_int_equal(set.bytes, 0);
    return text;
}

static void file(enum change_kind kind, const char *path)
{
    change_set_add(&set, kind, path, false);
}

static void directory(enum change_kind kind, const char *path)
{
    change_set_add(&set, kind, path, true);
}

static void test_one_file(void **state)
{
    (void)state;
    file(CHANGE_CREATED, "a");
    file(CHANGE_CHANGED, "a");
    file(CHANGE_CHANGED, "a");
    assert_string_equal(told(), "+a ");
    file(CHANGE_CREATED, "a");
    file(CHANGE_CHANGED, "a");
    file(CHANGE_REMOVED, "a");
    assert_string_equal(told(), "");
    file(CHANGE_CHANGED, "a");
    file(CHANGE_REMOVED, "a");
    assert_string_equal(told(), "-a ");
    file(CHANGE_REMOVED, "a");
    file(CHANGE_CREATED, "a");
    file(CHANGE_CHANGED, "a");
    assert_string_equal(told(), "~a ");
    file(CHANGE_CREATED, "a");
    file(CHANGE_CHANGED, "b");
    assert_string_equal(told(), "+a ~b ");
    file(CHANGE_CHANGED, "a"); /* what was told is over */
    assert_string_equal(told(), "~a ");
}

static void test_a_file_becomes_a_directory(void **state)
{
    (void)state;
    file(CHANGE_REMOVED, "a");
    directory(CHANGE_CREATED, "a");
    file(CHANGE_CREATED, "a/b");
    assert_string_equal(told(), "-a +a +a/b ");
}

static void test_renamed_files(void **state)
{
    (void)state;
    change_set_rename(&set, "a", "b", false, false);
    file(CHANGE_CHANGED, "b");
    file(CHANGE_REMOVED, "b");
    assert_string_equal(told(), "a>b -b ");
    file(CHANGE_CHANGED, "a");
    change_set_rename(&set, "a", "b", false, true);
    assert_string_equal(told(), "a>b ~b ");
    file(CHANGE_CREATED, "temporary");
    change_set_rename(&set, "temporary", "new", false, false);
    file(CHANGE_CREATED, "temporary");
    change_set_rename(&set, "temporary", "old", false, true);
    assert_string_equal(told(), "+new ~old ");
    change_set_rename(&set, "a", "b", false, false);
    change_set_rename(&set, "b", "a", false, false);
    assert_string_equal(told(), "a>b b>a ");
    change_set_rename(&set, "a", "b", false, true); /* an exchange */
    change_set_rename(&set, "b", "a", false, false);
    assert_string_equal(told(), "a>b ~b ~a ");
}

static void test_renamed_directories(void **state)
{
    (void)state;
    directory(CHANGE_CREATED, "a");
    file(CHANGE_CREATED, "a/f");
    change_set_rename(&set, "a", "b", true, false);
    file(CHANGE_CHANGED, "b/f");
    file(CHANGE_CREATED, "a/f");
    assert_string_equal(told(), "+a +a/f a>b ~b/f +a/f ");
}

static void test_a_set_is_bounded(void **state)
{
    (void)state;
    char path[300];
    for (int i = 0; i < 100000 && !set.has_overflown; i++) {
        (void)snprintf(path, sizeof(path), "%0250d", i);
        file(CHANGE_CREATED, path);
        assert_true(set.bytes < (3 << 20));
    }
    assert_true(set.has_overflown);
    file(CHANGE_CREATED, "a");
    change_set_rename(&set, "a", "b", false, false);
    assert_string_equal(told(), "");
    change_set_clear(&set);
    file(CHANGE_CREATED, "a");
    assert_string_equal(told(), "+a ");
}

static void test_names(void **state)
{
    (void)state;
    enum { NAMES = 20000 };
    struct name_set names = {.slots = NULL};
    char name[16];
    int wrong = 0;
    assert_false(name_set_has(&names, "x"));
    name_set_remove(&names, "x");
    for (int i = 0; i < NAMES; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        name_set_add(&names, name);
        name_set_add(&names, name);
    }
    for (int i = 0; i < NAMES; i += 2) {
        (void)snprintf(name, sizeof(name), "%d", i);
        wrong += !name_set_has(&names, name);
        name_set_remove(&names, name);
    }
    for (int i = 0; i < 2 * NAMES; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        wrong += name_set_has(&names, name) != (i < NAMES && i % 2 == 1);
    }
    assert_true(wrong <= 2);
    assert_true(names.capacity <= (size_t)4 * NAMES);
    name_set_clear(&names);
    assert_false(name_set_has(&names, "1"));
}

/* Nobody can make it slow: what takes too long to find a place for is forgotten. */
static void test_names_come_and_go(void **state)
{
    (void)state;
    struct name_set names = {.slots = NULL};
    char name[16];
    for (int i = 0; i < 100000; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        name_set_add(&names, name);
        name_set_remove(&names, name);
    }
    assert_true(names.capacity <= 1 << 12);
    name_set_add(&names, "a");
    assert_true(name_set_has(&names, "a"));
    name_set_clear(&names);
}

static int start(void **state)
{
    (void)state;
    change_set_init(&set);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_file),          cmocka_unit_test(test_a_file_becomes_a_directory),
        cmocka_unit_test(test_renamed_files),     cmocka_unit_test(test_renamed_directories),
        cmocka_unit_test(test_a_set_is_bounded),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_come_and_go),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
