/*
 * Every allocation and system call of the daemons, wrapped: each asks the plan of its process
 * whether it fails this time. As a preloaded library it has the calls of libfcgi, cJSON and the C
 * library's own allocations, too, and needs no build of its own: what is tested is what is
 * installed.
 *
 * What a wrapper does happens in every thread, before main, and between clone(2) and execve(2) in a
 * borrowed address space: no allocation, no lock, little stack. It is compiled without sanitizers.
 */
#include "tests/faults/fault.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(struct fault_plan) == 128, "plan.py says so");

static struct fault_plan own_plan;
static struct fault_plan *plan; /* NULL: nothing ever fails */

/* Where code lies. */
struct range {
    uintptr_t begin, end;
};
static struct range program, libfcgi;

/* ---- whose plan ---- */

static int note_object(struct dl_phdr_info *info, size_t size, void *number)
{
    (void)size;
    bool is_program = (*(int *)number)++ == 0;
    struct range *range = is_program                                      ? &program
                          : strstr(info->dlpi_name, "libfcgi.so") != NULL ? &libfcgi
                                                                          : NULL;
    for (int i = 0; range != NULL && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t end = info->dlpi_addr + header->p_vaddr + header->p_memsz;
        range->begin = info->dlpi_addr;
        range->end = header->p_type == PT_LOAD && end > range->end ? end : range->end;
    }
    return 0;
}

static int role_of(int count, char **arguments)
{
    const char *slash = count > 0 ? strrchr(arguments[0], '/') : NULL;
    const char *name = slash != NULL ? slash + 1 : count > 0 ? arguments[0] : "";
    if (strcmp(name, "fcgi-app") == 0) {
        return FAULT_FCGI_APP;
    }
    if (strcmp(name, "guard") == 0) {
        return FAULT_GUARD;
    }
    if (strcmp(name, "procd") != 0 || count < 2) {
        return -1;
    }
    return strcmp(arguments[1], "--runner") == 0         ? FAULT_RUNNER
           : strcmp(arguments[count - 1], "--stop") == 0 ? -1
                                                         : FAULT_PROCD;
}

/* The C library calls constructors with the arguments of main. */
__attribute__((constructor)) static void take_plan(int count, char **arguments)
{
    const char *path = getenv("FAULT_PLANS"); /* NOLINT(concurrency-mt-unsafe): before main */
    int role = path == NULL ? -1 : role_of(count, arguments);
    int objects = 0;
    (void)dl_iterate_phdr(note_object, &objects);
    if (role < 0) {
        return;
    }
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *plans = fd < 0 ? MAP_FAILED
                         : mmap(NULL, FAULT_ROLES * sizeof(struct fault_plan),
                                PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (plans == MAP_FAILED) {
        static const char complaint[] = "libfault: FAULT_PLANS cannot be mapped\n";
        (void)!write(STDERR_FILENO, complaint, sizeof(complaint) - 1);
        _exit(1);
    }
    (void)close(fd);
    plan = (struct fault_plan *)plans + role;
}

void fault_arm(enum fault_kind kinds, uint32_t at, uint32_t count)
{
    plan = &own_plan;
    plan->kinds = kinds;
    plan->at = at;
    plan->count = count;
    plan->caller = 0;
    atomic_store(&plan->calls, 0);
    atomic_store(&plan->fired, 0);
    atomic_store(&plan->mode, FAULT_FAIL);
}

bool fault_disarm(const char **name)
{
    atomic_store(&plan->mode, FAULT_OFF);
    *name = plan->name;
    return atomic_load(&plan->fired) > 0;
}

/* ---- whether this one ---- */

static _Thread_local bool spared;

struct call {
    const char *name;
    enum fault_kind kind;
    bool interruptible;
    int error;
};

static bool is_in(struct range range, const void *caller)
{
    return (uintptr_t)caller >= range.begin && (uintptr_t)caller < range.end;
}

static void note_failure(const char *name, const void *caller)
{
    size_t length = strlen(name);
    length = length < sizeof(plan->name) ? length : sizeof(plan->name) - 1;
    memcpy(plan->name, name, length);
    plan->name[length] = '\0';
    plan->caller = is_in(program, caller) ? (uintptr_t)caller - program.begin : 0;
    atomic_fetch_add(&plan->fired, 1);
}

/* Whether this call fails now, with errno. */
static bool fails(const struct call *call, const void *caller)
{
    uint32_t mode = plan == NULL || spared ? FAULT_OFF : atomic_load(&plan->mode);
    int error = call->error;
    if (mode == FAULT_FAIL) {
        bool of_libfcgi = call->kind == FAULT_MEMORY && is_in(libfcgi, caller);
        if ((plan->kinds & (of_libfcgi ? FAULT_LIBFCGI : call->kind)) == 0 ||
            (plan->only[0] != '\0' && strcmp(plan->only, call->name) != 0)) {
            return false;
        }
        uint32_t number = atomic_fetch_add(&plan->calls, 1) + 1;
        if (number < plan->at || number - plan->at >= plan->count) {
            return false;
        }
    } else if (mode == FAULT_INTERRUPT) {
        if (!call->interruptible || !is_in(program, caller) ||
            (atomic_fetch_add(&plan->calls, 1) + 1) % plan->at != 0) {
            return false;
        }
        error = EINTR;
    } else {
        return false;
    }
    note_failure(call->name, caller);
    errno = error;
    return true;
}

static bool mode_is(enum fault_mode mode)
{
    return plan != NULL && atomic_load(&plan->mode) == mode;
}

/* Files do all that is asked, and those of the kernel take nothing else. */
static bool is_stream(int fd)
{
    struct stat status;
    return fstatat(fd, "", &status, AT_EMPTY_PATH) == 0 &&
           (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

static size_t shortened(const char *name, const void *caller, int fd, size_t length)
{
    if (!mode_is(FAULT_SHORTEN) || length < 2 || !is_stream(fd) ||
        (atomic_fetch_add(&plan->calls, 1) + 1) % plan->at != 0) {
        return length;
    }
    note_failure(name, caller);
    return length / 2;
}

/* ---- the wrappers ---- */

/* The next definition of a name: the C library's, or a sanitizer's. */
#define REAL(name)                                                                                 \
    ({                                                                                             \
        static __typeof__(&(name)) real_;                                                          \
        if (real_ == NULL) {                                                                       \
            real_ = (__typeof__(real_))dlsym(RTLD_NEXT, #name);                                    \
        }                                                                                          \
        real_;                                                                                     \
    })

#define FAILS(name, kind, interruptible, error)                                                    \
    fails(&(const struct call){#name, kind, interruptible, error}, __builtin_return_address(0))

/* Parameters and arguments come with parentheses of their own.
 * NOLINTBEGIN(bugprone-macro-parentheses) */

/* `result` is returned when the call fails with `error`. */
#define WRAP_(interruptible, kind, type, name, parameters, arguments, result, error)               \
    type name parameters                                                                           \
    {                                                                                              \
        if (FAILS(name, kind, interruptible, error)) {                                             \
            return result;                                                                         \
        }                                                                                          \
        return REAL(name) arguments;                                                               \
    }
#define WRAP(type, name, parameters, arguments, result, error)                                     \
    WRAP_(false, FAULT_CALL, type, name, parameters, arguments, result, error)
#define WRAP_MEMORY(name, parameters, arguments)                                                   \
    WRAP_(false, FAULT_MEMORY, void *, name, parameters, arguments, NULL, ENOMEM)
/* A question to the databases of users. It fails as a whole: where an allocation in it fails, the C
 * library itself reads through NULL (nss_database_check_reload_and_get() of glibc 2.36). */
#define WRAP_NSS(type, name, parameters, arguments, result)                                        \
    type name parameters                                                                           \
    {                                                                                              \
        if (FAILS(name, FAULT_MEMORY, false, ENOMEM)) {                                            \
            return result;                                                                         \
        }                                                                                          \
        spared = true;                                                                             \
        type answer_ = REAL(name) arguments;                                                       \
        spared = false;                                                                            \
        return answer_;                                                                            \
    }
/* A call that a signal may interrupt. */
#define WRAP_SLOW(type, name, parameters, arguments, result, error)                                \
    WRAP_(true, FAULT_CALL, type, name, parameters, arguments, result, error)
/* With a right question it only ever fails for want of a child, which would be a lie, or of a
 * signal. */
#define WRAP_WAIT(type, name, parameters, arguments)                                               \
    WRAP_(true, FAULT_NEVER, type, name, parameters, arguments, -1, EINTR)
/* A call that moves `length` bytes, or fewer where it is no file. */
#define WRAP_MOVING(name, parameters, arguments, error)                                            \
    ssize_t name parameters                                                                        \
    {                                                                                              \
        if (FAILS(name, FAULT_CALL, mode_is(FAULT_INTERRUPT) && is_stream(fd), error)) {           \
            return -1;                                                                             \
        }                                                                                          \
        length = shortened(#name, __builtin_return_address(0), fd, length);                        \
        return REAL(name) arguments;                                                               \
    }

/* NOLINTEND(bugprone-macro-parentheses) */

WRAP_MEMORY(malloc, (size_t size), (size))
WRAP_MEMORY(calloc, (size_t count, size_t size), (count, size))
WRAP_MEMORY(realloc, (void *old, size_t size), (old, size))
WRAP_MEMORY(reallocarray, (void *old, size_t count, size_t size), (old, count, size))

/* files */
WRAP(int, access, (const char *path, int mode), (path, mode), -1, EIO)
WRAP(int, faccessat, (int at, const char *path, int mode, int flags), (at, path, mode, flags), -1,
     EIO)
WRAP(int, chmod, (const char *path, mode_t mode), (path, mode), -1, EIO)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), -1, EIO)
WRAP(int, ptsname_r, (int fd, char *path, size_t size), (fd, path, size), -1, ENOTTY)
WRAP(int, tcgetattr, (int fd, struct termios *mode), (fd, mode), -1, EIO)
WRAP(int, tcsetattr, (int fd, int when, const struct termios *mode), (fd, when, mode), -1, EIO)
WRAP(pid_t, tcgetpgrp, (int fd), (fd), -1, ENOTTY)
WRAP(int, fchown, (int fd, uid_t user, gid_t group), (fd, user, group), -1, EIO)
WRAP(int, fchownat, (int at, const char *path, uid_t user, gid_t group, int flags),
     (at, path, user, group, flags), -1, EIO)
WRAP(int, chdir, (const char *path), (path), -1, EACCES)
WRAP(char *, getcwd, (char *buffer, size_t size), (buffer, size), NULL, ENOENT)
WRAP(DIR *, opendir, (const char *path), (path), NULL, EMFILE)
WRAP(DIR *, fdopendir, (int fd), (fd), NULL, ENOMEM)
WRAP(struct dirent *, readdir, (DIR * directory), (directory), NULL, EIO)
WRAP(ssize_t, getdents64, (int fd, void *buffer, size_t size), (fd, buffer, size), -1, EIO)
WRAP(FILE *, fopen, (const char *path, const char *mode), (path, mode), NULL, EMFILE)
WRAP(FILE *, open_memstream, (char **text, size_t *length), (text, length), NULL, ENOMEM)
WRAP(FILE *, fdopen, (int fd, const char *mode), (fd, mode), NULL, ENOMEM)
WRAP(int, fstat, (int fd, struct stat *status), (fd, status), -1, EIO)
WRAP(int, stat, (const char *path, struct stat *status), (path, status), -1, EIO)
WRAP(int, fstatat, (int at, const char *path, struct stat *status, int flags),
     (at, path, status, flags), -1, EIO)
WRAP(int, statfs, (const char *path, struct statfs *status), (path, status), -1, EIO)
WRAP(int, lstat, (const char *path, struct stat *status), (path, status), -1, EIO)
WRAP(int, statx, (int at, const char *path, int flags, unsigned mask, struct statx *status),
     (at, path, flags, mask, status), -1, EIO)
WRAP(int, fstatfs, (int fd, struct statfs *status), (fd, status), -1, EIO)
WRAP(int, futimens, (int fd, const struct timespec times[2]), (fd, times), -1, EIO)
WRAP(int, utimensat, (int at, const char *path, const struct timespec times[2], int flags),
     (at, path, times, flags), -1, EIO)
WRAP(int, posix_fallocate, (int fd, off_t offset, off_t length), (fd, offset, length), ENOSPC,
     ENOSPC)
WRAP(int, fstatvfs, (int fd, struct statvfs *status), (fd, status), -1, EIO)
WRAP(int, statvfs, (const char *path, struct statvfs *status), (path, status), -1, EIO)
WRAP(int, flock, (int fd, int operation), (fd, operation), -1, ENOLCK)
WRAP(int, ftruncate, (int fd, off_t length), (fd, length), -1, EIO)
WRAP(int, fallocate, (int fd, int mode, off_t offset, off_t length), (fd, mode, offset, length), -1,
     ENOSPC)
WRAP(ssize_t, listxattr, (const char *path, char *list, size_t size), (path, list, size), -1, EIO)
WRAP(ssize_t, getxattr, (const char *path, const char *name, void *value, size_t size),
     (path, name, value, size), -1, EIO)
WRAP(int, setxattr, (const char *path, const char *name, const void *value, size_t size, int flags),
     (path, name, value, size, flags), -1, ENOSPC)
WRAP(ssize_t, flistxattr, (int fd, char *list, size_t size), (fd, list, size), -1, EIO)
WRAP(ssize_t, fgetxattr, (int fd, const char *name, void *value, size_t size),
     (fd, name, value, size), -1, EIO)
WRAP(int, fsetxattr, (int fd, const char *name, const void *value, size_t size, int flags),
     (fd, name, value, size, flags), -1, ENOSPC)
WRAP(int, removexattr, (const char *path, const char *name), (path, name), -1, EIO)
WRAP(off_t, lseek, (int fd, off_t offset, int whence), (fd, offset, whence), -1, EINVAL)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, ENOSPC)
WRAP(ssize_t, copy_file_range,
     (int from, off_t *from_at, int to, off_t *to_at, size_t length, unsigned flags),
     (from, from_at, to, to_at, length, flags), -1, ENOSPC)
WRAP(int, mknodat, (int at, const char *path, mode_t mode, dev_t device), (at, path, mode, device),
     -1, ENOSPC)
WRAP(int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode), -1, ENOSPC)
WRAP(int, linkat, (int from_at, const char *from, int to_at, const char *to, int flags),
     (from_at, from, to_at, to, flags), -1, ENOSPC)
WRAP(int, renameat, (int from_at, const char *from, int to_at, const char *to),
     (from_at, from, to_at, to), -1, ENOSPC)
WRAP(int, renameat2, (int from_at, const char *from, int to_at, const char *to, unsigned flags),
     (from_at, from, to_at, to, flags), -1, ENOSPC)
WRAP(int, symlinkat, (const char *target, int at, const char *path), (target, at, path), -1, ENOSPC)
WRAP(ssize_t, readlinkat, (int at, const char *path, char *buffer, size_t size),
     (at, path, buffer, size), -1, EIO)
WRAP(int, symlink, (const char *target, const char *path), (target, path), -1, ENOSPC)
WRAP(ssize_t, readlink, (const char *path, char *buffer, size_t size), (path, buffer, size), -1,
     EIO)
WRAP(int, unlink, (const char *path), (path), -1, EROFS)
WRAP(int, unlinkat, (int at, const char *path, int flags), (at, path, flags), -1, EROFS)
WRAP(int, rmdir, (const char *path), (path), -1, EBUSY)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1, ENFILE)
WRAP(int, inotify_init1, (int flags), (flags), -1, EMFILE)
WRAP(int, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask), -1,
     ENOSPC)
WRAP(int, inotify_rm_watch, (int fd, int watch), (fd, watch), -1, EINVAL)

/* bytes */
WRAP_MOVING(read, (int fd, void *buffer, size_t length), (fd, buffer, length), EIO)
WRAP_MOVING(write, (int fd, const void *buffer, size_t length), (fd, buffer, length), ENOSPC)
WRAP(ssize_t, pread, (int fd, void *buffer, size_t length, off_t offset),
     (fd, buffer, length, offset), -1, EIO)
WRAP(ssize_t, pwrite, (int fd, const void *buffer, size_t length, off_t offset),
     (fd, buffer, length, offset), -1, ENOSPC)
WRAP_SLOW(ssize_t, readv, (int fd, const struct iovec *pieces, int count), (fd, pieces, count), -1,
          ECONNRESET)
WRAP(ssize_t, pwritev2, (int fd, const struct iovec *pieces, int count, off_t offset, int flags),
     (fd, pieces, count, offset, flags), -1, EIO)
WRAP(ssize_t, sendfile, (int out, int in, off_t *offset, size_t length), (out, in, offset, length),
     -1, EPIPE)
WRAP(ssize_t, getrandom, (void *buffer, size_t length, unsigned flags), (buffer, length, flags), -1,
     ENOSYS)

/* descriptors and sockets */
WRAP(int, dup2, (int from, int to), (from, to), -1, EBUSY)
WRAP(int, pipe2, (int ends[2], int flags), (ends, flags), -1, EMFILE)
WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1, EMFILE)
WRAP(int, socketpair, (int domain, int type, int protocol, int ends[2]),
     (domain, type, protocol, ends), -1, EMFILE)
WRAP(int, bind, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length),
     -1, EADDRINUSE)
WRAP(int, listen, (int fd, int backlog), (fd, backlog), -1, EADDRINUSE)
WRAP_SLOW(int, accept, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length),
          -1, EMFILE)
WRAP_SLOW(int, accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags),
          (fd, address, length, flags), -1, EMFILE)
WRAP(int, connect, (int fd, const struct sockaddr *address, socklen_t length),
     (fd, address, length), -1, ECONNREFUSED)
WRAP(int, shutdown, (int fd, int how), (fd, how), -1, ENOTCONN)
WRAP_SLOW(ssize_t, send, (int fd, const void *data, size_t length, int flags),
          (fd, data, length, flags), -1, ENOBUFS)
WRAP_SLOW(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags),
          -1, ENOBUFS)
WRAP_SLOW(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), -1,
          ENOMEM)
WRAP(int, getsockname, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length),
     -1, ENOBUFS)
WRAP(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *size),
     (fd, level, name, value, size), -1, ENOBUFS)
WRAP(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t size),
     (fd, level, name, value, size), -1, ENOBUFS)

/* waiting */
WRAP_SLOW(int, poll, (struct pollfd * polled, nfds_t count, int timeout), (polled, count, timeout),
          -1, ENOMEM)
WRAP(int, epoll_create1, (int flags), (flags), -1, EMFILE)
WRAP_WAIT(int, epoll_wait, (int epoll, struct epoll_event *events, int count, int timeout),
          (epoll, events, count, timeout))
WRAP(int, eventfd, (unsigned value, int flags), (value, flags), -1, EMFILE)
WRAP(int, signalfd, (int fd, const sigset_t *mask, int flags), (fd, mask, flags), -1, EMFILE)
WRAP_SLOW(int, nanosleep, (const struct timespec *time, struct timespec *left), (time, left), -1,
          EINTR)
WRAP_SLOW(int, sigtimedwait,
          (const sigset_t *set, siginfo_t *information, const struct timespec *time),
          (set, information, time), -1, EAGAIN)
WRAP(int, sigwait, (const sigset_t *set, int *number), (set, number), EINVAL, EINVAL)

/* memory that is no allocation */
WRAP(void *, mmap, (void *where, size_t length, int protection, int flags, int fd, off_t offset),
     (where, length, protection, flags, fd, offset), MAP_FAILED, ENOMEM)

/* processes and threads */
WRAP(int, execve, (const char *path, char *const *arguments, char *const *environment),
     (path, arguments, environment), -1, ENOMEM)
WRAP(pid_t, fork, (void), (), -1, EAGAIN)
WRAP(int, timer_create, (clockid_t clock, struct sigevent *restrict event, timer_t *restrict timer),
     (clock, event, timer), -1, EAGAIN)
WRAP(int, timer_settime,
     (timer_t timer, int flags, const struct itimerspec *restrict time,
      struct itimerspec *restrict old),
     (timer, flags, time, old), -1, EINVAL)
WRAP_NSS(struct passwd *, getpwnam, (const char *name), (name), NULL)
WRAP_NSS(struct passwd *, getpwuid, (uid_t id), (id), NULL)
WRAP(int, getpwuid_r,
     (uid_t id, struct passwd *account, char *text, size_t size, struct passwd **found),
     (id, account, text, size, found), EIO, EIO)
WRAP(int, getgrgid_r,
     (gid_t id, struct group *account, char *text, size_t size, struct group **found),
     (id, account, text, size, found), EIO, EIO)
WRAP_NSS(struct group *, getgrnam, (const char *name), (name), NULL)
WRAP_NSS(int, getgrouplist, (const char *name, gid_t group, gid_t *groups, int *count),
         (name, group, groups, count), -1)
WRAP(int, setgroups, (size_t count, const gid_t *groups), (count, groups), -1, EPERM)
WRAP(int, setresgid, (gid_t real, gid_t effective, gid_t saved), (real, effective, saved), -1,
     EPERM)
WRAP(int, setresuid, (uid_t real, uid_t effective, uid_t saved), (real, effective, saved), -1,
     EAGAIN)
WRAP(int, kill, (pid_t pid, int number), (pid, number), -1, EPERM)
WRAP(pid_t, setsid, (void), (), -1, EPERM)
WRAP(int, sigprocmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old), -1, EINVAL)
WRAP_WAIT(pid_t, waitpid, (pid_t pid, int *status, int flags), (pid, status, flags))
WRAP_WAIT(pid_t, wait4, (pid_t pid, int *status, int flags, struct rusage *usage),
          (pid, status, flags, usage))
WRAP(int, getrlimit, (__rlimit_resource_t resource, struct rlimit *limit), (resource, limit), -1,
     EPERM)
WRAP(int, setrlimit, (__rlimit_resource_t resource, const struct rlimit *limit), (resource, limit),
     -1, EPERM)
WRAP(int, pidfd_open, (pid_t pid, unsigned flags), (pid, flags), -1, EMFILE)
WRAP(int, pidfd_send_signal, (int fd, int number, siginfo_t *information, unsigned flags),
     (fd, number, information, flags), -1, EPERM)
WRAP(int, posix_spawn,
     (pid_t *restrict pid, const char *restrict path,
      const posix_spawn_file_actions_t *restrict actions,
      const posix_spawnattr_t *restrict attributes, char *const *restrict arguments,
      char *const *restrict environment),
     (pid, path, actions, attributes, arguments, environment), EAGAIN, EAGAIN)
WRAP(int, posix_spawn_file_actions_init, (posix_spawn_file_actions_t * actions), (actions), ENOMEM,
     ENOMEM)
WRAP(int, posix_spawnattr_init, (posix_spawnattr_t * attributes), (attributes), ENOMEM, ENOMEM)
WRAP(int, pthread_attr_init, (pthread_attr_t * attributes), (attributes), ENOMEM, ENOMEM)
WRAP(int, pthread_create,
     (pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*run)(void *),
      void *restrict argument),
     (thread, attributes, run, argument), EAGAIN, EAGAIN)

/* When these fail they change nothing and return the old id, as they do for (id_t)-1. */
int setfsgid(gid_t group)
{
    return REAL(setfsgid)(FAILS(setfsgid, FAULT_CALL, false, EPERM) ? (gid_t)-1 : group);
}

int setfsuid(uid_t user)
{
    return REAL(setfsuid)(FAILS(setfsuid, FAULT_CALL, false, EPERM) ? (uid_t)-1 : user);
}

/* AddressSanitizer asks this as a thread starts, and aborts when there is no memory for it. */
int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes)
{
    spared = true;
    int result = REAL(pthread_getattr_np)(thread, attributes);
    spared = false;
    return result;
}

/* A failing close(2) has closed all the same. */
int close(int fd)
{
    int result = REAL(close)(fd);
    return FAILS(close, FAULT_CALL, false, EIO) ? -1 : result;
}

/* Taking out what is in cannot fail. */
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (operation != EPOLL_CTL_DEL && FAILS(epoll_ctl, FAULT_CALL, false, ENOSPC)) {
        return -1;
    }
    return REAL(epoll_ctl)(epoll, operation, fd, event);
}

/* ---- those with arguments of any number ---- */

static bool takes_mode(int flags)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

static mode_t mode_argument(int flags, va_list arguments)
{
    return takes_mode(flags) ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return FAILS(open, FAULT_CALL, false, EMFILE) ? -1 : REAL(open)(path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return FAILS(openat, FAULT_CALL, false, EMFILE) ? -1 : REAL(openat)(at, path, flags, mode);
}

int fcntl(int fd, int operation, ...)
{
    va_list arguments;
    va_start(arguments, operation);
    void *argument = va_arg(arguments, void *); /* an int comes in the same register */
    va_end(arguments);
    return FAILS(fcntl, FAULT_CALL, false, EMFILE) ? -1 : REAL(fcntl)(fd, operation, argument);
}

int ioctl(int fd, unsigned long operation, ...)
{
    va_list arguments;
    va_start(arguments, operation);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return FAILS(ioctl, FAULT_CALL, false, EIO) ? -1 : REAL(ioctl)(fd, operation, argument);
}

int prctl(int option, ...)
{
    unsigned long values[4];
    va_list arguments;
    va_start(arguments, option);
    for (int i = 0; i < 4; i++) {
        values[i] = va_arg(arguments, unsigned long);
    }
    va_end(arguments);
    /* The first failure of PR_CAPBSET_READ is how a program learns which capability is the last. */
    if (option != PR_CAPBSET_READ && FAILS(prctl, FAULT_CALL, false, EINVAL)) {
        return -1;
    }
    return REAL(prctl)(option, values[0], values[1], values[2], values[3]);
}

/* Those that change who one is, by which syscall(2) is called here. NULL: it cannot fail. */
static const char *name_of_call(long number)
{
    switch (number) {
    case SYS_capget: return "capget";
    case SYS_capset: return "capset";
    case SYS_setgroups: return "setgroups";
    case SYS_setresgid: return "setresgid";
    case SYS_setresuid: return "setresuid";
    default: return NULL;
    }
}

long syscall(long number, ...)
{
    long values[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++) {
        values[i] = va_arg(arguments, long);
    }
    va_end(arguments);
    const struct call call = {name_of_call(number), FAULT_CALL, false, EPERM};
    if (call.name != NULL && fails(&call, __builtin_return_address(0))) {
        return -1;
    }
    return REAL(syscall)(number, values[0], values[1], values[2], values[3], values[4], values[5]);
}

/* The last three are there only when the flags ask for them; the kernel looks at no other. */
int clone(int (*run)(void *), void *stack, int flags, void *argument, ...)
{
    va_list more;
    va_start(more, argument);
    bool has_more = (flags & CLONE_CHILD_CLEARTID) != 0;
    pid_t *parent_tid = has_more ? va_arg(more, pid_t *) : NULL;
    void *tls = has_more ? va_arg(more, void *) : NULL;
    pid_t *child_tid = has_more ? va_arg(more, pid_t *) : NULL;
    va_end(more);
    return FAILS(clone, FAULT_CALL, false, EAGAIN)
               ? -1
               : REAL(clone)(run, stack, flags, argument, parent_tid, tls, child_tid);
}

/* ---- what _FORTIFY_SOURCE makes of some ---- */

/* The names are the C library's. NOLINTBEGIN(bugprone-reserved-identifier) */
int __poll_chk(struct pollfd *polled, nfds_t count, int timeout, size_t size);
int __openat_2(int at, const char *path, int flags);

WRAP_SLOW(int, __poll_chk, (struct pollfd * polled, nfds_t count, int timeout, size_t size),
          (polled, count, timeout, size), -1, ENOMEM)
WRAP(int, __openat_2, (int at, const char *path, int flags), (at, path, flags), -1, EMFILE)
/* NOLINTEND(bugprone-reserved-identifier) */
