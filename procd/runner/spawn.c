/*
 * Starting a shell as vfork(2) does: the child borrows our memory until it executes, so no page
 * table is copied and an error comes back by plain assignment. The price is that the child may only
 * make system calls and write to its `struct launch`; all else is prepared before. It is clone(2)
 * with the same flags and a stack of its own, because sanitizers turn vfork into fork, and nothing
 * returns twice.
 */
#include "procd/runner/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/in_child.h"
#include "common/io.h"
#include "common/pipe_order.h"
#include "procd/runner/confinement.h"
#include "procd/runner/environment.h"
#include "procd/wire/memory_file.h"

/*
 * The kernel takes no argument longer than 32 pages with its NUL (MAX_ARG_STRLEN, execve(2)). A
 * longer command goes into a memory file, and the shell's own command reads it there; descriptor 3
 * is closed before anything of the command runs, and $0 stays what it was.
 */
#define ARGUMENT_MAX      ((size_t)131072 - 1)
#define SCRIPT_DESCRIPTOR 3
#define SCRIPT_COMMAND                                                                             \
    "eval \" $(/bin/cat <&3)\" 3<&-" /* the space: eval may have options, too                      \
                                      */

static const char *start_directory = "/";
static bool was_at_root; /* the last command began there, for want of it */

/* How long a child may take to execute: the working directory may be on a disk that is slow. */
#define EXECUTE_MAX_S 10

void spawn_init(const char *directory)
{
    start_directory = directory;
}

static int open_pipe(int *read_end, int *write_end)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -1;
    }
    *read_end = ends[0];
    *write_end = ends[1];
    return io_set_nonblocking(*read_end, 1) < 0 ? -1 : confinement_give(*write_end);
}

static int open_pipes(const struct incoming *command, struct command_pipes *pipes)
{
    if (open_pipe(&pipes->out_read, &pipes->out_write) < 0) {
        return -1;
    }
    if (message_number(command, FIELD_MERGE_STDERR, 0) != 0) {
        return 0;
    }
    if (open_pipe(&pipes->err_read, &pipes->err_write) < 0) {
        return -1;
    }
    if (message_number(command, FIELD_ORDERED, 0) != 0) {
        const int readers[] = {pipes->out_read, pipes->err_read};
        pipes->watch = pipe_order_watch(readers);
        return pipes->watch < 0 ? -1 : 0;
    }
    return 0;
}

int command_pipes_open(const struct incoming *command, struct command_pipes *pipes)
{
    *pipes = (struct command_pipes)COMMAND_PIPES_NONE;
    if (open_pipes(command, pipes) < 0) {
        int saved = errno;
        command_pipes_close(pipes);
        errno = saved;
        return -1;
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

/* What the child needs, and what it leaves behind when it fails. */
struct launch {
    const char *cwd; /* or NULL */
    bool is_at_root; /* out: there is no start directory */
    int in;          /* or -1 */
    int out, err;
    int script; /* or -1 */
    char *arguments[5];
    char **environment;
    sigset_t mask;
    spawn_begin_function *begin; /* or NULL */
    const void *context;
    volatile enum spawn_stage stage;
    volatile int error;
};

/* The child's stack: one is enough, because we wait while it is in use. */
static char child_stack[16384] __attribute__((aligned(16)));

/* By its name, and as the command's user. A command may have removed it: then in the root, as a
 * login without a home. */
IN_CHILD static int enter_start_directory(struct launch *launch)
{
    if (launch->cwd != NULL && launch->cwd[0] == '/') {
        return 0;
    }
    launch->is_at_root = chdir(start_directory) < 0;
    return launch->is_at_root ? chdir("/") : 0;
}

IN_CHILD static int execute(struct launch *launch)
{
    unsigned first_to_close = launch->script >= 0 ? SCRIPT_DESCRIPTOR + 1 : SCRIPT_DESCRIPTOR;
    launch->stage = SPAWN_PREPARE;
    if (launch->begin != NULL && launch->begin(launch->context) < 0) {
        return -1;
    }
    if (setsid() < 0 || (launch->in >= 0 && dup2(launch->in, STDIN_FILENO) < 0) ||
        dup2(launch->out, STDOUT_FILENO) < 0 || dup2(launch->err, STDERR_FILENO) < 0 ||
        (launch->script >= 0 && dup2(launch->script, SCRIPT_DESCRIPTOR) < 0)) {
        return -1;
    }
    /* Everything we have is close-on-exec; this is the second lock, so a kernel without it is fine.
     */
    (void)close_range(first_to_close, ~0U, 0);
    launch->stage = SPAWN_CONFINE;
    if (confinement_enter() < 0) {
        return -1;
    }
    /* A runner that is killed cannot end its tree any more: this much of it ends by itself. Not
     * before the change of user, which takes it back (PR_SET_PDEATHSIG(2const)). */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) {
        return -1;
    }
    launch->stage = SPAWN_CHDIR;
    if (enter_start_directory(launch) < 0 || (launch->cwd != NULL && chdir(launch->cwd) < 0)) {
        return -1;
    }
    launch->stage = SPAWN_EXEC;
    (void)sigprocmask(SIG_SETMASK, &launch->mask, NULL); /* cannot fail with these arguments */
    return execve("/bin/sh", launch->arguments, launch->environment);
}

IN_CHILD static int child_main(void *argument)
{
    struct launch *launch = argument;
    (void)execute(launch);
    launch->error = errno;
    _exit(127);
}

/* The memory file with the command, out of the way of the descriptor it will have. */
static int make_script(const char *cmd, size_t length)
{
    cleanup_fd int fd = memory_file_create("command");
    if (fd < 0 || io_write_all(fd, cmd, length) < 0 || lseek(fd, 0, SEEK_SET) < 0) {
        return -1;
    }
    return fcntl(fd, F_DUPFD_CLOEXEC, SCRIPT_DESCRIPTOR + 1);
}

/*
 * Another process of the user that a child has become may stop it before it executes, and then
 * nothing but our death ends our wait for it. So we die, and our tree is ended by procd (sweep.h).
 * Arms the timer for that, or disarms it. 0, or -1 with errno.
 */
static int set_alarm(time_t seconds)
{
    static timer_t timer;
    static bool made;
    if (!confinement_changes_user()) {
        return 0;
    }
    if (!made) {
        struct sigevent death = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
        if (timer_create(CLOCK_MONOTONIC, &death, &timer) < 0) {
            return -1;
        }
        made = true;
    }
    const struct itimerspec in = {.it_value.tv_sec = seconds};
    return timer_settime(timer, 0, &in, NULL);
}

static int start(struct launch *launch, pid_t *pid, struct spawn_error *error)
{
    *pid = set_alarm(EXECUTE_MAX_S) < 0 ? -1
                                        : clone(child_main, child_stack + sizeof(child_stack),
                                                CLONE_VM | CLONE_VFORK | SIGCHLD, launch);
    int saved = errno;
    (void)set_alarm(0); /* cannot fail with these arguments */
    if (*pid < 0) {
        *error = (struct spawn_error){.stage = SPAWN_PREPARE, .error = saved};
        return -1;
    }
    if (launch->error != 0) {
        *error = (struct spawn_error){.stage = launch->stage, .error = launch->error};
        (void)waitpid(*pid, NULL, 0); /* it has exited: that is how we came here */
        return -1;
    }
    return 0;
}

int spawn_shell(const struct incoming *command, int input, const struct command_pipes *pipes,
                spawn_begin_function *begin, const void *context, pid_t *pid,
                struct spawn_error *error)
{
    static char shell[] = "sh";
    static char option[] = "-c";
    static char end_of_options[] = "--";
    static char script_command[] = SCRIPT_COMMAND;
    const char *cmd = message_text(command, FIELD_CMD);
    if (cmd == NULL) {
        *error = (struct spawn_error){.stage = SPAWN_PREPARE, .error = EINVAL};
        return -1;
    }
    size_t length = strlen(cmd);
    bool is_long = length > ARGUMENT_MAX;
    cleanup_free char **environment = environment_merge(command);
    cleanup_fd int script = is_long ? make_script(cmd, length) : -1;
    if (environment == NULL || (is_long && script < 0)) {
        *error = (struct spawn_error){.stage = SPAWN_PREPARE, .error = errno};
        return -1;
    }
    struct launch launch = {
        .cwd = message_text(command, FIELD_CWD),
        .in = input,
        .out = pipes->out_write,
        .err = pipes->err_write >= 0 ? pipes->err_write : pipes->out_write,
        .script = script,
        .arguments = {shell, option, end_of_options,
                      is_long ? script_command : (char *)(uintptr_t)cmd, NULL},
        .environment = environment,
        .begin = begin,
        .context = context,
    };
    sigemptyset(&launch.mask);
    int result = start(&launch, pid, error);
    was_at_root = launch.is_at_root;
    return result;
}

const char *spawn_start_directory(void)
{
    return was_at_root ? "/" : start_directory;
}

int spawn_send_failure(int socket, enum spawn_stage stage, int error)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_FAILED);
    message_add_number(&message, FIELD_STAGE, stage);
    message_add_number(&message, FIELD_ERROR, error);
    return message_send(socket, &message, NULL, 0);
}
