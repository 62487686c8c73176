#include "launcher/start/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/logger.h"
#include "common/run_files.h"
#include "common/user.h"
#include "launcher/base/file.h"
#include "launcher/base/program.h"
#include "launcher/base/stop_signal.h"
#include "launcher/start/old_uploads.h"

/* Marks a directory that we may empty. */
#define MARKER ".nginx-sandbox"

#define RUN_MODE_OWN    0700 /* while it is emptied and laid out */
#define RUN_MODE        0711 /* nginx's workers pass through as another user but list nothing */
#define RUN_MODE_CLOSED 0710 /* to all but root and the workers' group */

bool run_dir_is_plain_path(const char *path)
{
    return path[strspn(path,
                       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+,@="
                       "~")] == '\0';
}

static int run_dir_fail(const char *path, const char *reason)
{
    return log_failure(RUN_DIR_VARIABLE ": %s: %s", path, reason);
}

/* nginx's workers must be able to enter the directories above, whatever our umask. */
static int make_one(struct run_dir *run, mode_t mode)
{
    mode_t mask = umask(022);
    int result = mkdir(run->given, mode);
    int saved = errno;
    (void)umask(mask);
    errno = saved;
    if (result == 0) {
        run->made[run->made_count++] = strlen(run->given);
    }
    return result < 0 && errno != EEXIST ? -1 : 0;
}

/* mkdir -p of run->given */
static int make_path(struct run_dir *run)
{
    for (char *slash = run->given + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        int result = run->made_count < RUN_DIR_MOST ? make_one(run, 0755) : -1;
        *slash = '/';
        if (result < 0) {
            return -1;
        }
    }
    errno = ENAMETOOLONG;
    return run->made_count < RUN_DIR_MOST ? make_one(run, RUN_MODE_OWN) : -1;
}

/* Removes those that are empty. */
static void remove_made(struct run_dir *run)
{
    while (run->made_count > 0) {
        run->given[run->made[--run->made_count]] = '\0';
        (void)rmdir(run->given);
    }
}

/* A fresh directory lies in /tmp and neither in XDG_RUNTIME_DIR nor in TMPDIR: logs and spooled
 * bodies may be large, and nginx's workers, another user than root, must get in. */
static int make_fresh(struct run_dir *run)
{
    (void)snprintf(run->path, sizeof(run->path), "/tmp/nginx-sandbox.XXXXXX");
    if (mkdtemp(run->path) == NULL) {
        return run_dir_fail(run->path, strerror(errno));
    }
    run->fresh = true;
    return 0;
}

static int make_given(struct run_dir *run, const char *path)
{
    if (snprintf(run->given, sizeof(run->given), "%s", path) >= (int)sizeof(run->given)) {
        return run_dir_fail(path, strerror(ENAMETOOLONG));
    }
    if (make_path(run) < 0 || realpath(path, run->path) == NULL) {
        return run_dir_fail(path, strerror(errno));
    }
    if (!run_dir_is_plain_path(run->path)) {
        return run_dir_fail(path, "holds characters that mean something to nginx");
    }
    if (strlen(run->path) > RUN_DIR_MOST) {
        return run_dir_fail(path, "is too long for the sockets in it");
    }
    return 0;
}

/* The directory is emptied at every start. So it must be ours: not locked, of the user who starts
 * the server, and empty or marked by an earlier start. The lock also keeps systemd-tmpfiles from
 * clearing the directory as old (tmpfiles.d(5)). */
static int run_dir_take(const struct run_dir *run)
{
    struct stat status;
    if (flock(run->fd, LOCK_EX | LOCK_NB) < 0) {
        return run_dir_fail(run->path, errno == EWOULDBLOCK ? "is in use by a running nginx-sandbox"
                                                            : strerror(errno));
    }
    if (fstat(run->fd, &status) < 0) {
        return run_dir_fail(run->path, strerror(errno));
    }
    if (status.st_uid != geteuid()) {
        return run_dir_fail(run->path, "belongs to another user");
    }
    if (!directory_has(run->fd, MARKER) && directory_is_empty(run->fd) != 1) {
        return run_dir_fail(run->path, "is not empty and no run directory of nginx-sandbox");
    }
    return 0;
}

/* No other user may enter meanwhile: the user of commands, who owns directories in it, could add
 * entries for ever. The marker stays, so that an interrupted start leaves a directory that the next
 * start may empty. */
static int run_dir_empty(const struct run_dir *run)
{
    static const char *const kept[] = {MARKER, OLD_UPLOADS, NULL};
    return fchmod(run->fd, RUN_MODE_OWN) < 0 || old_uploads_save(run->fd) < 0
               ? -1
               : directory_empty_but(run->fd, kept);
}

static int empty_as_child(const void *run)
{
    return run_dir_empty(run) < 0 ? errno : 0;
}

/* A child does it, since it may take long: a signal that ends the server ends the child. */
static int empty_or_stop(const struct run_dir *run)
{
    if (directory_is_empty(run->fd) == 1) {
        return 0;
    }
    int result = program_call(empty_as_child, run);
    errno = result > 0 ? result : errno;
    return result == 0 ? 0 : -1;
}

static int run_dir_lay_out(const struct run_dir *run)
{
    static const struct {
        const char *name;
        mode_t mode;
    } directories[] = {
        {RUN_STATE, 0700}, {RUN_SPOOL, 0700}, {RUN_PORT, 0711},  {RUN_UPLOADS, 0700},
        {"bin", 0755},     {"nginx", 0711},   {"service", 0711}, {"nginx/tmp", 0711},
    };
    if (file_write(run->fd, MARKER, 0600, "", 0) < 0 && errno != EEXIST) {
        return run_dir_fail(run->path, strerror(errno));
    }
    if (empty_or_stop(run) < 0) {
        return stop_signal_waits() ? -1 : run_dir_fail(run->path, strerror(errno));
    }
    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
        if (file_make_dir(run->fd, directories[i].name, directories[i].mode) < 0) {
            return run_dir_fail(run->path, strerror(errno));
        }
    }
    if (old_uploads_give_back(run->fd) < 0) {
        return run_dir_fail(run->path, strerror(errno));
    }
    /* `procd --stop`, the last to run, then removes the directory. */
    if (run->fresh && file_write(run->fd, "remove-on-exit", 0600, "", 0) < 0) {
        return run_dir_fail(run->path, strerror(errno));
    }
    return 0;
}

int run_dir_open(struct run_dir *run, const char *given)
{
    run->fresh = false;
    run->fd = -1;
    if (given == NULL ? make_fresh(run) < 0 : make_given(run, given) < 0) {
        remove_made(run);
        return -1;
    }
    run->fd = open(run->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run->fd < 0 ? run_dir_fail(run->path, strerror(errno)) < 0 : run_dir_take(run) < 0) {
        remove_made(run);
        close_fd(&run->fd);
        return -1;
    }
    if (run_dir_lay_out(run) < 0) {
        run_dir_discard(run);
        return -1;
    }
    return 0;
}

int run_dir_admit(const struct run_dir *run, const struct user *user, gid_t workers)
{
    if (user == NULL) {
        return fchmod(run->fd, RUN_MODE) < 0 ? run_dir_fail(run->path, strerror(errno)) : 0;
    }
    if (fchown(run->fd, (uid_t)-1, workers) < 0 || fchmod(run->fd, RUN_MODE_CLOSED) < 0 ||
        fchownat(run->fd, RUN_SPOOL, user->uid, user->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchownat(run->fd, RUN_PORT, user->uid, user->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchownat(run->fd, RUN_UPLOADS, user->uid, user->gid, AT_SYMLINK_NOFOLLOW) < 0) {
        return run_dir_fail(run->path, strerror(errno));
    }
    return 0;
}

void run_dir_discard(struct run_dir *run)
{
    /* A given directory that is not empty yet when the server is to end is left to the next start.
     * */
    bool leave = !run->fresh && stop_signal_waits();
    if (!leave && run_dir_empty(run) == 0 && directory_has(run->fd, OLD_UPLOADS)) {
        leave = true; /* to the next start, too, which can end them */
    }
    if (!leave && (run_dir_empty(run) < 0 || unlinkat(run->fd, MARKER, 0) < 0 ||
                   (run->fresh && rmdir(run->path) < 0))) {
        log_at(LOG_WARNING, "%s: cannot be removed: %m", run->path);
    }
    if (!leave) {
        remove_made(run);
    }
    close_fd(&run->fd);
}
