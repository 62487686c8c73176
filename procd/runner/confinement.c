/*
 * Whatever is the same for every command is prepared once, so that a child makes no more system
 * calls than there are limits to set.
 */
#include "procd/runner/confinement.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/capability.h"
#include "common/cleanup.h"
#include "common/in_child.h"
#include "common/io.h"
#include "common/user.h"
#include "procd/runner/environment.h"

/* The score of commands, unless the server's own is higher. The kernel adds a thousandth of the
 * memory for each point (proc_pid_oom_score_adj(5)), so the daemons die last. */
#define COMMAND_OOM_SCORE "500"
#define OOM_FILE          "/proc/self/oom_score_adj"

static struct {
    const struct user *user; /* or NULL */
    int oom_file;            /* of this process; -1: commands have its score */
    char own_oom_score[16];
    struct {
        bool is_set;
        struct rlimit value;
    } limits[RLIM_NLIMITS]; /* that a child sets, by resource */
    mode_t umask;
} confinement = {.oom_file = -1};

static void confinement_limit(int resource, struct rlimit value)
{
    confinement.limits[resource].is_set = true;
    confinement.limits[resource].value = value;
}

/* Keeps the limits that commands have and this process has not. A child is born with the others. */
static int keep_limits(const struct resource_limit *inherited)
{
    for (size_t i = 0; inherited != NULL && i < RESOURCE_LIMITS; i++) {
        const struct rlimit *wanted = &inherited[i].value;
        struct rlimit own;
        if (getrlimit(inherited[i].resource, &own) < 0) {
            return -1;
        }
        if (own.rlim_cur != wanted->rlim_cur || own.rlim_max != wanted->rlim_max) {
            confinement_limit((int)inherited[i].resource, *wanted);
        }
    }
    return 0;
}

/* 0 is no limit. A limit in force cannot be raised, so the lower one counts. `grace` is the
 * distance from the soft to the hard limit. */
static int add_limit(__rlimit_resource_t resource, uint64_t most, rlim_t grace)
{
    struct rlimit now = confinement.limits[resource].value;
    if (most == 0) {
        return 0;
    }
    if (!confinement.limits[resource].is_set && getrlimit(resource, &now) < 0) {
        return -1;
    }
    rlim_t hard = most + grace < now.rlim_max ? most + grace : now.rlim_max;
    confinement_limit((int)resource, (struct rlimit){most < hard ? most : hard, hard});
    return 0;
}

static int add_limits(const struct settings *settings)
{
    /* Whole seconds, rounded up; the hard limit kills a process that goes on after SIGXCPU. */
    uint64_t cpu_seconds = (settings->limit_cpu_ms + 999) / 1000;
    return add_limit(RLIMIT_NOFILE, settings->limit_nofile, 0) < 0 ||
                   add_limit(RLIMIT_NPROC, settings->limit_nproc, 0) < 0 ||
                   add_limit(RLIMIT_FSIZE, settings->limit_fsize, 0) < 0 ||
                   add_limit(RLIMIT_CPU, cpu_seconds, 1) < 0 ||
                   add_limit(RLIMIT_AS, settings->limit_as, 0) < 0
               ? -1
               : 0;
}

bool confinement_can_rank(void)
{
    return access(OOM_FILE, W_OK) == 0;
}

/* Opens the file that raises the score, unless the server's own is as high already. */
static int choose_oom_score(void)
{
    char *text = confinement.own_oom_score;
    if (!confinement_can_rank()) {
        return 0; /* procd reports it, once */
    }
    cleanup_fd int fd = open(OOM_FILE, O_RDWR | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : io_read_full(fd, text, sizeof(confinement.own_oom_score) - 1);
    if (length < 0) {
        return -1;
    }
    text[length] = '\0';
    if (strtol(text, NULL, 10) < strtol(COMMAND_OOM_SCORE, NULL, 10)) {
        confinement.oom_file = steal_fd(&fd);
    }
    return 0;
}

int confinement_prepare(const struct settings *settings, const struct user *user,
                        const struct resource_limit *inherited)
{
    confinement.user = user;
    if (keep_limits(inherited) < 0) {
        return -1;
    }
    /* fcgi-app, which is not root then, reads a job's files; a child restores the umask. */
    confinement.umask = user == NULL ? 0 : umask(022);
    if (user != NULL) {
        environment_restrict();
        /* The change of user drops a child's capabilities, but not the inheritable and ambient ones
         * that the server may have been started with. */
        if (capability_drop_inheritable() < 0) {
            return -1;
        }
    }
    if (settings->allow_setuid == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return -1;
    }
    return choose_oom_score() < 0 ? -1 : add_limits(settings);
}

int confinement_give(int fd)
{
    const struct user *user = confinement.user;
    return user == NULL ? 0 : fchown(fd, user->uid, user->gid);
}

void confinement_rank(bool as_command)
{
    const char *score = as_command ? COMMAND_OOM_SCORE : confinement.own_oom_score;
    if (confinement.oom_file >= 0) { /* if it fails the command runs all the same */
        (void)!write(confinement.oom_file, score, strlen(score));
    }
}

IN_CHILD int confinement_enter(void)
{
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        if (confinement.limits[i].is_set &&
            setrlimit((__rlimit_resource_t)i, &confinement.limits[i].value) < 0) {
            return -1;
        }
    }
    if (confinement.user == NULL) {
        return 0;
    }
    (void)umask(confinement.umask);
    return user_become(confinement.user);
}
