/*
 * A job exists while its directory is in RUN/state/jobs. A removal begins with a rename to
 * RUN/state/removed.
 */
#include "procd/jobs/job_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/logger.h"
#include "common/run_files.h"
#include "common/tree.h"
#include "procd/jobs/remover.h"
#include "procd/log/job_files.h"
#include "procd/wire/protocol.h"

static int jobs = -1;    /* RUN/state/jobs */
static int removed = -1; /* RUN/state/removed: removed jobs, until the remover comes */

/* Makes a directory below `parent` if need be and opens it. */
static int enter_directory(int parent, const char *name)
{
    if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST) {
        return -1;
    }
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int job_directories_open(const char *run_directory)
{
    cleanup_fd int run = open(run_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_fd int state = run < 0 ? -1 : enter_directory(run, RUN_STATE);
    jobs = state < 0 ? -1 : enter_directory(state, "jobs");
    removed = jobs < 0 ? -1 : enter_directory(state, "removed");
    return removed < 0 ? -1 : remover_open(removed);
}

int job_directories_room(struct statvfs *room)
{
    return fstatvfs(jobs, room);
}

DIR *job_directories_list(void)
{
    return directory_list(jobs);
}

/* A random UUID: RFC 9562, version 4. */
static int make_id(char id[JOB_ID_SIZE])
{
    unsigned char b[16];
    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b)) {
        return -1;
    }
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    (void)snprintf(id, JOB_ID_SIZE,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
    return 0;
}

bool job_directory_is_name(const char *name)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    for (size_t i = 0; i < sizeof(form); i++) {
        bool hexadecimal = name[i] != '\0' && strchr("0123456789abcdef", name[i]) != NULL;
        if (form[i] == 'x' ? !hexadecimal : name[i] != form[i]) {
            return false;
        }
    }
    return true;
}

int job_directory_create(char id[JOB_ID_SIZE])
{
    if (make_id(id) < 0 || mkdirat(jobs, id, 0700) < 0) {
        return -1;
    }
    cleanup_fd int directory = job_directory_open(id);
    /* A client that procd gives a descriptor of it (OPEN) may read it; nobody else can pass
     * RUN/state. */
    if (directory < 0 || fchmod(directory, 0755) < 0 || flock(directory, LOCK_EX | LOCK_NB) < 0) {
        int saved = errno;
        job_directory_remove(id);
        errno = saved;
        return -1;
    }
    return steal_fd(&directory);
}

int job_directory_open(const char *id)
{
    return openat(jobs, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

bool job_directory_is_free(int directory)
{
    return flock(directory, LOCK_SH | LOCK_NB) == 0;
}

void job_directory_remove(const char *id)
{
    if (renameat(jobs, id, removed, id) == 0) {
        remover_wake();
    } else if (tree_remove(jobs, id) < 0) {
        log_at(LOG_WARNING, "job %s: cannot remove its files: %m", id);
    }
}

int job_directory_socket(int directory, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", directory,
                   JOB_SOCKET_FILE);
    return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

int job_directory_connect(int directory)
{
    struct sockaddr_un address;
    cleanup_fd int fd = job_directory_socket(directory, &address);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        return -1;
    }
    return steal_fd(&fd);
}
