/* One pass over /proc finds all processes; then the parents of each zombie are followed upwards. */
#include "fcgi-app/status/zombies.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/process_stat.h"

struct process {
    pid_t pid;
    pid_t parent;
    bool zombie;
};

struct processes {
    struct process *all; /* by pid, once sorted */
    size_t count;
    size_t capacity;
};

static void processes_clear(struct processes *processes)
{
    free(processes->all);
}

static int add_process(struct processes *processes, pid_t pid, pid_t parent, bool zombie)
{
    if (processes->count == processes->capacity) {
        size_t capacity = processes->capacity == 0 ? 256 : processes->capacity * 2;
        struct process *all = reallocarray(processes->all, capacity, sizeof(*all));
        if (all == NULL) {
            return -1;
        }
        processes->all = all;
        processes->capacity = capacity;
    }
    processes->all[processes->count++] = (struct process){pid, parent, zombie};
    return 0;
}

static int by_pid(const void *left, const void *right)
{
    const struct process *a = left;
    const struct process *b = right;
    return (a->pid > b->pid) - (a->pid < b->pid);
}

static int read_all(struct processes *processes)
{
    cleanup_directory DIR *proc = opendir("/proc");
    if (proc == NULL) {
        return -1;
    }
    for (const char *name; (name = directory_next(proc)) != NULL;) {
        struct process_stat stat;
        pid_t pid = (pid_t)strtol(name, NULL, 10);
        if (pid > 0 && process_stat_read(pid, &stat) &&
            add_process(processes, pid, stat.parent, stat.state == 'Z') < 0) {
            return -1;
        }
    }
    if (errno != 0) {
        return -1;
    }
    if (processes->count > 0) {
        qsort(processes->all, processes->count, sizeof(processes->all[0]), by_pid);
    }
    return 0;
}

static bool descends(const struct processes *processes, const struct process *process,
                     pid_t ancestor)
{
    /* The pids are not of one moment, and may form a circle. */
    for (size_t step = 0; process != NULL && step < processes->count; step++) {
        if (process->parent == ancestor) {
            return true;
        }
        const struct process parent = {.pid = process->parent};
        process =
            bsearch(&parent, processes->all, processes->count, sizeof(*processes->all), by_pid);
    }
    return false;
}

int64_t zombies_below(pid_t ancestor)
{
    cleanup_(processes_clear) struct processes processes = {0};
    if (read_all(&processes) < 0) {
        return -1;
    }
    int64_t count = 0;
    for (size_t i = 0; i < processes.count; i++) {
        const struct process *process = &processes.all[i];
        count += process->zombie && descends(&processes, process, ancestor);
    }
    return count;
}
