/*
 * procd with real processes: the daemon, its runners, the client library.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/io.h"
#include "procd/cgroup/cgroup_place.h"
#include "procd/wire/client.h"
#include "tests/unit/procd_fixture.h"

/* ---- foreground ---- */

static void runs_and_reports(void **state)
{
    (void)state;
    struct output output = run("echo a; echo b >&2; printf tail; exit 7");
    assert_string_equal(output.out, "a\ntail");
    assert_string_equal(output.err, "b\n");
    assert_false(output.ending.lost);
    assert_int_equal(output.ending.code, 7);
    assert_int_equal(output.ending.signal, 0);
    assert_false(output.ending.left_children);
    assert_true(output.ending.max_rss_kb > 0);
    output_free(&output);
    output = run("kill -9 $$");
    assert_int_equal(output.ending.code, -1);
    assert_int_equal(output.ending.signal, SIGKILL);
    output_free(&output);
}

static void loses_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 500; i++) {
        struct output output = run("echo a; echo b >&2; printf tail");
        assert_string_equal(output.out, "a\ntail");
        assert_string_equal(output.err, "b\n");
        output_free(&output);
    }
}

static void gives_a_clean_process(void **state)
{
    (void)state;
    struct output output =
        run("ls /proc/self/fd | wc -l; readlink /proc/self/fd/0; "
            "set -- $(cat /proc/$$/stat); test $6 = $$ && echo session; "
            "cat /proc/self/status | grep -c '^Sig\\(Blk\\|Ign\\|Cgt\\):.*[1-9a-f]'; ulimit -Sn");
    char expected[200];
    snprintf(expected, sizeof(expected), "4\n/dev/null\nsession\n0\n%ld\n", sysconf(_SC_OPEN_MAX));
    assert_string_equal(output.out, expected);
    output_free(&output);
}

static void merges_the_environment(void **state)
{
    (void)state;
    const char *env[] = {"A=1", "PROCD_TEST=mine", "A=2", "EMPTY="};
    const struct command command = {
        .cmd = "echo \"$A-$PROCD_TEST-$EMPTY-$PROCD_KEPT-$SANDBOX_SECRET-$SANDBOX_SECRET_FILE\"; "
               "env | grep -c '^A='",
        .env = env,
        .env_count = 4};
    struct output output = run_command(&command);
    assert_string_equal(output.out, "2-mine--kept--\n1\n");
    output_free(&output);
}

static void tells_why_it_could_not_start(void **state)
{
    (void)state;
    struct foreground foreground;
    struct spawn_error error;
    struct command command = {.cmd = "true", .cwd = "/nonexistent"};
    assert_int_equal(procd_run(&command, &foreground, &error), PROCD_NOT_STARTED);
    assert_int_equal(error.stage, SPAWN_CHDIR);
    assert_int_equal(error.error, ENOENT);
    command.cwd = "/etc/passwd";
    assert_int_equal(procd_run(&command, &foreground, &error), PROCD_NOT_STARTED);
    assert_int_equal(error.stage, SPAWN_CHDIR);
    assert_int_equal(error.error, ENOTDIR);
    char *large = malloc(200001);
    memset(large, 'x', 200000);
    large[200000] = '\0';
    large[1] = '=';
    const char *env[] = {large};
    command = (struct command){.cmd = "true", .env = env, .env_count = 1};
    assert_int_equal(procd_run(&command, &foreground, &error), PROCD_NOT_STARTED);
    assert_int_equal(error.stage, SPAWN_EXEC);
    assert_int_equal(error.error, E2BIG);
    free(large);
    command = (struct command){.cmd = "pwd", .cwd = "/usr/bin"};
    struct output output = run_command(&command);
    assert_string_equal(output.out, "/usr/bin\n");
    output_free(&output);
}

/* A command of `length` bytes that begins with `head` and goes on with a comment. */
static char *long_command(const char *head, const char *tail, size_t length)
{
    char *cmd = malloc(length + 1);
    assert_non_null(cmd);
    memset(cmd, 'x', length);
    cmd[length] = '\0';
    memcpy(cmd, head, strlen(head));
    memcpy(cmd + strlen(head), "\n#", 2);
    memcpy(cmd + length - strlen(tail) - 1, "\n", 1);
    memcpy(cmd + length - strlen(tail), tail, strlen(tail));
    return cmd;
}

static void runs_commands_of_any_length(void **state)
{
    (void)state;
    static const size_t lengths[] = {32000,  33000,  131071,          131072,
                                     131073, 200000, (size_t)5 << 20, (size_t)20 << 20};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        char *cmd =
            long_command("echo $0; ls /proc/self/fd | wc -l", "echo end; exit 9", lengths[i]);
        struct output output = run(cmd);
        assert_string_equal(output.out, "sh\n4\nend\n");
        assert_string_equal(output.err, "");
        assert_int_equal(output.ending.code, 9);
        output_free(&output);
        free(cmd);
    }
    char *cmd = long_command("true", "kill -TERM $$", 300000);
    struct output output = run(cmd);
    assert_int_equal(output.ending.signal, SIGTERM);
    output_free(&output);
    free(cmd);
}

/* Starts a command that writes a list of pids to stdout, and reads them up to "ready". */
static struct foreground start_tree(const char *cmd, pid_t *pids, size_t count)
{
    struct foreground foreground;
    struct spawn_error error;
    const struct command command = {.cmd = cmd};
    assert_int_equal(procd_run(&command, &foreground, &error), PROCD_DONE);
    assert_int_equal(io_set_nonblocking(foreground.out, 0), 0);
    FILE *out = fdopen(dup(foreground.out), "r");
    for (size_t i = 0; i < count; i++) {
        int pid;
        assert_int_equal(fscanf(out, "%d", &pid), 1);
        pids[i] = pid;
    }
    fclose(out);
    return foreground;
}

static void hang_up(struct foreground *foreground)
{
    close(foreground->out);
    close(foreground->err);
    close(foreground->lease);
}

static void hang_up_kills_the_tree(void **state)
{
    (void)state;
    static const char tree[] = "sleep 1000 & echo $!; "
                               "setsid sh -c 'echo $$; sleep 1000; :' & "
                               "(setsid sh -c 'trap \"\" TERM HUP INT; (echo $(exec sh -c \"echo "
                               "\\$PPID\"); sleep 1000; :) & exit' &) ; "
                               "env -i sh -c 'echo $$; while :; do sleep 1000; done' & "
                               "sh -c 'trap \"\" TERM; echo $$; sleep 1000; :' & "
                               "trap '' TERM; wait; wait; sleep 1000";
    pid_t other[1];
    struct foreground bystander = start_tree("echo $$; exec sleep 1000", other, 1);
    pid_t pids[5];
    struct foreground foreground = start_tree(tree, pids, 5);
    hang_up(&foreground);
    await(process_is_gone, &foreground.pid);
    for (size_t i = 0; i < 5; i++) {
        await(process_is_gone, &pids[i]);
    }
    assert_int_equal(kill(other[0], 0), 0);
    hang_up(&bystander);
    await(process_is_gone, &other[0]);
}

static void hang_up_catches_forkers(void **state)
{
    (void)state;
    char marker[100];
    snprintf(marker, sizeof(marker), "%s/forks", procd.run);
    char cmd[600];
    /* Every process leaves at once and has started the next, in another session; it writes as it
     * lives. */
    snprintf(cmd, sizeof(cmd),
             "cat > %s.sh <<'X'\necho >> %s\nsetsid sh %s.sh &\nX\necho $$; "
             "for i in 1 2 3 4; do sh %s.sh & done; sleep 1000",
             marker, marker, marker, marker);
    pid_t pid[1];
    struct foreground foreground = start_tree(cmd, pid, 1);
    struct stat before = {0};
    int64_t deadline = clock_monotonic_ms() + DEADLINE_MS;
    while (before.st_size < 100 && clock_monotonic_ms() < deadline) {
        stat(marker, &before);
    }
    hang_up(&foreground);
    /* Dead when the file has stopped growing for a while. */
    int quiet = 0;
    while (quiet < 100) {
        struct stat now;
        assert_true(clock_monotonic_ms() < deadline + DEADLINE_MS);
        assert_int_equal(stat(marker, &now), 0);
        quiet = now.st_size == before.st_size ? quiet + 1 : 0;
        before = now;
        usleep(2000);
    }
}

static void ends_with_its_shell(void **state)
{
    (void)state;
    struct output output = run("sleep 1000 & echo $!");
    assert_true(output.ending.left_children);
    pid_t pid = (pid_t)atoi(output.out);
    assert_int_equal(kill(pid, 0), 0);
    kill(pid, SIGKILL);
    await(process_is_gone, &pid); /* reaped by its runner */
    output_free(&output);
}

static bool file_has_grown(const void *path)
{
    struct stat status;
    return stat(path, &status) == 0 && status.st_size > 100;
}

static void what_is_left_can_write_on(void **state)
{
    (void)state;
    char path[100];
    snprintf(path, sizeof(path), "%s/ticks", procd.run);
    char cmd[300];
    /* Much more than a pipe holds, to the old stdout; then the file, if it has not died of SIGPIPE.
     */
    snprintf(cmd, sizeof(cmd),
             "(head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; i=0; "
             "while [ $i -lt 200 ]; do echo tick; echo x >> %s; i=$((i+1)); done) & echo begun",
             path);
    struct output output = run(cmd);
    assert_int_equal(output.ending.code, 0);
    await(file_has_grown, path);
    output_free(&output);
}

static void hundreds_run_at_once(void **state)
{
    (void)state;
    enum { COUNT = 250 };
    struct foreground all[COUNT];
    struct spawn_error error;
    const struct command command = {.cmd = "echo up; read line < /dev/null; sleep 1000"};
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(procd_run(&command, &all[i], &error), PROCD_DONE);
    }
    for (int i = 0; i < COUNT; i++) {
        char up[3];
        await_readable(all[i].out);
        assert_int_equal(read(all[i].out, up, 3), 3);
    }
    for (int i = 0; i < COUNT; i++) {
        hang_up(&all[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        await(process_is_gone, &all[i].pid);
    }
}

static bool is_in_cgroup(pid_t pid, const char *name)
{
    char path[40];
    char text[PATH_MAX] = "";
    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && io_read_full(fd, text, sizeof(text) - 1) > 0);
    return strstr(text, name) != NULL;
}

/* There is no supervisor here whose children procd may look at: no command may begin elsewhere. */
static void commands_of_a_burst_begin_in_cgroups(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    struct foreground all[COUNT];
    struct spawn_error error;
    char path[PATH_MAX];
    const struct command command = {.cmd = "sleep 1000"};
    if (cgroup_find_run(procd.run, "auto", path) < 0 || access(path, F_OK) < 0) {
        skip();
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(procd_run(&command, &all[i], &error), PROCD_DONE);
        assert_true(is_in_cgroup(all[i].pid, strrchr(path, '/')));
    }
    for (int i = 0; i < COUNT; i++) {
        hang_up(&all[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        await(process_is_gone, &all[i].pid);
    }
}

static void *run_some(void *failed)
{
    struct spawn_error error;
    for (int i = 0; i < 25; i++) {
        struct foreground foreground;
        struct ending ending;
        const struct command command = {.cmd = "exit 3"};
        if (procd_run(&command, &foreground, &error) != PROCD_DONE) {
            *(bool *)failed = true;
            return NULL;
        }
        await_readable(foreground.lease);
        if (foreground_ending(foreground.lease, &ending) != 1 || ending.code != 3) {
            *(bool *)failed = true;
        }
        hang_up(&foreground);
    }
    return NULL;
}

static void many_threads_run(void **state)
{
    (void)state;
    pthread_t threads[16];
    bool failed[16] = {false};
    for (int i = 0; i < 16; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_some, &failed[i]), 0);
    }
    for (int i = 0; i < 16; i++) {
        pthread_join(threads[i], NULL);
        assert_false(failed[i]);
    }
}

static void garbage_ends_its_client_only(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/procd.sock", procd.run);
    static const char *const packets[] = {
        "x", "pcd1", "pcd1\x02\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        "pcd1\x63\0\0\0\0\0\0\0\0\0\0\0", "pcd1\x05\0\x01\0\x08\0\0\0\0\0\0\0"};
    static const size_t lengths[] = {1, 4, 16, 16, 16};
    for (size_t i = 0; i < 5; i++) {
        char bytes[100];
        int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        await_readable(fd);
        assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), 16); /* the greeting */
        assert_int_equal(send(fd, packets[i], lengths[i], 0), (ssize_t)lengths[i]);
        await_readable(fd);
        ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
        /* Closed; or, where the header was sound, an answer that there is no such job. */
        assert_true(i == 4 ? got == 16 : got <= 0);
        close(fd);
    }
    assert_int_equal(procd_ping(NULL, DEADLINE_MS), PROCD_DONE);
}

/* ---- restart ---- */

static void procd_may_die_under_a_command(void **state)
{
    (void)state;
    struct foreground foreground;
    struct spawn_error error;
    struct ending ending;
    char fifo[100];
    char cmd[200];
    snprintf(fifo, sizeof(fifo), "%s/fifo", procd.run);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    snprintf(cmd, sizeof(cmd), "echo begun; read line < %s; echo $line; exit 5", fifo);
    const struct command command = {.cmd = cmd};
    assert_int_equal(procd_run(&command, &foreground, &error), PROCD_DONE);
    await_readable(foreground.out);
    procd_end(SIGKILL);
    FILE *writer = fopen(fifo, "w");
    fputs("alive\n", writer);
    fclose(writer);
    await_readable(foreground.lease);
    assert_int_equal(foreground_ending(foreground.lease, &ending), 1);
    assert_false(ending.lost);
    assert_int_equal(ending.code, 5);
    char text[100] = "";
    assert_true(read(foreground.out, text, sizeof(text) - 1) > 0);
    assert_string_equal(text, "begun\nalive\n");
    hang_up(&foreground);
    unlink(fifo);
    procd_launch();
}

static void *launch_later(void *unused)
{
    (void)unused;
    usleep(100000); /* not to synchronise: any moment is one at which the request must be served */
    procd_launch();
    return NULL;
}

static void a_restart_is_waited_for(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        procd_end(i == 0 ? SIGTERM : SIGKILL);
        assert_int_equal(pthread_create(&thread, NULL, launch_later, NULL), 0);
        struct output output = run("echo served");
        assert_string_equal(output.out, "served\n");
        output_free(&output);
        pthread_join(thread, NULL);
    }
}

/* ---- background ---- */

static struct job start(const char *cmd)
{
    struct job job;
    struct spawn_error error;
    const struct command command = {.cmd = cmd};
    assert_int_equal(procd_start(&command, &job, &error), PROCD_DONE);
    assert_int_equal(strlen(job.id), JOB_ID_SIZE - 1);
    assert_true(job.pid > 0);
    return job;
}

static void path_of(char path[200], const char *id, const char *name)
{
    snprintf(path, 200, "%s/state/jobs/%s/%s", procd.run, id, name);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) {
        count++;
    }
    return count;
}

static void logs_lines_in_order(void **state)
{
    (void)state;
    struct job job =
        start("i=1; while [ $i -le 10000 ]; do echo line $i; i=$((i+1)); done; printf tail");
    char path[200];
    path_of(path, job.id, "record");
    assert_true(file_exists(path));
    await_job_end(job.id);
    path_of(path, job.id, "exit");
    await(file_exists, path);
    char *log = read_log(job.id, NULL);
    const char *at = log;
    for (int i = 1; i <= 10000; i++) {
        char expected[120];
        static const char begin[] = "event: log\ndata: {";
        assert_memory_equal(at, begin, strlen(begin));
        snprintf(expected, sizeof(expected),
                 "\"stream\":\"stdout\",\"data\":\"line %d\"}\nid: %.8s-%td-%d\n\n", i, job.id,
                 at - log, i - 1);
        at = strstr(at, "\"stream\"");
        assert_non_null(at);
        assert_memory_equal(at, expected, strlen(expected));
        at += strlen(expected);
    }
    assert_non_null(strstr(at, "\"data\":\"tail\"}\nid: "));
    struct job ended = find_job(job.id);
    assert_int_equal(ended.status, JOB_COMPLETED);
    assert_true(ended.ended_at >= ended.started_at);
    free(log);
}

static bool log_has_line(const void *id)
{
    char *log = read_log(id, NULL);
    bool found = log != NULL && strstr(log, "\"data\":\"early\"}\nid: ") != NULL;
    free(log);
    return found;
}

static void a_line_is_there_at_once(void **state)
{
    (void)state;
    struct job job = start("printf half >&2; echo early; sleep 1000");
    await(log_has_line, job.id);
    enum job_status status;
    assert_int_equal(kill_job(job.id, &status), PROCD_DONE);
    char *log = read_log(job.id, NULL);
    assert_int_equal(count_of(log, "\"data\":\"half\"}\nid: "),
                     1); /* the unfinished line as well */
    free(log);
}

static void long_lines_stay_whole(void **state)
{
    (void)state;
    struct job job = start("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo after");
    await_job_end(job.id);
    size_t length;
    char *log = read_log(job.id, &length);
    assert_true(length > 3000000);
    assert_int_equal(count_of(log, "\n\n"), 2);
    assert_int_equal(count_of(log, "continued"), 0);
    const char *data = strstr(log, "\"data\":\"");
    assert_int_equal(strspn(data + 8, "x"), 3000000);
    assert_non_null(strstr(log, "\"data\":\"after\"}"));
    free(log);
}

static void tells_how_jobs_end(void **state)
{
    (void)state;
    struct job failed = start("exit 4");
    struct job signalled = start("kill -SEGV $$");
    struct job killed = start("setsid sleep 1000 & sleep 1000");
    enum job_status status;
    await_job_end(failed.id);
    await_job_end(signalled.id);
    assert_int_equal(kill_job(killed.id, &status), PROCD_DONE);
    assert_true(process_is_gone(&killed.pid));
    struct job job = find_job(failed.id);
    assert_int_equal(job.status, JOB_FAILED);
    assert_int_equal(job.ending.code, 4);
    job = find_job(signalled.id);
    assert_int_equal(job.status, JOB_FAILED);
    assert_int_equal(job.ending.signal, SIGSEGV);
    assert_int_equal(job.ending.code, -1);
    assert_int_equal(find_job(killed.id).status, JOB_KILLED);
    assert_int_equal(kill_job(failed.id, &status), PROCD_NOT_RUNNING);
    assert_int_equal(status, JOB_FAILED);
    assert_int_equal(kill_job(killed.id, &status), PROCD_NOT_RUNNING);
    assert_int_equal(status, JOB_KILLED);
    assert_int_equal(kill_job("550e8400-e29b-41d4-a716-446655440000", &status), PROCD_NOT_FOUND);
    assert_int_equal(kill_job("../../..", &status), PROCD_NOT_FOUND);
}

static void *kill_it(void *id)
{
    enum job_status status;
    intptr_t result = kill_job(id, &status);
    return (void *)(result == PROCD_NOT_RUNNING && status != JOB_KILLED ? PROCD_LOST : result);
}

static void one_of_many_kills_wins(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct job job = start("trap '' TERM; sleep 1000 & wait");
        pthread_t threads[8];
        int done = 0;
        int not_running = 0;
        for (int i = 0; i < 8; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, kill_it, job.id), 0);
        }
        for (int i = 0; i < 8; i++) {
            void *result;
            pthread_join(threads[i], &result);
            done += (intptr_t)result == PROCD_DONE;
            not_running += (intptr_t)result == PROCD_NOT_RUNNING;
        }
        assert_int_equal(done, 1);
        assert_int_equal(not_running, 7);
    }
}

static void what_a_job_leaves_lives_on(void **state)
{
    (void)state;
    struct job job = start("sleep 1000 & echo $!");
    await_job_end(job.id);
    assert_int_equal(find_job(job.id).status, JOB_COMPLETED);
    char *log = read_log(job.id, NULL);
    pid_t left = (pid_t)atoi(strstr(log, "\"data\":\"") + 8);
    assert_int_equal(kill(left, 0), 0);
    kill(left, SIGKILL);
    await(process_is_gone, &left);
    free(log);
}

static void jobs_outlive_procd(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        enum job_status status;
        struct job finished = start("echo done");
        struct job running = start("echo early; sleep 1000");
        await_job_end(finished.id);
        await(log_has_line, running.id);
        procd_end(i == 0 ? SIGTERM : SIGKILL);
        procd_launch();
        assert_int_equal(find_job(finished.id).status, JOB_COMPLETED);
        struct job found = find_job(running.id);
        assert_int_equal(found.status, JOB_RUNNING);
        assert_int_equal(found.pid, running.pid);
        assert_true(found.started_at == running.started_at);
        assert_int_equal(kill_job(running.id, &status), PROCD_DONE);
        assert_int_equal(find_job(running.id).status, JOB_KILLED);
    }
}

static void jobs_end_while_procd_is_away(void **state)
{
    (void)state;
    char gate[200];
    char path[200];
    char cmd[300];
    snprintf(gate, sizeof(gate), "%s/gate", procd.run);
    assert_int_equal(mkfifo(gate, 0600), 0);
    snprintf(cmd, sizeof(cmd), "read line < %s; exit 6", gate);
    struct job job = start(cmd);
    procd_end(SIGKILL);
    close(open(gate, O_WRONLY));
    path_of(path, job.id, "exit");
    await(file_exists, path);
    procd_launch();
    struct job found = find_job(job.id);
    assert_int_equal(found.status, JOB_FAILED);
    assert_int_equal(found.ending.code, 6);
    unlink(gate);
}

/* The runner of a process: its parent. */
static pid_t parent_of(pid_t pid)
{
    char path[60];
    char text[400];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    int parent;
    assert_int_equal(sscanf(strrchr(text, ')'), ") %*c %d", &parent), 1);
    return parent;
}

static void a_dead_runner_is_told(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct job job = start("echo early; sleep 1000");
        await(log_has_line, job.id);
        pid_t runner = parent_of(job.pid);
        if (i == 1) {
            procd_end(SIGKILL);
        }
        assert_int_equal(kill(runner, SIGKILL), 0);
        await(process_is_gone, &runner);
        char path[200];
        path_of(path, job.id, "log.00000000000000000000");
        FILE *log_file = fopen(path, "a"); /* what a runner may have left half written */
        if (i == 1) {
            fputs("event: log\ndata: {\"torn\"}\nid: 99\n", log_file);
        }
        fclose(log_file);
        if (i == 1) {
            procd_launch();
        }
        await_job_end(job.id);
        assert_int_equal(find_job(job.id).status, JOB_FAILED);
        path_of(path, job.id, "exit");
        assert_true(file_exists(path));
        char *log = read_log(job.id, NULL);
        assert_int_equal(count_of(log, "\n\n"), 1);
        assert_null(strstr(log, "torn"));
        free(log);
        await(process_is_gone, &job.pid);
    }
}

static void a_failed_start_leaves_nothing(void **state)
{
    (void)state;
    struct job job;
    struct spawn_error error;
    const struct command command = {.cmd = "true", .cwd = "/nonexistent"};
    char path[200];
    path_of(path, "", "");
    DIR *before = opendir(path);
    int count = 0;
    while (readdir(before) != NULL) {
        count++;
    }
    assert_int_equal(procd_start(&command, &job, &error), PROCD_NOT_STARTED);
    assert_int_equal(error.stage, SPAWN_CHDIR);
    assert_int_equal(error.error, ENOENT);
    rewinddir(before);
    while (readdir(before) != NULL) {
        count--;
    }
    assert_int_equal(count, 0);
    closedir(before);
}

static void check_order(void *context, const struct job *job)
{
    uint64_t *last = context;
    assert_true(job->started_at > *last);
    *last = job->started_at;
}

static void lists_oldest_first(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) { /* more than fits into one packet */
        start("true");
    }
    uint64_t last = 0;
    assert_int_equal(procd_list(false, check_order, &last), PROCD_DONE);
    procd_end(SIGKILL);
    procd_launch();
    last = 0;
    assert_int_equal(procd_list(false, check_order, &last), PROCD_DONE);
    assert_true(last != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* first: while few runners wait */
        cmocka_unit_test(commands_of_a_burst_begin_in_cgroups),
        cmocka_unit_test(runs_and_reports),
        cmocka_unit_test(loses_nothing),
        cmocka_unit_test(gives_a_clean_process),
        cmocka_unit_test(merges_the_environment),
        cmocka_unit_test(tells_why_it_could_not_start),
        cmocka_unit_test(runs_commands_of_any_length),
        cmocka_unit_test(hang_up_kills_the_tree),
        cmocka_unit_test(hang_up_catches_forkers),
        cmocka_unit_test(ends_with_its_shell),
        cmocka_unit_test(what_is_left_can_write_on),
        cmocka_unit_test(hundreds_run_at_once),
        cmocka_unit_test(many_threads_run),
        cmocka_unit_test(garbage_ends_its_client_only),
        cmocka_unit_test(procd_may_die_under_a_command),
        cmocka_unit_test(a_restart_is_waited_for),
        cmocka_unit_test(logs_lines_in_order),
        cmocka_unit_test(a_line_is_there_at_once),
        cmocka_unit_test(long_lines_stay_whole),
        cmocka_unit_test(tells_how_jobs_end),
        cmocka_unit_test(one_of_many_kills_wins),
        cmocka_unit_test(what_a_job_leaves_lives_on),
        cmocka_unit_test(jobs_outlive_procd),
        cmocka_unit_test(jobs_end_while_procd_is_away),
        cmocka_unit_test(a_dead_runner_is_told),
        cmocka_unit_test(a_failed_start_leaves_nothing),
        cmocka_unit_test(lists_oldest_first),
    };
    setenv("PROCD_KEPT", "kept", 1);
    setenv("PROCD_TEST", "inherited", 1);
    setenv("SANDBOX_SECRET", "never seen", 1);
    setenv("SANDBOX_SECRET_FILE", "/never/seen", 1);
    return cmocka_run_group_tests(tests, procd_setup, procd_teardown);
}
