/*
 * Idle runners on a stack, so that the one that ran last, whose memory is warm, runs next.
 */
#include "procd/daemon/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "procd/cgroup/cgroup.h"
#include "procd/daemon/loop.h"
#include "procd/daemon/sweep.h"
#include "procd/process/runners.h"

#define IDLE_KEPT      4     /* ready at any time */
#define FAILURES_BORNE 3     /* in a row, before the next start is put off */
#define REFILL_MOST_MS 10000 /* how long a start is put off at most */
#define IDLE_MAX       256   /* more are let go when they become idle */
#define REFILL_MS      20    /* after one was taken: not in the middle of a burst */
#define SHRINK_MS      3000  /* those that were idle all this time are too many */
#define RETRY_SPAWN_MS 1000

#define RUNNER_ARGUMENTS_MAX 14

struct runner {
    struct watch control; /* first: a watch is its runner */
    LIST_ENTRY(runner) entry;
    bool is_idle;
    LIST_ENTRY(runner) below; /* on the stack of idle ones */
    job_answer_function *answer;
    void *context; /* both of the job that it is starting */
};

static struct {
    struct pool_options options;
    LIST_HEAD(, runner) all; /* so that a busy one, which only the loop knows, is not leaked */
    LIST_HEAD(, runner) idle;
    size_t idle_count;
    size_t idle_least; /* since the last look at the number of idle ones */
    unsigned failures; /* runners in a row that died before they took a command */
    int64_t start_at;  /* after some of these, not before */
} pool;

static void refill(void);
static void shrink(void);
static struct timer refill_timer = {.due = refill};
static struct timer shrink_timer = {.due = shrink};

static void set_timer(struct timer *timer, int64_t in_ms)
{
    if (timer->at == 0) {
        loop_call_at(timer, clock_monotonic_ms() + in_ms);
    }
}

static void push_idle(struct runner *runner)
{
    LIST_INSERT_HEAD(&pool.idle, runner, below);
    runner->is_idle = true;
    pool.idle_count++;
    if (pool.idle_count > IDLE_KEPT) {
        set_timer(&shrink_timer, SHRINK_MS);
    }
}

static void remove_idle(struct runner *runner)
{
    LIST_REMOVE(runner, below);
    runner->is_idle = false;
    pool.idle_count--;
    if (pool.idle_count < pool.idle_least) {
        pool.idle_least = pool.idle_count;
    }
}

static struct runner *pop_idle(void)
{
    struct runner *runner = LIST_FIRST(&pool.idle);
    if (runner != NULL) {
        remove_idle(runner);
    }
    return runner;
}

void pool_note_failures(unsigned count)
{
    unsigned before = pool.failures;
    pool.failures += count;
    if (count == 0 || pool.failures < FAILURES_BORNE) {
        return;
    }
    unsigned doublings = pool.failures - FAILURES_BORNE;
    int64_t delay_ms = doublings > 9 ? REFILL_MOST_MS : (int64_t)REFILL_MS << doublings;
    delay_ms = delay_ms > REFILL_MOST_MS ? REFILL_MOST_MS : delay_ms;
    if (before < FAILURES_BORNE) {
        log_line("runners die as they start; procd starts others, less and less often");
    }
    pool.start_at = clock_monotonic_ms() + delay_ms;
}

static void note_success(void)
{
    if (pool.failures >= FAILURES_BORNE) {
        log_line("runners start again");
    }
    pool.failures = 0;
    pool.start_at = 0;
}

static bool may_start(void)
{
    return pool.start_at == 0 || clock_monotonic_ms() >= pool.start_at;
}

/* Lets a runner go: it ends when its control socket is closed and its work is done. */
static void dismiss(struct runner *runner)
{
    loop_close(&runner->control);
    if (runner->answer != NULL) {
        runner->answer(runner->context, NULL);
    }
    LIST_REMOVE(runner, entry);
    free(runner);
    if (pool.idle_count < IDLE_KEPT) {
        set_timer(&refill_timer, REFILL_MS);
    }
}

/* A message of a runner, or its end. */
static void hear_runner_control(struct watch *watch)
{
    struct runner *runner = (struct runner *)watch;
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    int received = message_receive(watch->fd, packet, sizeof(packet), &message, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) {
        return;
    }
    if (received != 1 || message_open(&message) < 0) {
        if (runner->is_idle) {
            remove_idle(runner);
        }
        dismiss(runner);
        return;
    }
    note_success();
    if (runner->answer != NULL) {
        job_answer_function *answer = runner->answer;
        runner->answer = NULL;
        answer(runner->context, &message);
    }
    if (message.type == MESSAGE_STARTED) {
        return; /* it is idle when its job has ended, or ends itself if that has left anything */
    }
    if (pool.idle_count >= IDLE_MAX) {
        dismiss(runner);
    } else {
        push_idle(runner);
    }
}

/* The command line of a runner: runners.h, and the options of main.c. */
static void describe_runner(const char *arguments[RUNNER_ARGUMENTS_MAX + 1], char limit[32])
{
    const struct pool_options *options = &pool.options;
    const char *cgroup = cgroup_path();
    (void)snprintf(limit, 32, "%ld", options->descriptor_limit);
    const char *const always[] = {RUNNER_NAME,        RUNNER_OPTION, options->run_directory,
                                  "--descriptors",    limit,         "--directory",
                                  options->directory, "--limits",    options->limits};
    memcpy(arguments, always, sizeof(always));
    arguments += sizeof(always) / sizeof(always[0]);
    if (cgroup != NULL) {
        *arguments++ = "--cgroup";
        *arguments++ = cgroup;
        if (!sweep_has_supervisor()) {
            *arguments++ = "--cgroup-first";
        }
    }
    if (options->user != NULL) {
        *arguments++ = "--user";
        *arguments++ = options->user;
    }
    *arguments = NULL;
}

/* Executes another runner, with `control` as its descriptor 0 and nothing else of ours. 0 with
 * *pid, or the error. */
static int execute_runner(int control, pid_t *pid)
{
    char limit[32];
    const char *arguments[RUNNER_ARGUMENTS_MAX + 1];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    describe_runner(arguments, limit);
    sigemptyset(&none);
    if (posix_spawn_file_actions_init(&actions) != 0 || posix_spawnattr_init(&attributes) != 0) {
        return ENOMEM;
    }
    int error = posix_spawn_file_actions_adddup2(&actions, control, STDIN_FILENO);
    if (error == 0) {
        error = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    }
    if (error == 0) {
        /* Not in our session: what a terminal sends to the server is not for its commands. */
        (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
        (void)posix_spawnattr_setsigmask(&attributes, &none);
        error = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, (char *const *)arguments,
                            environ); /* writes to none */
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    return error;
}

static struct runner *start_runner(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return NULL;
    }
    cleanup_fd int ours = pair[0];
    cleanup_fd int theirs = pair[1];
    cleanup_free struct runner *runner = calloc(1, sizeof(*runner));
    if (runner == NULL || fcntl(ours, F_SETFL, O_NONBLOCK) < 0) {
        return NULL;
    }
    pid_t pid;
    int error = execute_runner(theirs, &pid);
    if (error != 0) {
        errno = error;
        return NULL;
    }
    if (sweep_add_runner(pid) < 0) {
        return NULL; /* it ends when its socket does, which is now */
    }
    runner->control = (struct watch){.fd = ours, .urgent = true, .ready = hear_runner_control};
    if (loop_add(&runner->control) < 0) {
        return NULL;
    }
    (void)steal_fd(&ours);
    LIST_INSERT_HEAD(&pool.all, runner, entry);
    log_at(LOG_DEBUG, "runner %d started", (int)pid);
    return steal_pointer(runner);
}

/* Has so many wait. 0, or -1 with errno. */
static int fill(size_t wanted)
{
    while (pool.idle_count < wanted) {
        struct runner *runner = start_runner();
        if (runner == NULL) {
            return -1;
        }
        push_idle(runner);
    }
    return 0;
}

static void refill(void)
{
    /* Where they die as they start, one is enough to see whether they still do. */
    if (!may_start()) {
        loop_call_at(&refill_timer, pool.start_at);
    } else if (fill(pool.failures >= FAILURES_BORNE ? 1 : IDLE_KEPT) < 0) {
        log_line("cannot start a runner: %m");
        set_timer(&refill_timer, RETRY_SPAWN_MS);
    }
}

static void shrink(void)
{
    for (size_t spare = pool.idle_least; spare > IDLE_KEPT; spare--) {
        dismiss(pop_idle());
    }
    pool.idle_least = pool.idle_count;
    if (pool.idle_count > IDLE_KEPT) {
        set_timer(&shrink_timer, SHRINK_MS);
    }
}

int pool_open(const struct pool_options *options)
{
    pool.options = *options;
    if (fill(IDLE_KEPT) < 0) {
        return -1;
    }
    pool.idle_least = pool.idle_count;
    return 0;
}

static struct runner *take_runner(void)
{
    struct runner *runner = pop_idle();
    if (pool.idle_count < IDLE_KEPT) {
        set_timer(&refill_timer, REFILL_MS);
    }
    if (runner == NULL && !may_start()) {
        errno = ECHILD;
        return NULL;
    }
    return runner != NULL ? runner : start_runner();
}

/* A send to the runner has failed. Whether another runner may have the message, because this one is
 * dead; it is let go then, and also when it has `begun` to take the message. errno stays. */
static bool may_pass_on(struct runner *runner, bool begun)
{
    int error = errno;
    bool is_dead = error == EPIPE || error == ECONNRESET || error == EAGAIN;
    if (is_dead || begun) {
        dismiss(runner);
    } else {
        push_idle(runner);
    }
    errno = error;
    return is_dead;
}

int pool_run(const struct incoming *run)
{
    struct runner *runner;
    do {
        runner = take_runner();
        if (runner != NULL && message_forward(runner->control.fd, run) == 0) {
            return 0;
        }
    } while (runner != NULL && may_pass_on(runner, false));
    return -1;
}

int pool_start_job(struct message *job, int directory, const struct incoming *start,
                   job_answer_function *answer, void *context)
{
    struct runner *runner;
    bool begun = false; /* a runner with half of an order waits for the rest */
    do {
        runner = take_runner();
        begun = runner != NULL && message_send(runner->control.fd, job, &directory, 1) == 0;
        if (begun && message_forward(runner->control.fd, start) == 0) {
            runner->answer = answer;
            runner->context = context;
            return 0;
        }
    } while (runner != NULL && may_pass_on(runner, begun));
    return -1;
}

unsigned pool_failures(void)
{
    return pool.failures < FAILURES_BORNE ? 0 : pool.failures;
}

size_t pool_idle_count(void)
{
    return pool.idle_count;
}
