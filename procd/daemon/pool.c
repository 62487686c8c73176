/*
 * Idle runners on a stack, so that the one that ran last, whose memory is warm, runs next.
 */
#include "procd/daemon/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/analyzer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "procd/cgroup/cgroup.h"
#include "procd/daemon/sweep.h"
#include "procd/process/runners.h"

#define IDLE_KEPT      4     /* ready at any time */
#define FAILURES_BORNE 3     /* runners that die one after the other before a start is put off */
#define REFILL_MOST_MS 10000 /* how long it is put off at most */
#define IDLE_MAX       256   /* more are let go at once */
#define REFILL_MS      20    /* after the last one was taken: not in the middle of a burst */
#define SHRINK_MS      3000  /* what was idle all this time is too many */
#define RETRY_SPAWN_MS 1000

struct runner {
    struct watch control; /* first: a watch is its runner */
    struct runner *next;  /* of all */
    struct runner **link; /* what points here */
    struct runner *below; /* on the stack of idle ones */
    job_answer_function *answer;
    void *context; /* both of the job that it is starting */
};

static struct {
    struct pool_options options;
    struct runner *all;
    struct runner *idle;
    size_t idle_count;
    size_t idle_least; /* since the last look at the number of idle ones */
    unsigned failures; /* runners in a row that died before they took a command */
    int64_t start_at;  /* after some of these, not before */
} pool;

static void refill(struct timer *timer);
static void shrink(struct timer *timer);
static struct timer refill_timer = {.due = refill};
static struct timer shrink_timer = {.due = shrink};

static void set_timer(struct timer *timer, int64_t in_ms)
{
    if (timer->at == 0) {
        timer->at = clock_monotonic_ms() + in_ms;
    }
}

static void push_idle(struct runner *runner)
{
    runner->below = pool.idle;
    pool.idle = runner;
    pool.idle_count++;
    if (pool.idle_count > IDLE_KEPT) {
        set_timer(&shrink_timer, SHRINK_MS);
    }
}

/* Takes the runner that `link`, on the stack, points at. */
static struct runner *take_idle(struct runner **link)
{
    struct runner *runner = *link;
    *link = runner->below;
    pool.idle_count--;
    if (pool.idle_count < pool.idle_least) {
        pool.idle_least = pool.idle_count;
    }
    return runner;
}

static struct runner *pop_idle(void)
{
    return pool.idle == NULL ? NULL : take_idle(&pool.idle);
}

static void remove_idle(const struct runner *runner)
{
    for (struct runner **link = &pool.idle; *link != NULL; link = &(*link)->below) {
        if (*link == runner) {
            (void)take_idle(link);
            return;
        }
    }
}

/* A runner says by its exit that it could not start: most likely the next cannot, either. */
static void note_failure(void)
{
    pool.failures++;
    if (pool.failures < FAILURES_BORNE) {
        return;
    }
    unsigned doublings = pool.failures - FAILURES_BORNE;
    int64_t delay_ms = doublings > 9 ? REFILL_MOST_MS : (int64_t)REFILL_MS << doublings;
    delay_ms = delay_ms > REFILL_MOST_MS ? REFILL_MOST_MS : delay_ms;
    if (pool.failures == FAILURES_BORNE) {
        log_line("runners die as they start; they are tried again, ever more seldom");
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

/* Lets a runner go: it ends when its control socket does, and what it has to do is done. */
static void dismiss(struct runner *runner)
{
    loop_close(&runner->control);
    if (runner->answer != NULL) {
        runner->answer(runner->context, NULL);
    }
    *runner->link = runner->next;
    if (runner->next != NULL) {
        runner->next->link = runner->link;
    }
    free(runner);
    if (pool.idle_count < IDLE_KEPT) {
        set_timer(&refill_timer, REFILL_MS);
    }
}

/* A message of a runner, or its end. */
static void hear(struct watch *watch)
{
    struct runner *runner = (struct runner *)watch;
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    int received = message_receive(watch->fd, packet, sizeof(packet), &message, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) {
        return;
    }
    if (received != 1 || message_open(&message) < 0) {
        remove_idle(runner);
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
        dismiss(runner); /* it has a job for life */
    } else if (pool.idle_count >= IDLE_MAX) {
        dismiss(runner);
    } else {
        push_idle(runner);
    }
}

/* The command line of a runner: runner.h, and the options of main.c. */
static void describe_runner(char *arguments[], char limit[32])
{
    static char name[] = RUNNER_NAME;
    static char runner[] = RUNNER_OPTION;
    static char descriptors[] = "--descriptors";
    static char in_cgroup[] = "--cgroup";
    static char first[] = "--cgroup-first";
    static char as_user[] = "--user";
    static char in_directory[] = "--directory";
    static char limits[] = "--limits";
    const char *cgroup = cgroup_path();
    (void)snprintf(limit, 32, "%ld", pool.options.descriptor_limit);
    *arguments++ = name;
    *arguments++ = runner;
    *arguments++ =
        (char *)(uintptr_t)pool.options.run_directory; /* execve(2) does not write to it */
    *arguments++ = descriptors;
    *arguments++ = limit;
    if (cgroup != NULL) {
        *arguments++ = in_cgroup;
        *arguments++ = (char *)(uintptr_t)cgroup;
        if (!sweep_has_supervisor()) {
            *arguments++ = first;
        }
    }
    *arguments++ = in_directory;
    *arguments++ = (char *)(uintptr_t)pool.options.directory;
    *arguments++ = limits;
    *arguments++ = (char *)(uintptr_t)pool.options.limits;
    if (pool.options.user != NULL) {
        *arguments++ = as_user;
        *arguments++ = (char *)(uintptr_t)pool.options.user;
    }
    *arguments = NULL;
}

/* Executes another runner, with `control` as its descriptor 0 and nothing else of ours. 0 with
 * *pid, or the error. */
static int execute(int control, pid_t *pid)
{
    static char executable[] = "/proc/self/exe";
    char limit[32];
    char *arguments[15];
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
        error = posix_spawn(pid, executable, &actions, &attributes, arguments, environ);
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
    int error = execute(theirs, &pid);
    if (error != 0) {
        errno = error;
        return NULL;
    }
    if (sweep_add_runner(pid) < 0) {
        return NULL; /* it ends when its socket does, which is now */
    }
    runner->control = (struct watch){.fd = ours, .urgent = true, .ready = hear};
    if (loop_add(&runner->control) < 0) {
        return NULL;
    }
    (void)steal_fd(&ours);
    runner->next = pool.all;
    runner->link = &pool.all;
    if (pool.all != NULL) {
        pool.all->link = &runner->next;
    }
    pool.all = runner;
    log_at(LOG_DEBUG, "runner %d started", (int)pid);
    return steal_pointer(runner);
}

static void refill(struct timer *timer)
{
    if (!may_start()) {
        timer->at = pool.start_at;
        return;
    }
    /* Where they die as they start, one is enough to see whether they still do. */
    size_t wanted = pool.failures >= FAILURES_BORNE ? 1 : IDLE_KEPT;
    while (pool.idle_count < wanted) {
        struct runner *runner = start_runner();
        if (runner == NULL) {
            log_line("cannot start a runner: %m");
            set_timer(timer, RETRY_SPAWN_MS);
            return;
        }
        push_idle(runner);
    }
}

static void shrink(struct timer *timer)
{
    for (size_t spare = pool.idle_least; spare > IDLE_KEPT; spare--) {
        dismiss(pop_idle());
    }
    pool.idle_least = pool.idle_count;
    if (pool.idle_count > IDLE_KEPT) {
        set_timer(timer, SHRINK_MS);
    }
}

int pool_open(const struct pool_options *options)
{
    pool.options = *options;
    sweep_tell_failures(note_failure);
    loop_add_timer(&refill_timer);
    loop_add_timer(&shrink_timer);
    while (pool.idle_count < IDLE_KEPT) {
        struct runner *runner = start_runner();
        if (runner == NULL) {
            return -1;
        }
        push_idle(runner);
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

/* Whether a failed send means that this runner is dead, so that another may have the message. */
static bool runner_is_dead(void)
{
    return errno == EPIPE || errno == ECONNRESET || errno == EAGAIN;
}

int pool_run(const struct incoming *run)
{
    for (;;) {
        struct runner *runner = take_runner();
        if (runner == NULL) {
            return -1;
        }
        if (message_forward(runner->control.fd, run) == 0) {
            return 0;
        }
        if (!runner_is_dead()) {
            int saved = errno;
            push_idle(runner);
            errno = saved;
            return -1;
        }
        dismiss(runner);
    }
}

int pool_start_job(struct message *job, int directory, const struct incoming *start,
                   job_answer_function *answer, void *context)
{
    for (;;) {
        struct runner *runner = take_runner();
        if (runner == NULL) {
            return -1;
        }
        if (message_send(runner->control.fd, job, &directory, 1) == 0) {
            if (message_forward(runner->control.fd, start) == 0) {
                runner->answer = answer;
                runner->context = context;
                return 0;
            }
            /* Half an order: this runner waits for the other half, and ends when we hang up. */
        } else if (!runner_is_dead()) {
            int saved = errno;
            push_idle(runner);
            errno = saved;
            return -1;
        }
        bool dead = runner_is_dead();
        int saved = errno;
        dismiss(runner);
        if (!dead) {
            errno = saved;
            return -1;
        }
    }
}

unsigned pool_failures(void)
{
    return pool.failures < FAILURES_BORNE ? 0 : pool.failures;
}

size_t pool_idle_count(void)
{
    return pool.idle_count;
}

void pool_close(void)
{
    ANALYZER_OFF(
        "-Wanalyzer-use-after-free") /* dismiss() moves pool.all on, by the runner's link */
    while (pool.all != NULL) {
        /* A job that is just being started is not answered for: the next procd will find it. */
        if (pool.all->answer != NULL) {
            pool.all->answer = NULL;
            free(pool.all->context);
        }
        dismiss(pool.all);
    }
    ANALYZER_ON
    pool.idle = NULL;
    pool.idle_count = 0;
}
