#include "fcgi-app/files/file_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "fcgi-app/files/fs_bytes.h"
#include "fcgi-app/files/raw_limits.h"

#define RANGE_SIZE ((size_t)16 << 20) /* copied between two checks */
#define PIECE_SIZE ((size_t)256 << 10)

/* ---- content ---- */

static int check_to_stop(const struct copy_wish *wish)
{
    if (!stop_check_asks(&wish->check)) {
        return 0;
    }
    errno = ECANCELED;
    return -1;
}

/* Whether the disk of the copy keeps what it must when it has so many bytes more. */
static int check_room_for_copy(int to, size_t more)
{
    if (raw_limits_leaves_room(to, more)) {
        return 0;
    }
    errno = ENOSPC;
    return -1;
}

/* Through memory, from where both descriptors are: up to `end`, or the end of the file. */
static int copy_bytes(int from, int to, off_t begin, off_t end, const struct copy_wish *wish)
{
    cleanup_free char *piece = malloc(PIECE_SIZE);
    if (piece == NULL || lseek(from, begin, SEEK_SET) < 0 || lseek(to, begin, SEEK_SET) < 0) {
        return -1;
    }
    while (begin < end) {
        size_t wanted = end - begin < (off_t)PIECE_SIZE ? (size_t)(end - begin) : PIECE_SIZE;
        ssize_t got = io_read_some(from, piece, wanted);
        if (got < 0 || check_room_for_copy(to, (size_t)got) != 0 ||
            fs_bytes_write(to, piece, (size_t)got) != 0 || check_to_stop(wish) != 0) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        begin += got;
    }
    return 0;
}

/* A part of a file without holes. By the kernel alone where it can. */
static int copy_range(int from, int to, off_t begin, off_t end, const struct copy_wish *wish)
{
    off_t in = begin, out = begin;
    while (in < end) {
        size_t wanted = end - in < (off_t)RANGE_SIZE ? (size_t)(end - in) : RANGE_SIZE;
        if (check_room_for_copy(to, wanted) != 0) {
            return -1;
        }
        ssize_t copied = copy_file_range(from, &in, to, &out, wanted, 0);
        if (copied <= 0) { /* another file system, one that cannot, or the end of the file */
            return copied < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO)
                       ? -1
                       : copy_bytes(from, to, in, end, wish);
        }
        if (check_to_stop(wish) != 0) {
            return -1;
        }
    }
    return 0;
}

/* The parts of a file between its holes. */
static int copy_parts(int from, int to, off_t size, const struct copy_wish *wish)
{
    for (off_t at = 0; at < size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) {
            break; /* nothing but a hole is left */
        }
        off_t hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
        if (data < 0 || hole <= data) { /* the file system knows no holes */
            data = at;
            hole = size;
        }
        hole = hole < size ? hole : size;
        if (copy_range(from, to, data, hole, wish) != 0) {
            return -1;
        }
        at = hole;
    }
    /* A file that has become shorter meanwhile is as long as it was. */
    return ftruncate(to, size);
}

static int copy_content(int from, int to, off_t size, const struct copy_wish *wish)
{
    /* Files of /proc have no size. */
    return size == 0 ? copy_bytes(from, to, 0, INT64_MAX, wish) : copy_parts(from, to, size, wish);
}

/* ---- what is beside the content ---- */

/* Attributes of the user, and lists of access: those of the system are its own business. */
static bool is_copied(const char *name)
{
    return strncmp(name, "user.", strlen("user.")) == 0 ||
           strncmp(name, "system.posix_acl_", strlen("system.posix_acl_")) == 0;
}

/* What the file system or the user cannot set is left out. */
static int copy_attributes(int from, int to)
{
    cleanup_free char *names = malloc(XATTR_LIST_MAX), *value = malloc(XATTR_SIZE_MAX);
    if (names == NULL || value == NULL) {
        return -1;
    }
    ssize_t size = flistxattr(from, names, XATTR_LIST_MAX);
    for (const char *name = names; name < names + size; name += strlen(name) + 1) {
        ssize_t length = is_copied(name) ? fgetxattr(from, name, value, XATTR_SIZE_MAX) : -1;
        if (length >= 0 && fsetxattr(to, name, value, (size_t)length, 0) != 0 &&
            (errno == ENOSPC || errno == EDQUOT || errno == EIO)) {
            return -1;
        }
    }
    return 0;
}

/* The mode that a copy may have: it runs as another user only if that is the same one. */
static mode_t mode_of_copy(const struct stat *status, const struct stat *copy)
{
    mode_t mode = status->st_mode & 07777;
    mode &= status->st_uid == copy->st_uid ? 07777 : (mode_t)~S_ISUID;
    mode &= status->st_gid == copy->st_gid || S_ISDIR(status->st_mode) ? 07777 : (mode_t)~S_ISGID;
    return mode;
}

int file_copy_attributes(int from, int to, const struct stat *status, const struct copy_wish *wish)
{
    struct stat copy;
    const struct timespec times[2] = {status->st_atim, status->st_mtim};
    if (wish->keeps_owner && fchown(to, status->st_uid, status->st_gid) != 0 &&
        fchown(to, (uid_t)-1, status->st_gid) != 0) {
        errno = 0; /* it belongs to the user who copies, then */
    }
    /* The mode comes last but for the time: of a list of access it is the mask. */
    if (copy_attributes(from, to) != 0 || fstat(to, &copy) != 0 ||
        fchmod(to, mode_of_copy(status, &copy)) != 0) {
        return -1;
    }
    return futimens(to, times);
}

/* ---- one entry ---- */

static int copy_regular(int from, const char *name, int to, const char *new_name,
                        const struct copy_wish *wish)
{
    struct stat status;
    cleanup_fd int source =
        openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (source < 0 || fstat(source, &status) != 0) {
        return -1;
    }
    if (!S_ISREG(status.st_mode)) {
        errno = EAGAIN; /* something else has its name by now */
        return -1;
    }
    cleanup_fd int copy =
        openat(to, new_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (copy < 0 || copy_content(source, copy, status.st_size, wish) != 0 ||
        file_copy_attributes(source, copy, &status, wish) != 0) {
        return -1;
    }
    int closed = close(steal_fd(&copy)); /* some file systems report a full disk only then */
    return closed;
}

/* A link, FIFO or socket that was made has its time, and the owner if that is wished. */
static int finish_special(int to, const char *new_name, const struct stat *status,
                          const struct copy_wish *wish)
{
    const struct timespec times[2] = {status->st_atim, status->st_mtim};
    if (wish->keeps_owner &&
        fchownat(to, new_name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW) != 0) {
        errno = 0; /* as above */
    }
    return utimensat(to, new_name, times, AT_SYMLINK_NOFOLLOW);
}

static int copy_link(int from, const char *name, int to, const char *new_name)
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(from, name, target, sizeof(target) - 1);
    if (length < 0) {
        return -1;
    }
    target[length] = '\0';
    return symlinkat(target, to, new_name);
}

int file_copy(int from, const char *name, int to, const char *new_name,
              const struct copy_wish *wish)
{
    struct stat status;
    if (fstatat(from, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return -1;
    }
    switch (status.st_mode & S_IFMT) {
    case S_IFREG: return copy_regular(from, name, to, new_name, wish);
    case S_IFLNK:
        if (copy_link(from, name, to, new_name) != 0) {
            return -1;
        }
        break;
    case S_IFIFO:
    case S_IFSOCK:
        if (mknodat(to, new_name, status.st_mode & (S_IFMT | 0777), 0) != 0) {
            return -1;
        }
        break;
    default: errno = EOPNOTSUPP; return -1;
    }
    return finish_special(to, new_name, &status, wish);
}
