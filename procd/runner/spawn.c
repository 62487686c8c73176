/*
 * A shell is started as by vfork(2): the child borrows our memory until it executes, so no page
 * table is copied and an error comes back by plain assignment. The price is that the child may only
 * make system calls and write to its `struct launch`; everything else is prepared before. clone(2)
 * with a stack of its own is used, because sanitizers turn vfork into fork, and because nothing
 * returns twice.
 *
 * vfork(2) would make us wait as long as the child does, which is for ever where its working
 * directory is on a file system that does not answer. So we wait ourselves, for a limited time: the
 * kernel clears `launch.alive` when the child executes or ends (CLONE_CHILD_CLEARTID), and wakes
 * us.
 *
 * The child has no errno of its own, because it has no thread-local storage of its own: it reads
 * errno right after the call that failed. While we wait nobody else writes it: futex(2) does so
 * when the child has gone or the time is over, and no signal interrupts it. After that time we go
 * on, and the child writes errno when the call in which it hung fails, and where it looks for a
 * program. One side could
 * read the other's value only if two calls fail within a few instructions of each other; the child
 * would then give a wrong reason on the command's standard error.
 */
#include "procd/runner/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/in_child.h"
#include "common/pipe_order.h"
#include "common/start_directory.h"
#include "procd/runner/beneath.h"
#include "procd/runner/confinement.h"
#include "procd/runner/environment.h"
#include "procd/runner/program.h"

static const char *start_directory = "/";
static bool was_at_root; /* where the last command began: the start directory is gone */

/* How long a child may take to execute. After that it counts as hanging. */
#define EXECUTE_MAX_MS 3000
#define LOOK_AGAIN_S   1

void spawn_init(const char *directory)
{
    start_directory = directory;
}

int command_pipe_open(int *read_end, int *write_end, const int *ours)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -1;
    }
    *read_end = ends[0];
    *write_end = ends[1];
    return fcntl(*ours, F_SETFL, O_NONBLOCK) < 0 ? -1 : confinement_give(*write_end);
}

int command_pipes_open(const struct incoming *command, struct command_pipes *pipes)
{
    if (command_pipe_open(&pipes->out_read, &pipes->out_write, &pipes->out_read) < 0) {
        return -1;
    }
    if (message_number(command, FIELD_MERGE_STDERR, 0) != 0) {
        return 0;
    }
    if (command_pipe_open(&pipes->err_read, &pipes->err_write, &pipes->err_read) < 0) {
        return -1;
    }
    if (message_number(command, FIELD_ORDERED, 0) != 0) {
        const int readers[] = {pipes->out_read, pipes->err_read};
        pipes->watch = pipe_order_watch(readers);
        return pipes->watch < 0 ? -1 : 0;
    }
    return 0;
}

void command_pipes_close_writers(struct command_pipes *pipes)
{
    close_fd(&pipes->out_write);
    close_fd(&pipes->err_write);
}

void command_pipes_close(struct command_pipes *pipes)
{
    command_pipes_close_writers(pipes);
    close_fd(&pipes->out_read);
    close_fd(&pipes->err_read);
    close_fd(&pipes->watch);
}

/* Each side leaves LAUNCH_AWAITED for a state of its own, so exactly one of them reports an error.
 */
enum launch_state {
    LAUNCH_AWAITED,
    LAUNCH_FAILED, /* by the child: we report it */
    LAUNCH_LATE,   /* by us: the child reports it */
};

/* What the child needs, and what it leaves behind when it fails. */
struct launch {
    const char *cwd; /* or NULL */
    bool beneath;    /* see beneath.h */
    bool terminal;   /* `in` becomes the controlling terminal */
    bool is_at_root; /* out: there is no start directory */
    int in;          /* or -1 */
    int out, err;
    struct program program;
    char **environment;
    sigset_t mask;
    spawn_begin_function *begin; /* or NULL */
    const void *context;
    volatile enum spawn_stage stage;
    volatile int error;
    _Atomic enum launch_state state;
    volatile pid_t alive; /* 0 when it has executed or ended */
};

/* Whether this side is the first to leave LAUNCH_AWAITED. */
IN_CHILD static bool launch_settle(struct launch *launch, enum launch_state state)
{
    enum launch_state awaited = LAUNCH_AWAITED;
    return atomic_compare_exchange_strong(&launch->state, &awaited, state);
}

/* One of each is enough: while a child hangs, its runner takes no other command. */
static struct launch launched;
static char child_stack[16384] __attribute__((aligned(16)));

/* By its name, and as the command's user. Where a command has removed it, the root takes its place,
 * as for a login without a home. */
IN_CHILD static int enter_start_directory(struct launch *launch)
{
    if (launch->cwd != NULL && launch->cwd[0] == '/') {
        return 0;
    }
    if (chdir(start_directory) == 0) {
        return 0;
    }
    launch->is_at_root = start_directory_is_gone(errno);
    return launch->is_at_root ? chdir("/") : -1;
}

IN_CHILD static int execute(struct launch *launch)
{
    int script = launch->program.script;
    unsigned first_to_close = PROGRAM_SCRIPT_DESCRIPTOR + (script >= 0 ? 1 : 0);
    launch->stage = SPAWN_PREPARE;
    if (launch->begin != NULL && launch->begin(launch->context) < 0) {
        return -1;
    }
    if (setsid() < 0 || (launch->in >= 0 && dup2(launch->in, STDIN_FILENO) < 0) ||
        (launch->terminal && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0) ||
        dup2(launch->out, STDOUT_FILENO) < 0 || dup2(launch->err, STDERR_FILENO) < 0 ||
        (script >= 0 && dup2(script, PROGRAM_SCRIPT_DESCRIPTOR) < 0)) {
        return -1;
    }
    /* All our descriptors are close-on-exec; this is a second lock, so a kernel without it does no
     * harm. */
    (void)close_range(first_to_close, ~0U, 0);
    launch->stage = SPAWN_CONFINE;
    if (confinement_enter() < 0) {
        return -1;
    }
    /* A runner that is killed cannot end its tree any more, but its shell ends with it. Not set
     * before the change of user, which clears it (PR_SET_PDEATHSIG(2const)). */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) {
        return -1;
    }
    launch->stage = SPAWN_CHDIR;
    if (enter_start_directory(launch) < 0 || (launch->cwd != NULL && chdir(launch->cwd) < 0)) {
        return -1;
    }
    launch->stage = SPAWN_CONFINE;
    if (launch->beneath && beneath_enter() < 0) {
        return -1;
    }
    launch->stage = SPAWN_EXEC;
    (void)sigprocmask(SIG_SETMASK, &launch->mask, NULL); /* cannot fail with these arguments */
    return program_execute(&launch->program, launch->environment);
}

IN_CHILD static void say(const char *text)
{
    size_t length = 0;
    while (text[length] != '\0') {
        length++;
    }
    (void)!write(STDERR_FILENO, text, length);
}

/* On the command's own standard error, because it is too late for another answer. */
IN_CHILD static void say_error(const struct launch *launch)
{
    const char *reason = strerrordesc_np(launch->error); /* a constant, for any context */
    say(launch->stage == SPAWN_CHDIR ? "Invalid working directory: "
                                     : "Cannot start the command: ");
    say(reason == NULL ? "unknown error" : reason);
    say("\n");
}

IN_CHILD static int child_main(void *argument)
{
    struct launch *launch = argument;
    launch->error = execute(launch) < 0 ? errno : 0;
    if (!launch_settle(launch, LAUNCH_FAILED)) {
        say_error(launch);
    }
    _exit(127);
}

/* A time of CLOCK_MONOTONIC as the system call wants it, whatever time_t is. */
struct kernel_time {
    long seconds, nanoseconds;
};

static struct kernel_time deadline_after(int64_t milliseconds)
{
    int64_t at = clock_monotonic_ms() + milliseconds;
    return (struct kernel_time){(long)(at / 1000), (long)(at % 1000) * 1000000};
}

/* Waits until the child has executed or ended: true; or until the deadline, though not while the
 * child still works for us: false. */
IN_CHILD static bool await_execution(struct launch *launch, struct kernel_time deadline)
{
    while (launch->alive != 0) {
        long woken = syscall(SYS_futex, &launch->alive, FUTEX_WAIT_BITSET, 1, &deadline, NULL,
                             FUTEX_BITSET_MATCH_ANY);
        if (woken < 0 && errno == ETIMEDOUT) {
            if (launch->stage != SPAWN_PREPARE && launch_settle(launch, LAUNCH_LATE)) {
                return false;
            }
            deadline.seconds += LOOK_AGAIN_S;
        }
    }
    return true;
}

/* Starts the child and waits. Its pid, or -1 with errno; *is_executed as of await_execution(). */
IN_CHILD static pid_t run_child(struct launch *launch, struct kernel_time deadline,
                                bool *is_executed)
{
    pid_t pid =
        clone(child_main, child_stack + sizeof(child_stack),
              CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, launch, NULL, NULL, &launch->alive);
    if (pid >= 0) {
        *is_executed = await_execution(launch, deadline);
    }
    return pid;
}

static int spawn_child(struct launch *launch, int64_t patience_ms, pid_t *pid,
                       struct spawn_error *error)
{
    bool is_executed = false;
    launch->alive = 1;
    confinement_rank(true);
    *pid = run_child(launch, deadline_after(patience_ms), &is_executed);
    int clone_error = errno;
    confinement_rank(false);
    if (*pid < 0) {
        *error = (struct spawn_error){.stage = SPAWN_PREPARE, .error = clone_error};
        return -1;
    }
    if (!is_executed) {
        return 1;
    }
    if (launch->state == LAUNCH_FAILED) {
        *error = (struct spawn_error){.stage = launch->stage, .error = launch->error};
        (void)waitpid(*pid, NULL, 0); /* it has exited already */
        return -1;
    }
    return 0;
}

/* Of a child that hangs, which still uses it. Its runner takes the next command when it does not
 * any more. */
static struct {
    char **environment;
    struct program program;
} lent = {.program = PROGRAM_NONE};

static void lent_clear(void)
{
    free(steal_pointer(lent.environment));
    program_clear(&lent.program);
}

int spawn_shell(const struct incoming *command, int input, const struct command_pipes *pipes,
                spawn_begin_function *begin, const void *context, int64_t patience_ms, pid_t *pid,
                struct spawn_error *error)
{
    cleanup_free char **environment = environment_merge(command);
    cleanup_(program_clear) struct program program = PROGRAM_NONE;
    lent_clear();
    if (environment == NULL || program_prepare(command, environment, &program) < 0) {
        *error = (struct spawn_error){.stage = SPAWN_PREPARE, .error = errno};
        return -1;
    }
    launched = (struct launch){
        .cwd = message_text(command, FIELD_CWD),
        .beneath = message_number(command, FIELD_BENEATH, 0) != 0,
        .terminal = message_number(command, FIELD_COLS, 0) != 0,
        .in = input,
        .out = pipes->out_write,
        .err = pipes->err_write >= 0 ? pipes->err_write : pipes->out_write,
        .program = program,
        .environment = environment,
        .begin = begin,
        .context = context,
    };
    sigemptyset(&launched.mask);
    bool is_bounded = patience_ms >= 0 && patience_ms < EXECUTE_MAX_MS;
    int result = spawn_child(&launched, is_bounded ? patience_ms : EXECUTE_MAX_MS, pid, error);
    was_at_root = launched.is_at_root;
    if (result > 0) {
        lent.environment = steal_pointer(environment);
        lent.program = program;
        program = (struct program)PROGRAM_NONE;
    }
    return result;
}

const char *spawn_start_directory(void)
{
    return was_at_root ? "/" : start_directory;
}
