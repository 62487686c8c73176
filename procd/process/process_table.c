/*
 * Children are read from /proc/<pid>/task/<tid>/children, which lists the processes that this
 * thread has forked or adopted. Where the kernel is built without it (CONFIG_PROC_CHILDREN), every
 * process is asked for its parent.
 */
#include "procd/process/process_table.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/cleanup.h"
#include "common/directory.h"
#include "common/io.h"
#include "common/process_stat.h"

void pid_list_clear(struct pid_list *list)
{
    free(list->pids);
    *list = (struct pid_list){0};
}

int pid_list_add(struct pid_list *list, pid_t pid)
{
    if (ARRAY_RESERVE_ONE(list->pids, list->capacity, list->count) < 0) {
        return -1;
    }
    list->pids[list->count++] = pid;
    return 0;
}

static size_t find(const struct pid_list *list, pid_t pid)
{
    size_t at = 0;
    while (at < list->count && list->pids[at] != pid) {
        at++;
    }
    return at;
}

bool pid_list_has(const struct pid_list *list, pid_t pid)
{
    return find(list, pid) < list->count;
}

bool pid_list_remove(struct pid_list *list, pid_t pid)
{
    size_t at = find(list, pid);
    if (at == list->count) {
        return false;
    }
    list->pids[at] = list->pids[--list->count];
    return true;
}

/*
 * Appends the numbers in a `children` file, which are separated by spaces and may be cut by a read.
 */
static int append_numbers(int fd, struct pid_list *list)
{
    char text[4096];
    pid_t pid = 0;
    for (;;) {
        ssize_t length = io_read_some(fd, text, sizeof(text));
        if (length <= 0) {
            return 0; /* a process that has just ended reads as nothing */
        }
        for (ssize_t i = 0; i < length; i++) {
            if (isdigit((unsigned char)text[i])) {
                pid = pid * 10 + (text[i] - '0');
            } else if (pid != 0) {
                if (pid_list_add(list, pid) < 0) {
                    return -1;
                }
                pid = 0;
            }
        }
    }
}

static bool kernel_lists_children(void)
{
    static int known = -1; /* runners are single-threaded */
    if (known < 0) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
        known = access(path, R_OK) == 0;
    }
    return known;
}

static int read_children(pid_t parent, struct pid_list *list)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)parent);
    cleanup_directory DIR *tasks = opendir(path);
    if (tasks == NULL) {
        return errno == ENOENT ? 0 : -1;
    }
    for (const char *name; (name = directory_next(tasks)) != NULL;) {
        (void)snprintf(path, sizeof(path), "%.20s/children", name);
        cleanup_fd int fd = openat(dirfd(tasks), path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 ? errno != ENOENT : append_numbers(fd, list) < 0) {
            return -1;
        }
    }
    return errno == 0 || errno == ENOENT ? 0 : -1; /* it ended while it was read */
}

/* ---- the whole table ---- */

int process_view_take(struct process_view *view)
{
    *view = (struct process_view){0};
    if (kernel_lists_children()) {
        return 0;
    }
    cleanup_directory DIR *processes = opendir("/proc");
    if (processes == NULL) {
        return -1;
    }
    for (const char *name; (name = directory_next(processes)) != NULL;) {
        pid_t pid = (pid_t)strtol(name, NULL, 10);
        if (pid > 0 && (pid_list_add(&view->pids, pid) < 0 ||
                        pid_list_add(&view->parents, process_parent(pid)) < 0)) {
            return -1;
        }
    }
    return errno == 0 ? 0 : -1;
}

int process_view_children(const struct process_view *view, pid_t parent, struct pid_list *list)
{
    if (view->pids.count == 0) {
        return read_children(parent, list);
    }
    for (size_t i = 0; i < view->parents.count; i++) {
        if (view->parents.pids[i] == parent && pid_list_add(list, view->pids.pids[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

void process_view_clear(struct process_view *view)
{
    pid_list_clear(&view->pids);
    pid_list_clear(&view->parents);
}

int process_children(pid_t parent, struct pid_list *list)
{
    cleanup_(process_view_clear) struct process_view view;
    if (process_view_take(&view) < 0) {
        return -1;
    }
    return process_view_children(&view, parent, list);
}

/* ---- one process ---- */

static int open_process_file(pid_t pid, const char *name)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/%.20s", (int)pid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

bool process_file_read(pid_t pid, const char *name, char *text, size_t size)
{
    cleanup_fd int fd = open_process_file(pid, name);
    ssize_t length = fd < 0 ? -1 : io_read_some(fd, text, size - 1);
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

pid_t process_parent(pid_t pid)
{
    struct process_stat stat;
    return process_stat_read(pid, &stat) ? stat.parent : 0;
}

int64_t process_file_number(pid_t pid, const char *name, const char *key)
{
    char text[4096];
    const char *at = process_file_read(pid, name, text, sizeof(text)) ? strstr(text, key) : NULL;
    if (at == NULL) {
        return -1;
    }
    char *end;
    int64_t number = strtoll(at + strlen(key), &end, 10);
    return end == at + strlen(key) ? INT64_MAX : number;
}

int process_file_begins(pid_t pid, const char *name, const void *bytes, size_t length)
{
    char text[PATH_MAX + 64];
    if (length > sizeof(text)) {
        return 0;
    }
    cleanup_fd int fd = open_process_file(pid, name);
    ssize_t got = fd < 0 ? -1 : io_read_full(fd, text, length);
    if (got < 0) {
        return errno == ENOENT || errno == ESRCH ? 0 : -1;
    }
    return got == (ssize_t)length && memcmp(text, bytes, length) == 0;
}
