#include "launcher/start/inherited.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "common/run_files.h"
#include "launcher/base/file.h"

enum {
    FD_FCGI_APP = 3,
    FD_PROCD = 4,
    FD_LOCK = 5,
    FD_CLAIM = 6,
    FD_TERMINAL = 7,
    FD_NGINX = RUN_FD_NGINX, /* the first of nginx's own */
    FD_COUNT = FD_NGINX + LISTENERS_MOST,
};

int inherited_reserve(void)
{
    int fd;
    closefrom(STDERR_FILENO + 1);
    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd < FD_COUNT - 1 && (fd > STDERR_FILENO || fcntl(fd, F_SETFD, 0) == 0));
    if (fd < 0) {
        return log_failure("/dev/null: %m");
    }
    return 0;
}

static int put_at(int fd, int number)
{
    if (dup2(fd, number) < 0) {
        return log_failure("descriptors: %m");
    }
    return 0;
}

/* Opens a daemon's socket, for this user and group. */
static int open_socket(const struct run_dir *run, const char *name, int number, uid_t user,
                       gid_t group)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof(path), "%s/%s", run->path, name);
    mode_t mode = group == (gid_t)-1 ? 0600 : 0660;
    cleanup_fd int fd = listener_open_unix(path, number == FD_PROCD, mode, user, group);
    return fd < 0 ? -1 : put_at(fd, number);
}

/* nginx's sockets, and their numbers as it reads them in the variable NGINX. */
static int put_listeners(const struct run_dir *run, const struct listeners *listeners)
{
    char text[LISTENERS_MOST * 4 + 1] = "";
    for (size_t i = 0; i < listeners->count; i++) {
        size_t length = strlen(text);
        (void)snprintf(text + length, sizeof(text) - length, "%d;", FD_NGINX + (int)i);
        if (put_at(listeners->fds[i], FD_NGINX + (int)i) < 0) {
            return -1;
        }
    }
    if (listeners->count > 0 &&
        file_write(run->fd, RUN_NGINX_SOCKETS, 0600, text, strlen(text)) < 0) {
        return log_failure("%s/" RUN_NGINX_SOCKETS ": %m", run->path);
    }
    return 0;
}

int inherited_open(const struct run_dir *run, const struct listeners *listeners, uid_t owner,
                   gid_t workers, bool with_claim)
{
    if (open_socket(run, RUN_FCGI_APP_SOCKET, FD_FCGI_APP, (uid_t)-1, workers) < 0 ||
        open_socket(run, RUN_PROCD_SOCKET, FD_PROCD, owner, (gid_t)-1) < 0 ||
        open_socket(run, RUN_TERMINAL_SOCKET, FD_TERMINAL, (uid_t)-1, workers) < 0 ||
        (with_claim && open_socket(run, RUN_CLAIM_SOCKET, FD_CLAIM, (uid_t)-1, workers) < 0) ||
        put_at(run->fd, FD_LOCK) < 0) {
        return -1;
    }
    return put_listeners(run, listeners);
}
