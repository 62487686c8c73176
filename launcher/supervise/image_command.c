/*
 * A terminal of our session is lent to the command as a shell does it: the command is the
 * foreground process group, so that Ctrl-C reaches it and not the server, and a shell in it has job
 * control. It cannot have a session of its own then, since a terminal belongs to one session. Any
 * other terminal becomes that of the command's session.
 */
#include "launcher/supervise/image_command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "common/capability.h"
#include "common/cleanup.h"
#include "common/logger.h"
#include "common/settings.h"
#include "common/user.h"
#include "launcher/supervise/terminal_guard.h"
#include "procd/runner/environment.h"

#define EXIT_NOT_FOUND      127
#define EXIT_NOT_EXECUTABLE 126

/* ---- the terminal ---- */

/* The first standard descriptor that is a terminal, or -1. */
static int find_terminal(void)
{
    int fd = STDIN_FILENO;
    while (fd <= STDERR_FILENO && isatty(fd) == 0) {
        fd++;
    }
    return fd <= STDERR_FILENO ? fd : -1;
}

static bool is_of_our_session(int terminal)
{
    return terminal >= 0 && tcgetsid(terminal) == getsid(0);
}

/* In the child, with all signals blocked, so that the terminal's do not stop it. Only a server in
 * the foreground can pass it on. 0, or -1 with errno. */
static int take_terminal(int terminal)
{
    if (!is_of_our_session(terminal)) {
        if (setsid() < 0) {
            return -1;
        }
        /* A terminal of another session stays with it. */
        return terminal < 0 ? 0 : (int)((void)ioctl(terminal, TIOCSCTTY, 0), 0);
    }
    bool is_foreground = tcgetpgrp(terminal) == getpgrp();
    return setpgid(0, 0) < 0 || (is_foreground && tcsetpgrp(terminal, getpgrp()) < 0) ? -1 : 0;
}

/* Our signals are blocked, so that this does not stop us. */
static void take_back_terminal(struct image_command *command)
{
    if (command->terminal >= 0 && tcgetpgrp(command->terminal) != getpgrp()) {
        (void)tcsetpgrp(command->terminal, getpgrp());
    }
    close_fd(&command->terminal);
}

/* ---- the child ---- */

/* Another user's command must not type what the shell above the server reads afterwards. If the
 * server leads the session there is no such shell. */
static int guard_terminal(const struct user *user, pid_t server)
{
    if (user == NULL || !is_of_our_session(find_terminal())) {
        return 0;
    }
    return terminal_guard() < 0 && getsid(0) != server ? -1 : 0;
}

/* It has no more rights than other commands of this user, which could reach it by ptrace(2). */
static int command_become(const struct settings *settings, const struct user *user, pid_t server)
{
    if (user != NULL && (capability_drop_inheritable() < 0 || environment_adopt(user) < 0)) {
        return -1;
    }
    if (settings->allow_setuid == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return -1;
    }
    return guard_terminal(user, server) < 0 ? -1 : user == NULL ? 0 : user_become(user);
}

/* A killed server cannot end the command. Called after the change of user, which would undo it
 * (PR_SET_PDEATHSIG(2const)). */
static int end_with(pid_t server)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) {
        return -1;
    }
    if (getppid() != server) {
        errno = ESRCH;
        return -1;
    }
    return 0;
}

static _Noreturn void command_execute(char *const arguments[], const struct settings *settings,
                                      const struct user *user, pid_t server)
{
    sigset_t none;
    sigemptyset(&none);
    settings_leave_environment();
    closefrom(STDERR_FILENO + 1);
    if (take_terminal(find_terminal()) < 0 || command_become(settings, user, server) < 0 ||
        end_with(server) < 0 || sigprocmask(SIG_SETMASK, &none, NULL) < 0) {
        log_line("cannot start %s: %m", arguments[0]);
        _exit(EXIT_NOT_EXECUTABLE);
    }
    (void)execvp(arguments[0], arguments);
    bool is_missing = errno == ENOENT || errno == ENOTDIR;
    log_line("cannot execute %s: %m", arguments[0]);
    _exit(is_missing ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

/* ---- the parent ---- */

static void give_up_input(void)
{
    cleanup_fd int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing >= 0) {
        (void)dup2(nothing, STDIN_FILENO);
    }
}

int image_command_start(struct image_command *command, const struct settings *settings,
                        const struct user *user)
{
    int terminal = find_terminal();
    command->terminal =
        is_of_our_session(terminal) ? fcntl(terminal, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;
    pid_t server = getpid();
    command->pid = fork();
    if (command->pid == 0) {
        command_execute(command->arguments, settings, user, server);
    }
    if (command->pid < 0) {
        command->pid = 0;
        log_line("cannot start %s: %m", command->arguments[0]);
        close_fd(&command->terminal);
        return -1;
    }
    give_up_input();
    return 0;
}

void image_command_changed(struct image_command *command, int wait_status)
{
    if (WIFSTOPPED(wait_status)) {
        /* Ctrl-Z; no shell is above us that could continue it */
        if (WSTOPSIG(wait_status) == SIGTSTP) {
            (void)kill(-command->pid, SIGCONT);
        }
        return;
    }
    command->code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
    command->pid = 0;
    take_back_terminal(command);
}
