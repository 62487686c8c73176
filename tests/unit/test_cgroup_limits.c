/*
 * What is written to the files of a cgroup, by plain files that stand in for them.
 */
#include <errno.h>
#include <fcntl.h>
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
#include "common/directory.h"
#include "common/io.h"
#include "common/settings.h"
#include "procd/cgroup/cgroup_limits.h"

struct fake {
    char path[64];
    int directory;
};

static int set_up(void **state)
{
    static struct fake fake;
    (void)snprintf(fake.path, sizeof(fake.path), "/tmp/nxs-cgroup-XXXXXX");
    assert_non_null(mkdtemp(fake.path));
    fake.directory = open(fake.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fake.directory >= 0);
    *state = &fake;
    return 0;
}

static int tear_down(void **state)
{
    struct fake *fake = *state;
    assert_int_equal(directory_empty(fake->directory), 0);
    close_fd(&fake->directory);
    return rmdir(fake->path);
}

static void put(const struct fake *fake, const char *name, const char *text)
{
    cleanup_fd int fd =
        openat(fake->directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(io_write_all(fd, text, strlen(text)), 0);
}

/* A real control file is written anew each time, a plain one from its beginning. */
static const char *taken(const struct fake *fake, const char *name)
{
    static char text[64];
    cleanup_fd int fd = openat(fake->directory, name, O_RDONLY | O_CLOEXEC);
    ssize_t length = io_read_full(fd, text, sizeof(text) - 1);
    assert_true(length >= 0);
    text[length] = '\0';
    put(fake, name, "");
    return text;
}

static void writes_limits_as_the_kernel_takes_them(void **state)
{
    const struct fake *fake = *state;
    put(fake, "memory.max", "");
    put(fake, "pids.max", "");
    put(fake, "cpu.max", "");
    assert_int_equal(cgroup_set_limit(fake->directory, CGROUP_MEMORY, UINT64_C(1) << 40), 0);
    assert_string_equal(taken(fake, "memory.max"), "1099511627776");
    assert_int_equal(cgroup_set_limit(fake->directory, CGROUP_PIDS, 1), 0);
    assert_string_equal(taken(fake, "pids.max"), "2"); /* the runner is one, too */
    assert_int_equal(cgroup_set_limit(fake->directory, CGROUP_CPU, 250), 0);
    assert_string_equal(taken(fake, "cpu.max"), "250000 100000");
    for (int i = 0; i < CGROUP_LIMITS; i++) {
        assert_int_equal(cgroup_set_limit(fake->directory, (enum cgroup_limit)i, 0), 0);
    }
    assert_string_equal(taken(fake, "memory.max"), "max");
    assert_string_equal(taken(fake, "pids.max"), "max");
    assert_string_equal(taken(fake, "cpu.max"), "max");
}

static void limits_swap_with_memory(void **state)
{
    const struct fake *fake = *state;
    put(fake, "memory.max", "");
    put(fake, "memory.swap.max", "");
    assert_int_equal(cgroup_set_limit(fake->directory, CGROUP_MEMORY, 1 << 30), 0);
    assert_string_equal(taken(fake, "memory.swap.max"), "0");
    assert_int_equal(cgroup_set_limit(fake->directory, CGROUP_MEMORY, 0), 0);
    assert_string_equal(taken(fake, "memory.swap.max"), "max");
}

static void tells_a_missing_controller(void **state)
{
    const struct fake *fake = *state;
    for (int i = 0; i < CGROUP_LIMITS; i++) {
        errno = 0;
        assert_int_equal(cgroup_set_limit(fake->directory, (enum cgroup_limit)i, 1), -1);
        assert_int_equal(errno, EOPNOTSUPP);
    }
}

static void reads_controllers(void **state)
{
    const struct fake *fake = *state;
    assert_int_equal(cgroup_read_controllers(fake->directory, "cgroup.controllers"), 0);
    put(fake, "cgroup.controllers", "\n");
    assert_int_equal(cgroup_read_controllers(fake->directory, "cgroup.controllers"), 0);
    put(fake, "cgroup.controllers", "cpuset io pids hugetlb\n");
    assert_int_equal(cgroup_read_controllers(fake->directory, "cgroup.controllers"),
                     1U << CGROUP_PIDS);
    put(fake, "cgroup.controllers", "cpu io memory pids\n");
    assert_int_equal(cgroup_read_controllers(fake->directory, "cgroup.controllers"), CGROUP_ALL);
}

static void reads_numbers(void **state)
{
    const struct fake *fake = *state;
    assert_int_equal(cgroup_read_number(-1, "oom"), -1);
    put(fake, "memory.events", "low 0\nhigh 1\noom 2\noom_kill 3\noom_group_kill 4\n");
    cleanup_fd int events = openat(fake->directory, "memory.events", O_RDONLY | O_CLOEXEC);
    assert_int_equal(cgroup_read_number(events, "low"), 0);
    assert_int_equal(cgroup_read_number(events, "oom"), 2);
    assert_int_equal(cgroup_read_number(events, "oom_kill"), 3);
    assert_int_equal(cgroup_read_number(events, "kill"), -1);
}

static void adds_up_what_lasts(void **state)
{
    const struct fake *fake = *state;
    assert_true(cgroup_lasting_memory(-1) <= 0);
    put(fake, "memory.stat",
        "anon 1\nfile 2\nkernel 3000\nkernel_stack 5\nshmem 98765432100\nshmem_thp 5\n"
        "slab_reclaimable 1000\nslab_unreclaimable 100\nslab 1100\n");
    cleanup_fd int stat = openat(fake->directory, "memory.stat", O_RDONLY | O_CLOEXEC);
    assert_int_equal(cgroup_lasting_memory(stat), INT64_C(98765432100) + 3000 - 1000);
    /* Before Linux 5.18. */
    put(fake, "memory.stat", "anon 1\nkernel_stack 5\nshmem 7\nslab_unreclaimable 100\n");
    assert_int_equal(cgroup_lasting_memory(stat), 107);
}

static void knows_what_the_operator_set(void **state)
{
    const struct settings settings = {.memory_max = 1, .pids_max = 2, .cpu_max = 3};
    (void)state;
    assert_int_equal(command_limit_setting(&settings, CGROUP_MEMORY), 1);
    assert_int_equal(command_limit_setting(&settings, CGROUP_PIDS), 2);
    assert_int_equal(command_limit_setting(&settings, CGROUP_CPU), 3);
    assert_string_equal(command_limits[CGROUP_CPU].name, "cpu_max");
    assert_string_equal(command_limits[CGROUP_PIDS].variable, "SANDBOX_PIDS_MAX");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_limits_as_the_kernel_takes_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits_swap_with_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_a_missing_controller, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_controllers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(adds_up_what_lasts, set_up, tear_down),
        cmocka_unit_test(knows_what_the_operator_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
