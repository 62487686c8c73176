/*
 * Why not simply the effective user: kill(2) looks at the real and the saved one, setpriority(2),
 * ioprio_set(2) and sched_setaffinity(2) at the effective one, ptrace(2) at all three. Only the
 * file-system ids mean nothing but access to files (setfsuid(2)), so what runs as SANDBOX_USER can
 * do nothing to us. Threads are born with all of it, and nothing ever changes it again.
 */
#include "identity/identity.h"

#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/capability.h"
#include "common/cleanup.h"
#include "common/logger.h"
#include "common/user.h"
#include "identity/seccomp.h"

/* From the bounding set, which no program that we might execute then goes beyond. */
static int drop_bounding_set(void)
{
    for (unsigned long capability = 0;; capability++) {
        int there = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
        if (there < 0) {
            return 0; /* the first number that the kernel does not know */
        }
        if (there > 0 && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
            return -1;
        }
    }
}

/* Neither call says whether it failed; a second one with an invalid id returns the current one.
 */
static bool set_file_ids(const struct user *user)
{
    (void)setfsgid(user->gid);
    (void)setfsuid(user->uid);
    return (gid_t)setfsgid((gid_t)-1) == user->gid && (uid_t)setfsuid((uid_t)-1) == user->uid;
}

static int become(const struct passwd *worker, const struct user *files)
{
    uid_t uid = worker->pw_uid;
    gid_t gid = worker->pw_gid;
    if (drop_bounding_set() < 0 || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 ||
        setgroups(files->group_count, files->groups) < 0 || setresgid(gid, gid, gid) < 0 ||
        setresuid(uid, uid, uid) < 0) {
        return -1;
    }
    /* Permitted still, and not effective any more: the change of the effective user did that. */
    if (capability_keep(CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID)) < 0) {
        return -1;
    }
    if (!set_file_ids(files)) {
        errno = EPERM;
        return -1;
    }
    return capability_keep(0) < 0 || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 ||
                   prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0
               ? -1
               : 0;
}

/*
 * The account of nginx's workers, whose group the run directory has. Without memory getpwnam(3) may
 * say that there is no www-data, and what is next in the list is another's. NULL when that was
 * logged.
 */
static const struct passwd *find_worker(const char *run)
{
    struct stat status;
    const struct passwd *worker = user_worker_account();
    if (worker == NULL) {
        log_line("SANDBOX_USER: there is no www-data, nginx or nobody");
        return NULL;
    }
    if (stat(run, &status) < 0 || status.st_gid != worker->pw_gid) {
        log_line("SANDBOX_USER: nginx's workers are not %s", worker->pw_name);
        return NULL;
    }
    return worker;
}

int identity_take(const struct settings *settings, const char *run)
{
    cleanup_user struct user files;
    char error[256];
    int found = user_find(settings->user, &files, error, sizeof(error));
    if (found < 0) {
        log_line("%s", error);
        return -1;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        log_line("no_new_privs: %m");
        return -1;
    }
    if (found == 0) {
        return 0;
    }
    const struct passwd *worker = find_worker(run);
    if (worker == NULL) {
        return -1;
    }
    if (become(worker, &files) < 0) {
        log_line("SANDBOX_USER: cannot change user: %m");
        return -1;
    }
    seccomp_forbid();
    return 0;
}
