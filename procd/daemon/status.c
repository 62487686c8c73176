/*
 * What the run scripts leave and /proc says of the daemons; the other files of procd count the
 * rest.
 */
#include "procd/daemon/status.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/daemons.h"
#include "common/process_stat.h"
#include "common/run_files.h"
#include "common/service_pid.h"
#include "procd/daemon/pool.h"
#include "procd/daemon/registry.h"
#include "procd/daemon/sweep.h"
#include "procd/jobs/job_directory.h"
#include "procd/process/process_table.h"
#include "procd/process/supervisor.h"

/* -1: unknown for at least one. */
static void add_to(int64_t *sum, int64_t number)
{
    *sum = *sum < 0 || number < 0 ? -1 : *sum + number;
}

/*
 * Open descriptors, -1 if that is unknown: a procd without CAP_SYS_PTRACE cannot read another
 * user's list. Its length is readable from Linux 6.2 on (proc_pid_fd(5)).
 */
static int64_t count_descriptors(pid_t pid)
{
    char path[64];
    struct stat directory;
    int64_t count = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    cleanup_directory DIR *entries = opendir(path);
    if (entries == NULL) {
        return stat(path, &directory) == 0 && directory.st_size > 0 ? (int64_t)directory.st_size
                                                                    : -1;
    }
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        count += entry->d_name[0] != '.';
    }
    return count;
}

/* Of nginx with its workers. */
static void describe_usage(pid_t pid, const struct daemon_entry *daemon, struct message *message)
{
    cleanup_(pid_list_clear) struct pid_list processes = {0};
    int64_t descriptors = 0;
    int64_t threads = 0;
    int64_t rss_kb = 0;
    if (daemon == &server_daemons[DAEMON_NGINX]) {
        (void)process_children(pid, &processes); /* otherwise it is shown without */
    }
    if (pid_list_add(&processes, pid) < 0) {
        return;
    }
    for (size_t i = 0; i < processes.count; i++) {
        add_to(&descriptors, count_descriptors(processes.pids[i]));
        add_to(&threads, process_file_number(processes.pids[i], "status", "\nThreads:"));
        add_to(&rss_kb, process_file_number(processes.pids[i], "status", "\nVmRSS:"));
    }
    message_add_number(message, FIELD_PID, pid);
    message_add_number(message, FIELD_DESCRIPTORS, descriptors);
    message_add_number(message, FIELD_THREADS, threads);
    message_add_number(message, FIELD_RSS_KB, rss_kb);
}

static void describe_daemon(const char *run_directory, const struct daemon_entry *daemon,
                            struct message *message)
{
    char path[PATH_MAX];
    struct stat starts;
    (void)snprintf(path, sizeof(path), "%s/service/%s", run_directory, daemon->name);
    if (access(path, F_OK) < 0) {
        return; /* nginx is the operator's own */
    }
    message_add_text(message, FIELD_ID, daemon->name);
    (void)snprintf(path, sizeof(path), RUN_STARTS_FORMAT, run_directory, daemon->name);
    if (stat(path, &starts) == 0) {
        message_add_number(message, FIELD_STARTS, (int64_t)starts.st_size);
    }
    pid_t pid = service_pid(run_directory, daemon->name);
    if (pid > 0) {
        describe_usage(pid, daemon, message);
    }
}

void status_describe(const char *run_directory, struct message *message)
{
    pid_t supervisor;
    struct statvfs room;
    cleanup_fd int held = supervisor_open(run_directory, &supervisor);
    if (held >= 0) {
        message_add_number(message, FIELD_UPTIME_MS, process_age_ms(supervisor));
    }
    message_add_number(message, FIELD_RUNNING, (int64_t)registry_running());
    message_add_number(message, FIELD_RUNNERS, (int64_t)sweep_runner_count());
    message_add_number(message, FIELD_IDLE, (int64_t)pool_idle_count());
    message_add_number(message, FIELD_RUNNER_FAILURES, (int64_t)pool_failures());
    if (job_directories_room(&room) == 0) {
        message_add_number(message, FIELD_DISK_FREE, (int64_t)(room.f_bavail * room.f_frsize));
        message_add_number(message, FIELD_DISK_TOTAL, (int64_t)(room.f_blocks * room.f_frsize));
    }
    for (size_t i = 0; i < DAEMON_COUNT; i++) {
        describe_daemon(run_directory, &server_daemons[i], message);
    }
}
