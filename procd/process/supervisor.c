/*
 * The launcher names the supervisor in a file; whether that is still true is asked of /proc.
 */
#include "procd/process/supervisor.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "procd/process/process_hold.h"
#include "procd/process/process_table.h"

#define SUPERVISOR_COMM "s6-svscan\n"

static pid_t read_pid(const char *run_directory)
{
    char path[PATH_MAX];
    char text[16] = "";
    int length = snprintf(path, sizeof(path), "%s/" SUPERVISOR_FILE, run_directory);
    cleanup_fd int fd = length < (int)sizeof(path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || io_read_full(fd, text, sizeof(text) - 1) <= 0) {
        return 0;
    }
    return (pid_t)strtol(text, NULL, 10);
}

static bool is_above_us(pid_t wanted)
{
    pid_t pid = getppid();
    while (pid > 1 && pid != wanted) {
        pid = process_parent(pid);
    }
    return pid == wanted;
}

int supervisor_open(const char *run_directory, pid_t *pid)
{
    *pid = read_pid(run_directory);
    cleanup_fd int held = *pid > 0 ? process_hold(*pid) : -1;
    if (held < 0 || !is_above_us(*pid) ||
        process_file_begins(*pid, "comm", SUPERVISOR_COMM, strlen(SUPERVISOR_COMM)) != 1) {
        return -1;
    }
    return steal_fd(&held);
}
