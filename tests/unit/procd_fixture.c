/*
 * Starting and asking the real daemon.
 */
#include "tests/unit/procd_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/io.h"
#include "procd/cgroup/cgroup.h"
#include "procd/log/job_files.h"
#include "procd/process/tree_kill.h"

struct procd_fixture procd;

void procd_launch(void)
{
    const char *directory = getenv("SANDBOX_BIN");
    char binary[300];
    snprintf(binary, sizeof(binary), "%s/procd", directory != NULL ? directory : "bin");
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        dup2(procd.listener, STDIN_FILENO);
        execl(binary, "procd", "-r", procd.run, (char *)NULL);
        _exit(127);
    }
    procd.pid = pid;
    assert_int_equal(procd_ping(NULL, DEADLINE_MS), PROCD_DONE);
}

void procd_end(int signal)
{
    int status;
    assert_int_equal(kill(procd.pid, signal), 0);
    assert_int_equal(waitpid(procd.pid, &status, 0), procd.pid);
    procd.pid = 0;
    if (signal == SIGTERM) {
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int procd_setup(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    /* As the supervisor: what loses its parent comes here, and is killed at the end. */
    if (sigprocmask(SIG_BLOCK, &child, NULL) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        return -1;
    }
    strcpy(procd.run, "/tmp/test-procd.XXXXXX");
    if (mkdtemp(procd.run) == NULL) {
        return -1;
    }
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/procd.sock", procd.run);
    procd.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (procd.listener < 0 ||
        bind(procd.listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(procd.listener, 511) < 0 || procd_client_init(address.sun_path) < 0) {
        return -1;
    }
    procd_launch();
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static const char *procd_cgroup_setting(void)
{
    const char *setting = getenv("SANDBOX_CGROUP");
    return setting == NULL ? "auto" : setting;
}

int procd_teardown(void **state)
{
    (void)state;
    if (procd.pid != 0) {
        procd_end(SIGTERM);
    }
    int left = tree_kill(NULL, DEADLINE_MS);
    close_fd(&procd.listener);
    left |= cgroup_remove(procd.run, procd_cgroup_setting());
    return nftw(procd.run, remove_entry, 16, FTW_DEPTH | FTW_PHYS) < 0 ? -1 : left;
}

void await_readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, DEADLINE_MS), 1);
}

void await(bool (*is_so)(const void *context), const void *context)
{
    int64_t deadline = clock_monotonic_ms() + DEADLINE_MS;
    while (!is_so(context)) {
        assert_true(clock_monotonic_ms() < deadline);
        (void)poll(NULL, 0, 2);
    }
}

bool process_is_gone(const void *pid)
{
    (void)reap_children(NULL);
    return kill(*(const pid_t *)pid, 0) < 0 && errno == ESRCH;
}

bool file_exists(const void *path)
{
    return access(path, F_OK) == 0;
}

struct growing {
    char *data;
    size_t length, capacity;
};

/* Reads once; false at the end. */
static bool grow(struct growing *text, int fd)
{
    if (text->capacity - text->length < 65537) {
        text->capacity = text->capacity * 2 + 131072;
        text->data = realloc(text->data, text->capacity);
        assert_non_null(text->data);
    }
    ssize_t count = io_read_some(fd, text->data + text->length, 65536);
    if (count < 0 && errno == EAGAIN) {
        return false;
    }
    assert_true(count >= 0);
    text->length += (size_t)count;
    text->data[text->length] = '\0';
    return count > 0;
}

/* As fcgi-app does it: reads both pipes until the lease reports the end, then what they hold by
 * then. */
struct output run_command(const struct command *command)
{
    struct foreground foreground;
    struct spawn_error error = {0};
    struct output output = {0};
    struct growing out = {0};
    struct growing err = {0};
    assert_int_equal(procd_run(command, &foreground, &error), PROCD_DONE);
    struct pollfd polled[] = {{.fd = foreground.lease, .events = POLLIN},
                              {.fd = foreground.out, .events = POLLIN},
                              {.fd = foreground.err, .events = POLLIN}};
    bool ended = false;
    while (!ended) {
        assert_true(poll(polled, 3, 4 * DEADLINE_MS) > 0);
        if (polled[1].revents != 0 && !grow(&out, foreground.out)) {
            polled[1].fd = -1;
        }
        if (polled[2].revents != 0 && !grow(&err, foreground.err)) {
            polled[2].fd = -1;
        }
        ended = polled[0].revents != 0 && foreground_ending(foreground.lease, &output.ending) == 1;
    }
    io_set_nonblocking(foreground.out, 1);
    io_set_nonblocking(foreground.err, 1);
    while (grow(&out, foreground.out)) {
    }
    while (grow(&err, foreground.err)) {
    }
    close(foreground.out);
    close(foreground.err);
    close(foreground.lease);
    output.out = out.data;
    output.out_length = out.length;
    output.err = err.data;
    output.err_length = err.length;
    return output;
}

struct output run(const char *cmd)
{
    const struct command command = {.cmd = cmd};
    return run_command(&command);
}

void output_free(struct output *output)
{
    free(output->out);
    free(output->err);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_segment(const struct dirent *entry)
{
    return strncmp(entry->d_name, JOB_SEGMENT_PREFIX, strlen(JOB_SEGMENT_PREFIX)) == 0;
}

char *read_log(const char *id, size_t *length)
{
    int directory;
    struct dirent **segments;
    struct growing text = {0};
    assert_int_equal(procd_open_job(id, &directory), PROCD_DONE);
    int count = scandirat(directory, ".", &segments, is_segment, by_name);
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        int fd = openat(directory, segments[i]->d_name, O_RDONLY);
        assert_true(fd >= 0);
        while (grow(&text, fd)) {
        }
        close(fd);
        free(segments[i]);
    }
    free(segments);
    close(directory);
    if (length != NULL) {
        *length = text.length;
    }
    return text.data;
}

static void note_job(void *context, const struct job *job)
{
    struct job *wanted = context;
    if (strcmp(wanted->id, job->id) == 0) {
        *wanted = *job;
        wanted->command = job->command[0] == '\0' ? NULL : "";
        wanted->cwd = "";
    }
}

struct job find_job(const char *id)
{
    struct job job = {.pid = -1};
    snprintf(job.id, sizeof(job.id), "%s", id);
    assert_int_equal(procd_list(false, note_job, &job), PROCD_DONE);
    if (job.pid == -1) {
        job.id[0] = '\0';
    }
    return job;
}

static bool has_ended(const void *id)
{
    struct job job = find_job(id);
    return job.id[0] == '\0' || job.status != JOB_RUNNING;
}

void await_job_end(const char *id)
{
    await(has_ended, id);
}

enum procd_result kill_job(const char *id, enum job_status *status)
{
    const struct kill_order order = {.signal = SIGKILL};
    return procd_kill(id, &order, status);
}
