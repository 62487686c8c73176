/*
 * Children by /proc/<pid>/task/<tid>/children, which lists those that this thread has forked or
 * been given; where the kernel is built without it (CONFIG_PROC_CHILDREN), by asking every process
 * for its parent.
 */
#include "procd/process_table.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/io.h"

void pid_list_clear(struct pid_list *list)
{
    free(list->pids);
    *list = (struct pid_list){0};
}

static int append(struct pid_list *list, pid_t pid)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        pid_t *pids = reallocarray(list->pids, capacity, sizeof(*pids));
        if (pids == NULL) {
            return -1;
        }
        list->pids = pids;
        list->capacity = capacity;
    }
    list->pids[list->count++] = pid;
    return 0;
}

/* Appends the numbers in a `children` file, which are parted by spaces and may be cut by a read. */
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
                if (append(list, pid) < 0) {
                    return -1;
                }
                pid = 0;
            }
        }
    }
}

static int append_children_of_thread(int tasks, const char *thread, struct pid_list *list)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "%.20s/children", thread);
    cleanup_fd int fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? 0 : -1;
    }
    return append_numbers(fd, list);
}

static int scan_all(pid_t parent, struct pid_list *list)
{
    cleanup_directory DIR *processes = opendir("/proc");
    if (processes == NULL) {
        return -1;
    }
    struct dirent *entry;
    while ((entry = readdir(processes)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && process_parent(pid) == parent && append(list, pid) < 0) {
            return -1;
        }
    }
    return 0;
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

int process_children(pid_t parent, struct pid_list *list)
{
    if (!kernel_lists_children()) {
        return scan_all(parent, list);
    }
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)parent);
    cleanup_directory DIR *tasks = opendir(path);
    if (tasks == NULL) {
        return errno == ENOENT ? 0 : -1;
    }
    struct dirent *entry;
    while ((entry = readdir(tasks)) != NULL) {
        if (entry->d_name[0] != '.' &&
            append_children_of_thread(dirfd(tasks), entry->d_name, list) < 0) {
            return -1;
        }
    }
    return 0;
}

pid_t process_parent(pid_t pid)
{
    char path[64];
    char text[512];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : io_read_some(fd, text, sizeof(text) - 1);
    if (length <= 0) {
        return 0;
    }
    text[length] = '\0';
    /* "pid (name) state ppid ...", and the name may contain anything, ")" too: proc(5). */
    const char *after_name = strrchr(text, ')');
    int parent = 0;
    if (after_name == NULL || sscanf(after_name, ") %*c %d", &parent) != 1) {
        return 0;
    }
    return parent;
}
