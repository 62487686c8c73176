/*
 * What fcgi-app's seccomp filter refuses, and what it lets pass, in a child that has it. The
 * arguments are such that the kernel would say something else than the filter, and do nothing;
 * where it says EPERM itself to a user without rights, only a run as root shows whose answer it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "identity/seccomp.h"

/* ---- a child with the filter ---- */

/* Whether there is a filter to be tested: no memory for one is an error that only a kernel with
 * filters knows. */
static bool has_filter(void)
{
#if defined(__x86_64__) || defined(__AARCH64EL__)
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) < 0 && errno == EFAULT;
#else
    return false;
#endif
}

/* Runs `check` in a child that has the filter; it says what is wrong and returns false then. */
static void with_filter(bool (*check)(void))
{
    if (!has_filter()) {
        skip();
    }
    pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        seccomp_forbid();
        bool has_it = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_MODE_FILTER;
        _exit(has_it && check() ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* ---- what is refused ---- */

struct attempt {
    const char *name;
    long number;
    long arguments[3];
};

#define TRY(call, ...)                                                                             \
    {                                                                                              \
#call, SYS_##call,                                                                         \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

/* -1 is "as it is" to calls of ids, and no descriptor, request, flags or number of anything. */
static const struct attempt attempts[] = {
    TRY(execve, 0),
    TRY(execveat, -1),
    TRY(ptrace, -1),
    TRY(process_vm_readv, 0, 0, 0),
    TRY(process_vm_writev, 0, 0, 0),
    TRY(pidfd_getfd, -1),
    TRY(kcmp, -1, -1),
    TRY(setreuid, -1, -1),
    TRY(setregid, -1, -1),
    TRY(setresuid, -1, -1, -1),
    TRY(setresgid, -1, -1, -1),
    TRY(setuid, -1),
    TRY(setgid, -1),
    TRY(setfsuid, -1),
    TRY(setfsgid, -1),
    TRY(setgroups, -1),
    TRY(capset, 0),
    TRY(unshare, 0),
    TRY(setns, -1),
    TRY(mount, 0),
    TRY(umount2, 0),
    TRY(pivot_root, 0),
    TRY(chroot, 0),
    TRY(open_tree, -1, 0, -1),
    TRY(move_mount, -1),
    TRY(fsopen, 0),
    TRY(fsconfig, -1),
    TRY(fsmount, -1),
    TRY(fspick, -1),
    TRY(mount_setattr, -1, 0, -1),
    TRY(bpf, -1),
    TRY(perf_event_open, 0),
    TRY(userfaultfd, -1),
    TRY(io_uring_setup, 0),
    TRY(io_uring_register, -1),
    TRY(io_uring_enter, -1),
    TRY(add_key, 0),
    TRY(request_key, 0),
    TRY(keyctl, -1),
    TRY(init_module, 0),
    TRY(finit_module, -1),
    TRY(delete_module, 0),
    TRY(kexec_load, 0, 17, 0),
    TRY(kexec_file_load, -1, -1, 0),
};

static bool fails_with(int error, const char *name, long result)
{
    if (result == -1 && errno == error) {
        return true;
    }
    (void)fprintf(stderr, "%s: %ld, %s\n", name, result, strerror(errno));
    return false;
}

static bool each_is_refused(void)
{
    bool good = true;
    for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
        const struct attempt *attempt = &attempts[i];
        const long *arguments = attempt->arguments;
        errno = 0;
        long result = syscall(attempt->number, arguments[0], arguments[1], arguments[2], 0, 0, 0);
        good = fails_with(EPERM, attempt->name, result) && good;
    }
    return good;
}

static void what_nobody_needs_is_refused(void **state)
{
    (void)state;
    with_filter(each_is_refused);
}

/* ---- namespaces ---- */

/* A thread without the signal handlers of its process: EINVAL, whatever else is asked for. */
static long clone_never(unsigned long flags)
{
    errno = 0;
    return syscall(SYS_clone, flags | CLONE_THREAD, 0, 0, 0, 0);
}

static bool no_namespace_is_made(void)
{
    static const unsigned long namespaces[] = {CLONE_NEWNS,  CLONE_NEWCGROUP, CLONE_NEWUTS,
                                               CLONE_NEWIPC, CLONE_NEWUSER,   CLONE_NEWPID,
                                               CLONE_NEWNET};
    bool good = fails_with(EINVAL, "clone without a namespace", clone_never(SIGCHLD));
    for (size_t i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++) {
        good = fails_with(EPERM, "clone", clone_never(namespaces[i])) && good;
        good = fails_with(EPERM, "clone", clone_never(namespaces[i] | SIGCHLD | CLONE_VM)) && good;
    }
    errno = 0;
    return fails_with(ENOSYS, "clone3", syscall(SYS_clone3, NULL, 0)) && good;
}

static void namespaces_are_refused(void **state)
{
    (void)state;
    with_filter(no_namespace_is_made);
}

/* ---- what is not ---- */

static void *answer(void *argument)
{
    int *end = argument;
    return write(*end, "x", 1) == 1 ? argument : NULL;
}

static bool thread_writes(int end)
{
    pthread_t thread;
    void *result = NULL;
    return pthread_create(&thread, NULL, answer, &end) == 0 && pthread_join(thread, &result) == 0 &&
           result == &end;
}

static bool child_ends(void)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        _exit(7);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7;
}

static bool the_rest_works(void)
{
    char byte = '\0';
    int ends[2];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = null >= 0 && client >= 0 && write(null, "x", 1) == 1 && read(null, &byte, 1) == 0 &&
                pipe(ends) == 0 && thread_writes(ends[1]) && read(ends[0], &byte, 1) == 1 &&
                byte == 'x' && child_ends();
    if (!good) {
        (void)fprintf(stderr, "what should work: %s\n", strerror(errno));
    }
    return good;
}

static void files_sockets_and_threads_are_not(void **state)
{
    (void)state;
    with_filter(the_rest_works);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_needs_is_refused),
        cmocka_unit_test(namespaces_are_refused),
        cmocka_unit_test(files_sockets_and_threads_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
