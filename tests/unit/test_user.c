/*
 * Users: names and numbers, who is nobody to change to, and a user as a text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/user.h"

static int find(const char *text, struct user *user)
{
    char error[200] = "";
    int found = user_find(text, user, error, sizeof(error));
    assert_int_equal(found < 0, error[0] != '\0');
    assert_null(strchr(error, '\n'));
    assert_true(error[0] == '\0' || strstr(error, "SANDBOX_USER: ") == error);
    return found;
}

static void nobody_to_change_to(void **state)
{
    (void)state;
    struct user user;
    char own[40];
    assert_int_equal(find(NULL, &user), 0);
    (void)snprintf(own, sizeof(own), "%u:%u", geteuid(), getegid());
    assert_int_equal(find(own, &user), 0);
    assert_null(user.groups);
}

static void refuses_what_is_no_user(void **state)
{
    (void)state;
    static const char *const bad[] = {"no-such-user", ":",    "root:no-such-group", "-1", "+1",
                                      "4294967295",   "1:-1", "1:4294967295",       "1 ", "0x10",
                                      "99999999999",  "1:"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct user user;
        assert_int_equal(find(bad[i], &user), -1);
        assert_null(user.groups);
    }
}

static void finds_numbers_and_accounts(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip(); /* only root may change to another */
    }
    cleanup_user struct user number;
    assert_int_equal(find("4294967294:54322", &number), 1);
    assert_int_equal(number.uid, 4294967294U);
    assert_int_equal(number.gid, 54322);
    assert_true(user_has_group(&number, 54322) && !user_has_group(&number, 0));
    assert_null(number.name);
    assert_string_equal(number.home, "/");
    cleanup_user struct user alone;
    assert_int_equal(find("54321", &alone), 1);
    assert_int_equal(alone.gid, 54321); /* and not root's group */
    cleanup_user struct user account;
    const struct passwd *worker = user_worker_account();
    assert_non_null(worker);
    assert_int_equal(find("nobody", &account), 1);
    assert_string_equal(account.name, "nobody");
    assert_true(account.group_count >= 1 && account.groups != NULL);
}

static void is_read_as_it_was_written(void **state)
{
    (void)state;
    gid_t groups[] = {7, 4294967294U, 0};
    const struct user user = {.uid = 12, .gid = 7, .groups = groups, .group_count = 3};
    cleanup_free char *text = user_format(&user);
    assert_string_equal(text, "12:7,7,4294967294,0");
    cleanup_user struct user read;
    assert_int_equal(user_parse(text, &read), 0);
    assert_int_equal(read.uid, 12);
    assert_int_equal(read.gid, 7);
    assert_int_equal(read.group_count, 3);
    assert_memory_equal(read.groups, groups, sizeof(groups));
    static const char *const bad[] = {"", "1", "1:", "a:1", "1:2,", "1:2,x", "4294967295:1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct user none;
        assert_int_equal(user_parse(bad[i], &none), -1);
        assert_null(none.groups);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_to_change_to),
        cmocka_unit_test(refuses_what_is_no_user),
        cmocka_unit_test(finds_numbers_and_accounts),
        cmocka_unit_test(is_read_as_it_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
