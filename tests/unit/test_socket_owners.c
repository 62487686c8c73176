/*
 * Whose a socket is: a job's, a foreground command's, or no command's; of many at once, asked by
 * several clients.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/procd_fixture.h"

enum { MANY = 900 }; /* the answer about so many does not fit into a packet */

#define OPEN_MANY                                                                                  \
    "exec python3 -c 'import socket, time\n"                                                       \
    "all = [socket.socket() for _ in range(900)]\n"                                                \
    "print(\"ready\", flush=True)\n"                                                               \
    "time.sleep(86400)'"

static size_t open_sockets(pid_t pid, uint32_t *inodes, size_t most)
{
    char path[300], link[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *descriptors = opendir(path);
    size_t count = 0;
    for (struct dirent *entry; descriptors != NULL && (entry = readdir(descriptors)) != NULL;) {
        snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)pid, entry->d_name);
        ssize_t length = readlink(path, link, sizeof(link) - 1);
        link[length > 0 ? length : 0] = '\0';
        if (strncmp(link, "socket:[", 8) == 0 && count < most) {
            inodes[count++] = (uint32_t)strtoul(link + 8, NULL, 10);
        }
    }
    if (descriptors != NULL) {
        closedir(descriptors);
    }
    return count;
}

static struct job job;
static uint32_t inodes[MANY + 2];

static bool has_all(const void *unused)
{
    (void)unused;
    return open_sockets(job.pid, inodes, MANY) == MANY;
}

struct found {
    size_t count;
    bool are_right;
};

static void take(void *context, const struct socket_owner *owner)
{
    struct found *found = context;
    found->count++;
    found->are_right = found->are_right && owner->pid == job.pid && owner->job_id != NULL &&
                       strcmp(owner->job_id, job.id) == 0 && owner->name[0] != '\0';
}

static void *ask(void *unused)
{
    struct found found = {.are_right = true};
    (void)unused;
    return procd_socket_owners(inodes, MANY + 2, take, &found) == PROCD_DONE && found.are_right &&
                   found.count == MANY
               ? NULL
               : "wrong";
}

static void knows_all_of_a_job(void **state)
{
    (void)state;
    struct spawn_error error;
    struct stat own;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(fstat(fd, &own), 0);
    const struct command command = {.cmd = OPEN_MANY};
    assert_int_equal(procd_start(&command, &job, &error), PROCD_DONE);
    await(has_all, NULL);
    inodes[MANY] = (uint32_t)own.st_ino; /* ours: no command's */
    inodes[MANY + 1] = 0;
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask, NULL), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        void *failure;
        assert_int_equal(pthread_join(threads[i], &failure), 0);
        assert_null(failure);
    }
    procd_end(SIGKILL); /* the next one finds the job's runner, which is not its child */
    procd_launch();
    assert_null(ask(NULL));
    enum job_status status;
    assert_int_equal(kill_job(job.id, &status), PROCD_DONE);
    struct found found = {.are_right = true};
    assert_int_equal(procd_socket_owners(inodes, MANY + 2, take, &found), PROCD_DONE);
    assert_int_equal(found.count, 0);
    assert_int_equal(close(fd), 0);
}

static void take_foreground(void *context, const struct socket_owner *owner)
{
    assert_null(owner->job_id);
    *(pid_t *)context = owner->pid;
}

static bool has_one(const void *pid)
{
    return open_sockets(*(const pid_t *)pid, inodes, 1) == 1;
}

static void knows_a_foreground_command(void **state)
{
    (void)state;
    struct foreground foreground;
    struct spawn_error error;
    const struct command command = {
        .cmd = "exec python3 -c 'import socket, time; s = socket.socket(); time.sleep(86400)'"};
    assert_int_equal(procd_run(&command, &foreground, &error), PROCD_DONE);
    await(has_one, &foreground.pid);
    pid_t pid = 0;
    assert_int_equal(procd_socket_owners(inodes, 1, take_foreground, &pid), PROCD_DONE);
    assert_int_equal(pid, foreground.pid);
    close(foreground.lease);
    close(foreground.out);
    close(foreground.err);
    close(foreground.watch);
}

static void a_question_about_nothing(void **state)
{
    (void)state;
    pid_t pid = 0;
    assert_int_equal(procd_socket_owners(inodes, 0, take_foreground, &pid), PROCD_DONE);
    assert_int_equal(pid, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_all_of_a_job),
        cmocka_unit_test(knows_a_foreground_command),
        cmocka_unit_test(a_question_about_nothing),
    };
    return cmocka_run_group_tests(tests, procd_setup, procd_teardown);
}
