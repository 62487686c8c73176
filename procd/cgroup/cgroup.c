/*
 * Nothing is remembered about a runner: the directories in the cgroup file system say it all, to
 * every procd alike.
 */
#include "procd/cgroup/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/directory.h"
#include "common/io.h"
#include "procd/cgroup/cgroup_limits.h"
#include "procd/cgroup/cgroup_oom.h"
#include "procd/cgroup/cgroup_place.h"

#define TRIES           100
#define REMOVE_MS       1000
#define REMOVE_PAUSE_MS 2

static struct {
    char path[PATH_MAX]; /* of this run; empty without cgroups */
    int directory;
} cgroup = {.directory = -1};

/* ---- one directory ---- */

static int open_directory(int parent, const char *name)
{
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Moves this process into parent/`name`, which must not be there yet. A descriptor of that, or -1
 * with errno. */
static int cgroup_move_in(int parent, const char *name)
{
    if (mkdirat(parent, name, 0755) < 0) {
        return -1;
    }
    cleanup_fd int directory = open_directory(parent, name);
    if (directory >= 0 && cgroup_write(directory, "cgroup.procs", "0") == 0) {
        return steal_fd(&directory);
    }
    int saved = errno;
    (void)unlinkat(parent, name, AT_REMOVEDIR);
    errno = saved;
    return -1;
}

/* Ends and removes the cgroups below, which commands have made. What is not empty yet stays. */
static void remove_below(int directory) // NOLINT(misc-no-recursion): as deep as the kernel allows
{
    cleanup_directory DIR *entries = directory_list(directory);
    struct dirent *entry;
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.') {
            continue;
        }
        cleanup_fd int child = open_directory(directory, entry->d_name);
        if (child >= 0) {
            (void)cgroup_write(child, "cgroup.kill", "1");
            remove_below(child);
            (void)unlinkat(directory, entry->d_name, AT_REMOVEDIR);
        }
    }
}

/* Calls `each` for the processes in the cgroup itself until it returns false. 1 when it never did,
 * 0 when it did; -1 with errno. */
static int each_member(int directory, bool (*each)(void *context, pid_t pid), void *context)
{
    cleanup_fd int fd = openat(directory, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    cleanup_file FILE *members = fd < 0 ? NULL : fdopen(fd, "r");
    int pid;
    if (members == NULL) {
        return -1;
    }
    (void)steal_fd(&fd);
    while (fscanf(members, "%d", &pid) == 1) { // NOLINT(cert-err34-c): the kernel's
        if (!each(context, pid)) {
            return 0;
        }
    }
    if (ferror(members)) {
        return -1; /* a process that is not in this part of the list may be in the rest */
    }
    return 1;
}

struct membership {
    pid_t wanted;
    bool any;
    bool found;
};

static bool look_for(void *context, pid_t pid)
{
    struct membership *membership = context;
    membership->any = true;
    membership->found = pid == membership->wanted;
    return !membership->found;
}

/* ---- the directory of the run ---- */

/* Tried by opening it: access(2) goes by the real user, and faccessat(3) makes a system call that
 * old seccomp profiles do not know. */
static bool cgroup_may_write(int directory, const char *name)
{
    cleanup_fd int fd = openat(directory, name, O_WRONLY | O_CLOEXEC);
    return fd >= 0;
}

/*
 * Whether this process may move below its own cgroup: it may write to both files, and the new
 * cgroup takes processes (cgroups(7), "threaded mode"). Trying the move would cost every start some
 * 10 ms.
 */
static bool cgroup_may_enter(int directory)
{
    static const char domain[] = "domain\n";
    char type[sizeof(domain)];
    cleanup_fd int fd = openat(directory, "cgroup.type", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || !cgroup_may_write(directory, "cgroup.procs") ||
        !cgroup_may_write(directory, "../cgroup.procs")) {
        return false;
    }
    ssize_t length = io_read_full(fd, type, sizeof(type));
    errno = EOPNOTSUPP;
    return length == (ssize_t)strlen(domain) && memcmp(type, domain, strlen(domain)) == 0;
}

/* Below any other cgroup only a move shows whether the kernel allows it, so a child tries. */
static bool can_enter(int directory)
{
    char name[32];
    int status;
    (void)snprintf(name, sizeof(name), "probe-%d", (int)getpid());
    pid_t pid = fork();
    if (pid == 0) {
        _exit(cgroup_move_in(directory, name) >= 0 ? 0 : errno);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        return false;
    }
    (void)unlinkat(directory, name, AT_REMOVEDIR);
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
    return errno == 0;
}

static int open_run(const char *path, bool below_own)
{
    bool made = mkdir(path, 0755) == 0;
    if (!made && errno != EEXIST) {
        return -1;
    }
    cleanup_fd int directory = open_directory(AT_FDCWD, path);
    if (directory < 0 || !cgroup_may_write(directory, "cgroup.kill") ||
        (made && !(below_own ? cgroup_may_enter(directory) : can_enter(directory)))) {
        int saved = errno;
        (void)rmdir(path); /* stays if it is in use */
        errno = saved;
        return -1;
    }
    return steal_fd(&directory);
}

int cgroup_open(const char *run_directory, const char *setting)
{
    char path[PATH_MAX];
    if (strcmp(setting, "off") == 0) {
        return 0;
    }
    bool is_auto = strcmp(setting, "auto") == 0;
    cgroup.directory =
        cgroup_find_run(run_directory, setting, path) < 0 ? -1 : open_run(path, is_auto);
    if (cgroup.directory < 0) {
        return is_auto ? 0 : -1;
    }
    memcpy(cgroup.path, path, sizeof(path));
    return 1;
}

/* ---- the daemons ---- */

/* The first process of a container may be an init that started us (docker run --init). */
static bool may_move(void *any, pid_t pid)
{
    *(bool *)any = true;
    return pid == getpid() || pid == 1;
}

static bool move(void *directory, pid_t pid)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%d", (int)pid);
    return cgroup_write(*(const int *)directory, "cgroup.procs", text) == 0 || errno == ESRCH;
}

/* Moves the processes in `base` to base/`name`, if they are only ours. 0, or -1 with errno. */
static int move_out(int base, const char *name)
{
    bool any = false;
    int result = each_member(base, may_move, &any);
    if (result <= 0) {
        errno = result == 0 ? EBUSY : errno;
        return -1;
    }
    if (!any) {
        return 0;
    }
    if (mkdirat(base, name, 0755) < 0 && errno != EEXIST) {
        return -1;
    }
    cleanup_fd int daemons = open_directory(base, name);
    return daemons >= 0 && each_member(base, move, &daemons) > 0 ? 0 : -1;
}

/* Undoes move_out() and what it was for. Whatever others have begun to use stays. */
static void move_back(int base, const char *run_name)
{
    char name[128];
    (void)snprintf(name, sizeof(name), "%s" CGROUP_DAEMONS, run_name);
    cleanup_fd int daemons = open_directory(base, name);
    if (daemons >= 0) {
        cgroup_change_controllers(base, '-', CGROUP_ALL);
        (void)each_member(daemons, move, &base);
        (void)unlinkat(base, name, AT_REMOVEDIR);
    }
}

unsigned cgroup_offer_limits(void)
{
    char name[128];
    cleanup_fd int base = open_directory(cgroup.directory, "..");
    (void)snprintf(name, sizeof(name), "%s" CGROUP_DAEMONS, strrchr(cgroup.path, '/') + 1);
    unsigned missing = cgroup_read_controllers(base, "cgroup.controllers") &
                       ~cgroup_read_controllers(base, "cgroup.subtree_control");
    /* A cgroup with processes that is given controllers becomes threaded, and so do we
     * (cgroups(7)). */
    bool is_root = !directory_has(base, "cgroup.type"); /* it may give them all the same */
    bool is_free = missing == 0 || is_root || move_out(base, name) == 0;
    bool is_busy = !is_free && errno == EBUSY;
    if (is_free) {
        cgroup_change_controllers(base, '+', missing);
    }
    cgroup_change_controllers(cgroup.directory, '+',
                              cgroup_read_controllers(cgroup.directory, "cgroup.controllers"));
    errno = is_busy ? EBUSY : EOPNOTSUPP;
    return cgroup_read_controllers(cgroup.directory, "cgroup.subtree_control");
}

const char *cgroup_path(void)
{
    return cgroup.directory < 0 ? NULL : cgroup.path;
}

void cgroup_each_process(const char *run_directory, const char *setting,
                         bool (*each)(void *context, pid_t pid), void *context)
{
    char path[PATH_MAX];
    if (strcmp(setting, "off") == 0 || cgroup_find_run(run_directory, setting, path) < 0) {
        return;
    }
    cleanup_fd int directory = open_directory(AT_FDCWD, path);
    cleanup_directory DIR *entries = directory < 0 ? NULL : directory_list(directory);
    struct dirent *entry;
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.') {
            continue;
        }
        cleanup_fd int runner = open_directory(directory, entry->d_name);
        if (runner >= 0 && each_member(runner, each, context) == 0) {
            return;
        }
    }
}

int cgroup_remove(const char *run_directory, const char *setting)
{
    char path[PATH_MAX];
    if (strcmp(setting, "off") == 0 || cgroup_find_run(run_directory, setting, path) < 0) {
        return 0;
    }
    cleanup_fd int directory = open_directory(AT_FDCWD, path);
    if (directory < 0) {
        return errno == ENOENT ? 0 : -1;
    }
    cleanup_fd int base = open_directory(directory, "..");
    int64_t deadline = clock_monotonic_ms() + REMOVE_MS;
    const struct timespec pause = {.tv_nsec = REMOVE_PAUSE_MS * 1000000L};
    (void)cgroup_write(directory, "cgroup.kill", "1");
    for (;;) {
        remove_below(directory);
        if (rmdir(path) == 0 || errno == ENOENT) {
            move_back(base, strrchr(path, '/') + 1);
            return 0;
        }
        if (clock_monotonic_ms() >= deadline) {
            return -1;
        }
        (void)nanosleep(&pause, NULL);
    }
}

/* ---- runners ---- */

int cgroup_enter(const char *path)
{
    cleanup_fd int directory = open_directory(AT_FDCWD, path);
    if (directory < 0) {
        return -1;
    }
    int taken = 0; /* names that are there */
    for (int i = 0; i < TRIES; i++) {
        char name[32];
        int pid = (int)getpid();
        (void)(taken == 0 ? snprintf(name, sizeof(name), "%d", pid)
                          : snprintf(name, sizeof(name), "%d-%d", pid, taken));
        int own = cgroup_move_in(directory, name);
        if (own >= 0) {
            cgroup_oom_forget(); /* they were those of the cgroup before */
            return own;
        }
        if (errno == EEXIST) {
            taken++;
        } else if (errno != ENOENT && errno != ENODEV) { /* a sweep has removed it, being empty */
            return -1;
        }
    }
    return -1;
}

bool cgroup_remove_runner(pid_t pid)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%d", (int)pid);
    return cgroup.directory >= 0 && unlinkat(cgroup.directory, name, AT_REMOVEDIR) == 0;
}

/* Whether the runner's directory must be looked at again. */
static bool sweep_runner(const char *name, pid_t runner, bool (*alive)(pid_t runner))
{
    struct membership members = {.wanted = runner};
    cleanup_fd int directory = open_directory(cgroup.directory, name);
    if (directory < 0 || each_member(directory, look_for, &members) < 0) {
        return errno != ENOENT && errno != ENODEV;
    }
    if (members.found) {
        return !alive(runner);
    }
    /* An empty one may belong to a runner that is about to move in; it then makes it again. */
    if (members.any) {
        (void)cgroup_write(directory, "cgroup.kill", "1");
    }
    remove_below(directory);
    return unlinkat(cgroup.directory, name, AT_REMOVEDIR) < 0 && errno != ENOENT;
}

bool cgroup_sweep(bool (*alive)(pid_t runner))
{
    cleanup_directory DIR *entries = cgroup.directory < 0 ? NULL : directory_list(cgroup.directory);
    struct dirent *entry;
    bool again = false;
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        pid_t runner = entry->d_type == DT_DIR ? (pid_t)strtol(entry->d_name, NULL, 10) : 0;
        if (runner > 0 && sweep_runner(entry->d_name, runner, alive)) {
            again = true;
        }
    }
    return again;
}
