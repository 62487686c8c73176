/*
 * Writing a file as a whole: into a temporary file beside it, which takes its name when all is
 * there. Nothing is synced: a crash of the server never shows half a file, a power cut is the file
 * system's matter.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/fs_path.h"

#define LINKS_MAX     40   /* as the kernel's own limit */
#define FIFO_PATIENCE 1000 /* ms that a FIFO's reader may take to make room */

struct fs_writer {
    char *path; /* as the client named it, for messages */
    struct fs_place place;
    bool exists; /* something is there already: `status` */
    struct stat status;
    int fd;
    bool in_place;      /* `fd` is the target itself, not a temporary file */
    char temporary[40]; /* the temporary file's name; "" while it has none */
};

static void writer_free(struct fs_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    if (writer->temporary[0] != '\0') {
        (void)unlinkat(writer->place.directory, writer->temporary, 0);
    }
    close_fd(&writer->fd);
    fs_place_clear(&writer->place);
    free(writer->path);
    free(writer);
}

static void writer_freep(struct fs_writer **writer)
{
    writer_free(*writer);
}

void fs_write_cancel(struct fs_writer *writer)
{
    writer_free(writer);
}

/* ---- where the content goes ---- */

/* What the symbolic link `path` points to, seen from where `path` is seen. NULL with errno; EINVAL:
 * no link. */
static char *follow(const char *path)
{
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof(target));
    if (length < 0) {
        return NULL;
    }
    if (length == (ssize_t)sizeof(target)) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    target[length] = '\0';
    const char *slash = strrchr(path, '/');
    int directory = target[0] == '/' || slash == NULL ? 0 : (int)(slash - path) + 1;
    char *joined;
    return asprintf(&joined, "%.*s%s", directory, path, target) < 0 ? NULL : joined;
}

/* The path behind all symbolic links at the end of `path`, which need not exist. NULL with errno.
 */
static char *follow_all(const char *path)
{
    cleanup_free char *current = strdup(path);
    for (int links = 0; current != NULL; links++) {
        char *next = follow(current);
        if (next == NULL) {
            /* no link, or nothing there: whoever opens it will see */
            return errno == EINVAL || errno == ENOENT ? steal_pointer(current) : NULL;
        }
        free(current);
        current = next;
        if (links == LINKS_MAX) {
            errno = ELOOP;
            return NULL;
        }
    }
    return NULL;
}

/* Finds what is to be written: writer->place, ->exists and ->status. 0 or -1 with errno. */
static int locate(struct fs_writer *writer)
{
    cleanup_free char *path = follow_all(writer->path);
    if (path == NULL) {
        return -1;
    }
    size_t length = strlen(path);
    if (length > 0 && path[length - 1] == '/') {
        errno = stat(path, &writer->status) == 0 || errno == ENOENT ? EISDIR : errno;
        return -1;
    }
    if (fs_place_open(&writer->place, path) != 0) {
        errno = errno == EINVAL ? EISDIR : errno; /* . or .. */
        return -1;
    }
    if (fstatat(writer->place.directory, writer->place.name, &writer->status,
                AT_SYMLINK_NOFOLLOW) == 0) {
        writer->exists = true;
    } else if (errno != ENOENT) {
        return -1;
    }
    if (writer->exists && S_ISDIR(writer->status.st_mode)) {
        errno = EISDIR;
        return -1;
    }
    return 0;
}

/* ---- opening ---- */

/* A name that nobody can guess or has taken. 0 or -1 with errno. */
static int random_name(char *name, size_t size)
{
    uint64_t random;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return -1;
    }
    (void)snprintf(name, size, ".sandbox-%016llx", (unsigned long long)random);
    return 0;
}

/* Opens a file without a name, or with one where the file system has no such files. */
static int open_temporary(struct fs_writer *writer)
{
    char name[sizeof(writer->temporary)];
    int directory = writer->place.directory;
    writer->fd = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (writer->fd >= 0) {
        return 0;
    }
    if (!io_lacks_tmpfile(errno) || random_name(name, sizeof(name)) != 0) {
        return -1;
    }
    writer->fd = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (writer->fd < 0) {
        return -1;
    }
    memcpy(writer->temporary, name, sizeof(name));
    return 0;
}

/* Makes sure that the temporary file has a name. */
static int name_temporary(struct fs_writer *writer)
{
    char name[sizeof(writer->temporary)], unnamed[40];
    if (writer->temporary[0] != '\0') {
        return 0;
    }
    (void)snprintf(unnamed, sizeof(unnamed), "/proc/self/fd/%d", writer->fd);
    if (random_name(name, sizeof(name)) != 0 ||
        linkat(AT_FDCWD, unnamed, writer->place.directory, name, AT_SYMLINK_FOLLOW) != 0) {
        return -1;
    }
    memcpy(writer->temporary, name, sizeof(name));
    return 0;
}

/* Opens what is there, to be written in place. Non-blocking: a FIFO without a reader is refused. */
static int open_in_place(const struct fs_writer *writer, int flags)
{
    return openat(writer->place.directory, writer->place.name,
                  O_WRONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC | flags);
}

/* Whether a failure says that a file cannot be made or replaced here, though it may be writable. */
static bool is_irreplaceable(int number)
{
    return number == EACCES || number == EPERM || number == EROFS || number == EBUSY;
}

static int open_target(struct fs_writer *writer)
{
    writer->in_place = writer->exists && !S_ISREG(writer->status.st_mode);
    if (writer->in_place) {
        writer->fd = open_in_place(writer, 0);
        return writer->fd < 0 ? -1 : 0;
    }
    if (writer->exists &&
        faccessat(writer->place.directory, writer->place.name, W_OK, AT_EACCESS) != 0) {
        return -1;
    }
    if (open_temporary(writer) != 0 && writer->exists && is_irreplaceable(errno)) {
        writer->in_place = true;
        writer->fd = open_in_place(writer, O_TRUNC);
    }
    return writer->fd < 0 ? -1 : 0;
}

struct fs_writer *fs_write_begin(const char *path, struct fs_error *error)
{
    cleanup_(writer_freep) struct fs_writer *writer = calloc(1, sizeof(*writer));
    if (writer != NULL) {
        writer->fd = -1;
        writer->place.directory = -1;
        writer->path = strdup(path);
    }
    if (writer == NULL || writer->path == NULL) {
        (void)fs_fail(error, ENOMEM, "open", path);
        return NULL;
    }
    if (locate(writer) != 0 || open_target(writer) != 0) {
        (void)fs_fail(error, errno, "open", path);
        return NULL;
    }
    return steal_pointer(writer);
}

/* ---- writing ---- */

/* Waits until a FIFO or a terminal takes more, but not for ever. */
static int wait_writable(int fd)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    int ready = poll(&writable, 1, FIFO_PATIENCE);
    if (ready == 0) {
        errno = EAGAIN;
    }
    return ready > 0 || (ready < 0 && errno == EINTR) ? 0 : -1;
}

int fs_write_data(struct fs_writer *writer, const char *data, size_t length, struct fs_error *error)
{
    while (length > 0) {
        ssize_t written = write(writer->fd, data, length);
        if (written > 0) {
            data += written;
            length -= (size_t)written;
        } else if (written == 0) {
            return fs_fail(error, EIO, "write", writer->path);
        } else if (errno != EINTR && (errno != EAGAIN || wait_writable(writer->fd) != 0)) {
            return fs_fail(error, errno, "write", writer->path);
        }
    }
    return 0;
}

/* ---- the end ---- */

/* Gives the temporary file the owner and the mode of what it replaces; a new one has 0644. */
static int take_attributes(const struct fs_writer *writer)
{
    mode_t mode = writer->status.st_mode & 07777;
    if (!writer->exists) {
        return fchmod(writer->fd, 0644);
    }
    if (fchown(writer->fd, writer->status.st_uid, writer->status.st_gid) != 0) {
        mode &= 0777; /* set-user-ID is for the owner that it was given by */
    }
    return fchmod(writer->fd, mode);
}

/* Copies the temporary file over the content of a target that cannot be replaced. */
static int copy_in_place(const struct fs_writer *writer)
{
    cleanup_fd int target = open_in_place(writer, O_TRUNC);
    off_t offset = 0;
    if (target < 0) {
        return -1;
    }
    for (;;) {
        ssize_t copied = sendfile(target, writer->fd, &offset, 1 << 20);
        if (copied == 0) { /* the end of the temporary file */
            return close(steal_fd(&target));
        }
        if (copied < 0 && errno != EINTR) {
            return -1;
        }
    }
}

/* Where a write is only found to have failed at close(2), as on NFS, any close tells. */
static int flush(const struct fs_writer *writer)
{
    int copy = fcntl(writer->fd, F_DUPFD_CLOEXEC, 0);
    return copy < 0 ? -1 : close(copy);
}

static int replace(struct fs_writer *writer)
{
    int directory = writer->place.directory;
    if (take_attributes(writer) != 0 || flush(writer) != 0) {
        return -1;
    }
    if (name_temporary(writer) == 0 &&
        renameat(directory, writer->temporary, directory, writer->place.name) == 0) {
        writer->temporary[0] = '\0'; /* it is the target now */
        return 0;
    }
    /* another's file in a sticky directory, a bind mount */
    return writer->exists && is_irreplaceable(errno) ? copy_in_place(writer) : -1;
}

int fs_write_commit(struct fs_writer *writer, struct fs_error *error)
{
    cleanup_(writer_freep) struct fs_writer *own = writer;
    int result = own->in_place ? close(steal_fd(&own->fd)) : replace(own);
    return result == 0 ? 0 : fs_fail(error, errno, "write", own->path);
}
