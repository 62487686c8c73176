/*
 * What /proc/<pid>/stat says of a process: proc_pid_stat(5).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_stat {
    char state; /* 'Z': a zombie */
    pid_t parent;
    uint64_t started; /* clock ticks (_SC_CLK_TCK) since the boot */
};

/* One read(2). False when there is no such process. Thread-safe. */
bool process_stat_read(pid_t pid, struct process_stat *stat);

/* How long a process has lived in ms, -1 if that is unknown. Thread-safe. */
int64_t process_age_ms(pid_t pid);
