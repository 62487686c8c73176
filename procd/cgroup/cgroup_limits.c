/*
 * One row for each limit, and the text that the kernel takes for it.
 */
#include "procd/cgroup/cgroup_limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"

#define CPU_PERIOD_US 100000 /* the kernel's default */
#define RUNNERS       1      /* in each cgroup, beside the command's own processes */
#define TEXT_MAX      2048

static const struct {
    const char *controller;
    const char *file;
} limits[CGROUP_LIMITS] = {
    [CGROUP_MEMORY] = {"memory", "memory.max"},
    [CGROUP_PIDS] = {"pids", "pids.max"},
    [CGROUP_CPU] = {"cpu", "cpu.max"},
};

/* ---- control files ---- */

int cgroup_write(int directory, const char *name, const char *value)
{
    cleanup_fd int fd = openat(directory, name, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -1 : io_write_all(fd, value, strlen(value));
}

/* The beginning of a control file, into zeros; nothing where there is none. What is looked for here
 * is in the first 30 lines. */
static void read_text(int fd, char text[TEXT_MAX])
{
    if (fd >= 0 && pread(fd, text, TEXT_MAX - 1, 0) < 0) {
        text[0] = '\0';
    }
}

static int64_t find_number(const char *text, const char *key)
{
    size_t key_length = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += line[0] == '\n';
        if (strncmp(line, key, key_length) == 0 && line[key_length] == ' ') {
            return strtoll(line + key_length, NULL, 10);
        }
    }
    return -1;
}

int64_t cgroup_read_number(int fd, const char *key)
{
    char text[TEXT_MAX] = "";
    read_text(fd, text);
    return find_number(text, key);
}

/* ---- controllers ---- */

unsigned cgroup_read_controllers(int directory, const char *file)
{
    char text[512];
    unsigned set = 0;
    cleanup_fd int fd = openat(directory, file, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : io_read_full(fd, text, sizeof(text) - 1);
    if (length < 0) {
        return 0;
    }
    text[length] = '\0';
    char *rest = text;
    for (char *word; (word = strsep(&rest, " \n")) != NULL;) {
        for (int i = 0; i < CGROUP_LIMITS; i++) {
            set |= strcmp(word, limits[i].controller) == 0 ? 1U << i : 0;
        }
    }
    return set;
}

/* One at a time: a write is refused as a whole. */
void cgroup_change_controllers(int directory, char sign, unsigned controllers)
{
    for (int i = 0; i < CGROUP_LIMITS; i++) {
        char order[16];
        if ((controllers >> i & 1) != 0) {
            (void)snprintf(order, sizeof(order), "%c%s", sign, limits[i].controller);
            (void)cgroup_write(directory, "cgroup.subtree_control", order);
        }
    }
}

/* ---- limits ---- */

/* Swap would not be counted as memory. A kernel without swap accounting has no such file. */
static int limit_swap(int directory, bool none)
{
    int result = cgroup_write(directory, "memory.swap.max", none ? "0" : "max");
    return result < 0 && errno == ENOENT ? 0 : result;
}

static void format_value(char *text, size_t size, enum cgroup_limit limit, uint64_t value)
{
    unsigned long long number = value;
    if (value == 0) {
        (void)snprintf(text, size, "max");
    } else if (limit == CGROUP_CPU) {
        (void)snprintf(text, size, "%llu %d", number * (CPU_PERIOD_US / 100), CPU_PERIOD_US);
    } else {
        (void)snprintf(text, size, "%llu", number + (limit == CGROUP_PIDS ? RUNNERS : 0));
    }
}

int cgroup_set_limit(int directory, enum cgroup_limit limit, uint64_t value)
{
    char text[48];
    format_value(text, sizeof(text), limit, value);
    int result = cgroup_write(directory, limits[limit].file, text);
    if (result < 0 && errno == ENOENT) {
        errno = EOPNOTSUPP;
    }
    return result == 0 && limit == CGROUP_MEMORY ? limit_swap(directory, value != 0) : result;
}

int64_t cgroup_lasting_memory(int memory_stat)
{
    char text[TEXT_MAX] = "";
    read_text(memory_stat, text);
    int64_t shared = find_number(text, "shmem");
    int64_t kernel = find_number(text, "kernel"); /* since Linux 5.18 */
    return kernel >= 0 ? shared + kernel - find_number(text, "slab_reclaimable")
                       : shared + find_number(text, "slab_unreclaimable");
}
