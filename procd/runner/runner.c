/*
 * A runner waits for a command, has it, and waits for the next, until a command leaves something
 * behind. A background job is like any other command here.
 */
#include "procd/runner/runner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "common/io.h"
#include "common/logger.h"
#include "common/resource_limit.h"
#include "common/settings.h"
#include "common/user.h"
#include "procd/process/mark.h"
#include "procd/process/reap.h"
#include "procd/process/runners.h"
#include "procd/runner/background.h"
#include "procd/runner/confinement.h"
#include "procd/runner/environment.h"
#include "procd/runner/foreground.h"
#include "procd/runner/linger.h"
#include "procd/runner/program.h"
#include "procd/runner/runner_cgroup.h"
#include "procd/runner/running.h"
#include "procd/runner/spawn.h"
#include "procd/wire/protocol.h"

/* How long a runner waits for the next command of the same client, before it is anybody's. */
#define KEPT_MS 3000

static struct settings settings;
static char packets[2][MESSAGE_PACKET_MAX]; /* of a command, and of what comes after it */

/*
 * All signals stay blocked, so that none ends a runner before its tree. SIGCHLD and the order to
 * stop are read from a descriptor. Dispositions are set to default here once, for all commands.
 */
static int take_signals(void)
{
    sigset_t all;
    sigset_t heard;
    sigfillset(&all);
    sigemptyset(&heard);
    sigaddset(&heard, SIGCHLD);
    sigaddset(&heard, RUNNER_STOP_SIGNAL);
    if (sigprocmask(SIG_SETMASK, &all, NULL) < 0) {
        return -1;
    }
    /* By the bare system call: libc keeps signals 32 and 33 for its threads. */
    static const char default_action[64];
    for (long number = 1; number < NSIG; number++) {
        (void)syscall(SYS_rt_sigaction, number, default_action, NULL, (long)(NSIG - 1) / 8);
    }
    return signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* procd raises its own soft limit; commands get the one it was started with. */
static void lower_descriptor_limit(long soft)
{
    struct rlimit limit;
    if (soft >= 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = (rlim_t)soft < limit.rlim_max ? (rlim_t)soft : limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
            log_at(LOG_WARNING, "runner: setrlimit: %m");
        }
    }
}

/* ---- foreground commands ---- */

/* Whether the runner is free for the next command. If not, it must stay for *left. */
static bool run_command(const struct incoming *message, int *lease, int *input, int signals,
                        struct leftover *left)
{
    logger_set_request(message_text(message, FIELD_REQUEST_ID));
    return foreground_run(message, lease, input, signals, left) && runner_cgroup_is_clean();
}

/* Waits for the client's next command. False when the client has closed the lease or sends none for
 * a while, so that the runner is for others, or when procd has gone. */
static bool await_next(int lease, int control)
{
    struct pollfd polled[] = {{.fd = lease, .events = POLLIN}, {.fd = control, .events = POLLIN}};
    return io_poll(polled, 2, KEPT_MS) > 0 && polled[0].revents == POLLIN && polled[1].revents == 0;
}

/* The client does not wait for what it has sent (client_run.c): it must not begin. */
static bool is_given_up(int lease)
{
    struct pollfd client = {.fd = lease, .events = POLLRDHUP};
    int ready;
    do {
        ready = poll(&client, 1, 0);
    } while (ready < 0 && errno == EINTR);
    return ready != 0;
}

/* The client's next command, which is in the lease. Without one the lease is closed. */
static bool run_next(int *lease, int signals, struct leftover *left)
{
    cleanup_incoming struct incoming message = {0};
    if (message_receive(*lease, packets[1], sizeof(packets[1]), &message, MSG_DONTWAIT) != 1 ||
        message.type != MESSAGE_RUN || message_open(&message) < 0 || is_given_up(*lease)) {
        close_fd(lease);
        return true;
    }
    cleanup_fd int input = message_take_descriptor(&message, 0);
    return run_command(&message, lease, &input, signals, left);
}

/* Runs a command that procd has handed over, and those that its client sends over the lease
 * afterwards. Whether the runner is free for other clients. If not, it must stay for *left. */
static bool run_foreground(struct incoming *message, int control, int signals,
                           struct leftover *left)
{
    cleanup_fd int lease = message_take_descriptor(message, 0);
    cleanup_fd int input = message_take_descriptor(message, 1);
    /* A client that has gone already needs no start; one that has not sees the end of the lease. */
    if (lease < 0 || message_open(message) < 0 || message_send_plain(lease, MESSAGE_BEGIN) < 0) {
        return true;
    }
    bool is_free = run_command(message, &lease, &input, signals, left);
    while (is_free && lease >= 0 && await_next(lease, control)) {
        is_free = run_next(&lease, signals, left);
    }
    return is_free;
}

/* ---- background jobs ---- */

/* The next command may come once nothing is left of the job, as after a foreground command. */
static bool is_free_after_job(const struct leftover *left, int control)
{
    return left->pipes[0] < 0 && left->pipes[1] < 0 && !reap_children(NULL) &&
           runner_cgroup_is_clean() && message_send_plain(control, MESSAGE_IDLE) == 0;
}

/* As run_foreground(). */
static bool run_background(struct incoming *order, int *control, int signals, struct leftover *left)
{
    cleanup_incoming struct incoming command = {0};
    if (message_receive(*control, packets[1], sizeof(packets[1]), &command, 0) != 1) {
        return false;
    }
    if (message_open(order) < 0 || message_open(&command) < 0 || command.type != MESSAGE_START ||
        !program_is_given(&command)) {
        incoming_clear(order); /* without a directory the answer is a failure */
        order->fields_length = 0;
    } else {
        logger_set_request(message_text(&command, FIELD_REQUEST_ID));
    }
    return !background_run(order, &command, settings.log_max, control, signals, left) ||
           is_free_after_job(left, *control);
}

static bool runner_take_message(struct incoming *message, int *control, int signals,
                                struct leftover *left)
{
    if (message->type == MESSAGE_RUN) {
        return run_foreground(message, *control, signals, left) &&
               message_send_plain(*control, MESSAGE_IDLE) == 0;
    }
    if (message->type == MESSAGE_JOB) {
        return run_background(message, control, signals, left);
    }
    log_at(LOG_WARNING, "runner: message %d is not for a runner", (int)message->type);
    return false;
}

/* Once, and only while no command waits: a runner that a burst has started begins its command
 * first. */
static void enter_cgroup_if_idle(int control, bool *wanted)
{
    struct pollfd command = {.fd = control, .events = POLLIN};
    if (*wanted && poll(&command, 1, 0) == 0) {
        (void)runner_cgroup_enter_early();
        *wanted = false;
    }
}

/* Reads the settings, which the environment then loses, and prepares for commands. */
static bool runner_prepare(const struct runner_options *options)
{
    static struct user user;
    if (settings_take(&settings) < 0) {
        return false;
    }
    running_init(settings.stop_grace_ms);
    if (options->user != NULL && user_parse(options->user, &user) < 0) {
        log_line("runner: invalid user: %s", options->user);
        return false;
    }
    static struct resource_limit limits[RESOURCE_LIMITS];
    if (options->limits != NULL && resource_limits_parse(options->limits, limits) < 0) {
        log_line("runner: invalid limits: %s", options->limits);
        return false;
    }
    if (confinement_prepare(&settings, options->user == NULL ? NULL : &user,
                            options->limits == NULL ? NULL : limits) < 0) {
        log_line("runner: cannot limit commands: %m");
        return false;
    }
    settings_leave_environment();
    if (environment_choose_locale() < 0) {
        log_line("runner: LANG: %m");
        return false;
    }
    return true;
}

int runner_main(const struct runner_options *options)
{
    struct leftover left = {.lease = -1, .pipes = {-1, -1}};
    cleanup_fd int control = descriptor_take_stdin();
    cleanup_fd int signals = take_signals();
    if (control < 0 || signals < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        log_line("runner: cannot start: %m");
        return 1;
    }
    (void)prctl(PR_SET_NAME, "runner"); /* exec'ed as /proc/self/exe, it would be "exe" in ps */
    lower_descriptor_limit(options->descriptor_limit);
    if (mark_self() < 0) {
        log_at(LOG_WARNING, "runner: RLIMIT_LOCKS: %m");
    }
    if (!runner_prepare(options)) {
        return 1;
    }
    if (options->directory != NULL) {
        spawn_init(options->directory);
    }
    runner_cgroup_init(options->cgroup, &settings);
    bool cgroup_wanted = options->cgroup != NULL;
    if (options->cgroup_first && cgroup_wanted) {
        if (!runner_cgroup_enter_early()) {
            return 1; /* nothing has begun, so procd starts another */
        }
        cgroup_wanted = false;
    }
    bool free_for_next = true;
    while (free_for_next) {
        cleanup_incoming struct incoming message = {0};
        logger_set_request(NULL);
        enter_cgroup_if_idle(control, &cgroup_wanted);
        int received = message_receive(control, packets[0], sizeof(packets[0]), &message, 0);
        free_for_next = received == 1 && runner_take_message(&message, &control, signals, &left);
    }
    close_fd(&control);
    linger(&left, signals);
    return 0;
}
