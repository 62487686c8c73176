/*
 * Theory of operation: the content goes into a temporary file beside the target, which takes its
 * name when the content is complete. Where that would change more than the content, the content is
 * copied over the old one: only then may a crash of the server leave half a file. Nothing is
 * synced: what a power cut leaves depends on the file system.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "common/io.h"
#include "common/logger.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/fs_attributes.h"
#include "fcgi-app/files/fs_bytes.h"
#include "fcgi-app/files/fs_part.h"
#include "fcgi-app/files/fs_target.h"
#include "fcgi-app/http/spools.h"

#define TEMPORARY_PREFIX FS_PART_PREFIX
#define OVERWRITE_LOCKS  16 /* shared by all files */

/* The content goes to the target's stream or to a temporary file. */
struct fs_writer {
    char *path; /* as the client named it, for messages */
    struct fs_target target;
    int fd;                              /* the temporary file; -1: none */
    char temporary[IO_RANDOM_NAME_SIZE]; /* its name; "" while it has none */
    bool is_beside;                      /* beside the target, so that it can take its name */
    bool is_part;                        /* it stays when the write is left (fs_part.h) */
    bool closes_silently;                /* close(2) of it reports nothing (fs_write_room()) */
    bool written;
};

void fs_write_cancel(struct fs_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    if (writer->temporary[0] != '\0' && !writer->is_part) {
        (void)unlinkat(writer->target.place.directory, writer->temporary, 0);
    }
    close_fd(&writer->fd);
    fs_target_clear(&writer->target, !writer->written);
    free(writer->path);
    free(writer);
}

static void writer_freep(struct fs_writer **writer)
{
    fs_write_cancel(*writer);
}

/* ---- opening ---- */

/* Gives an open file a name in a directory. By the descriptor itself, which kernels before 6.10
 * allow to few; by its path in /proc otherwise. 0 or -1 with errno. */
static int link_open_file(int fd, int directory, const char *name)
{
    char path[DESCRIPTOR_PATH_SIZE];
    int result = linkat(fd, "", directory, name, AT_EMPTY_PATH);
    return result == 0 || errno != ENOENT
               ? result
               : linkat(AT_FDCWD, descriptor_path(fd, path), directory, name, AT_SYMLINK_FOLLOW);
}

/* Makes sure that the temporary file has a name. */
static int name_temporary(struct fs_writer *writer)
{
    char name[IO_RANDOM_NAME_SIZE];
    if (writer->temporary[0] != '\0') {
        return 0;
    }
    if (io_random_name(name, TEMPORARY_PREFIX) != 0 ||
        link_open_file(writer->fd, writer->target.place.directory, name) != 0) {
        return -1;
    }
    memcpy(writer->temporary, name, sizeof(name));
    return 0;
}

/* Makes a place for the content. 0 or -1 with errno. */
static int open_content(struct fs_writer *writer)
{
    if (writer->target.stream >= 0) {
        return 0;
    }
    const struct fs_target *target = &writer->target;
    if (target->place.directory >= 0) {
        /* While it has no name, it may have the mode that it is to have. */
        mode_t mode = target->direct && target->file >= 0 ? target->status.st_mode & 0777 : 0600;
        writer->fd =
            io_open_temporary(target->place.directory, TEMPORARY_PREFIX, mode, writer->temporary);
        if (writer->fd >= 0) {
            writer->is_beside = true;
            return 0;
        }
        if (target->file < 0 || fs_is_shortage(errno)) {
            return -1;
        }
    }
    /* the file may be written, its directory not; a file of the kernel; a removed one */
    writer->fd = io_open_nameless(spools_directory());
    return writer->fd < 0 ? -1 : 0;
}

/* NULL when memory is out. */
static struct fs_writer *writer_make(const char *path)
{
    cleanup_(writer_freep) struct fs_writer *writer = calloc(1, sizeof(*writer));
    if (writer != NULL) {
        writer->fd = -1;
        writer->target = (struct fs_target){.stream = -1, .file = -1, .place.directory = -1};
        writer->path = strdup(path);
    }
    return writer == NULL || writer->path == NULL ? NULL : steal_pointer(writer);
}

/* A writer that has looked at its target. NULL with *error. */
static struct fs_writer *writer_new(const char *path, struct fs_error *error)
{
    cleanup_(writer_freep) struct fs_writer *writer = writer_make(path);
    if (writer == NULL) {
        (void)fs_fail(error, ENOMEM, "open", path);
        return NULL;
    }
    if (fs_target_open(&writer->target, path) != 0) {
        (void)fs_fail(error, errno, "open", path);
        return NULL;
    }
    return steal_pointer(writer);
}

struct fs_writer *fs_write_begin(const char *path, struct fs_error *error)
{
    cleanup_(writer_freep) struct fs_writer *writer = writer_new(path, error);
    if (writer == NULL) {
        return NULL;
    }
    if (open_content(writer) != 0) {
        (void)fs_fail(error, errno, "open", path);
        return NULL;
    }
    return steal_pointer(writer);
}

struct fs_writer *fs_write_begin_direct(const char *path)
{
    cleanup_(writer_freep) struct fs_writer *writer = writer_make(path);
    return writer != NULL && fs_target_open_direct(&writer->target, path) == 0 &&
                   open_content(writer) == 0
               ? steal_pointer(writer)
               : NULL;
}

/* ---- content that outlives this process ---- */

/* Whether the target is a regular file, or nothing yet; otherwise *error says why not. */
static bool may_have_part(const struct fs_writer *writer, struct fs_error *error)
{
    if (writer->target.stream >= 0) {
        (void)fs_refuse(error, ERROR_unsupported, "upload", writer->path, "Not a regular file");
        return false;
    }
    return true;
}

struct fs_writer *fs_write_begin_part(const char *path, struct fs_part *part,
                                      struct fs_error *error)
{
    char name[IO_RANDOM_NAME_SIZE];
    *part = (struct fs_part){.path = NULL};
    cleanup_(writer_freep) struct fs_writer *writer = fs_write_begin(path, error);
    if (writer == NULL || !may_have_part(writer, error)) {
        return NULL;
    }
    if (!writer->is_beside) {
        (void)fs_refuse(error, ERROR_permission_denied, "upload", path,
                        "Nothing can be made in its directory; PUT it to /files");
        return NULL;
    }
    memcpy(name, writer->temporary, sizeof(name));
    if ((name[0] == '\0' && io_random_name(name, TEMPORARY_PREFIX) != 0) ||
        fs_part_describe(part, writer->fd, writer->target.place.directory, name) != 0) {
        (void)fs_fail(error, errno, "open", path);
        return NULL;
    }
    return steal_pointer(writer);
}

int fs_write_keep_part(struct fs_writer *writer, const struct fs_part *part, struct fs_error *error)
{
    size_t length;
    const char *name = fs_name(part->path, &length);
    if (writer->temporary[0] == '\0' &&
        link_open_file(writer->fd, writer->target.place.directory, name) != 0) {
        return fs_fail(error, errno, "open", writer->path);
    }
    (void)snprintf(writer->temporary, sizeof(writer->temporary), "%s", name);
    writer->is_part = true;
    return 0;
}

/* Takes a part that lies beside the target for the content. Whether it does. */
static bool take_part(struct fs_writer *writer, const struct fs_part *part, int file)
{
    size_t length;
    if (!fs_part_is_in(part, writer->target.place.directory)) {
        return false;
    }
    writer->fd = fcntl(file, F_DUPFD_CLOEXEC, 0);
    writer->is_beside = writer->is_part = true;
    (void)snprintf(writer->temporary, sizeof(writer->temporary), "%s",
                   fs_name(part->path, &length));
    return writer->fd >= 0;
}

struct fs_writer *fs_write_resume(const char *path, const struct fs_part *part, int file,
                                  struct fs_error *error)
{
    struct stat status;
    cleanup_(writer_freep) struct fs_writer *writer = writer_new(path, error);
    if (writer == NULL || !may_have_part(writer, error)) {
        return NULL;
    }
    if (take_part(writer, part, file)) {
        return steal_pointer(writer);
    }
    /* links lead elsewhere by now */
    if (open_content(writer) != 0 || fstat(file, &status) != 0 ||
        fs_bytes_copy(file, writer->fd, 0, status.st_size) != 0) {
        (void)fs_fail(error, errno, "open", path);
        return NULL;
    }
    return steal_pointer(writer);
}

/* ---- content that has arrived before ---- */

int fs_write_early(const char *path)
{
    struct fs_target target;
    int fd = fs_target_find(&target, path) != 0
                 ? -1
                 : openat(target.place.directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    fs_target_clear(&target, false);
    return fd;
}

/* Whether linkat(2) can put a file into a directory. */
static bool is_on_one_mount(int file, int directory)
{
    struct statx one, other;
    return statx(file, "", AT_EMPTY_PATH, STATX_MNT_ID, &one) == 0 &&
           statx(directory, "", AT_EMPTY_PATH, STATX_MNT_ID, &other) == 0 &&
           (one.stx_mask & other.stx_mask & STATX_MNT_ID) != 0 &&
           one.stx_mnt_id == other.stx_mnt_id;
}

bool fs_write_adopt(struct fs_writer *writer, int early)
{
    if (!writer->is_beside || writer->temporary[0] != '\0' ||
        !is_on_one_mount(early, writer->target.place.directory)) {
        return false;
    }
    int fd = fcntl(early, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    close_fd(&writer->fd);
    writer->fd = fd;
    return true;
}

/* ---- writing ---- */

int fs_write_data(struct fs_writer *writer, const char *data, size_t length, struct fs_error *error)
{
    int fd = writer->target.stream >= 0 ? writer->target.stream : writer->fd;
    return fs_bytes_write(fd, data, length) == 0 ? 0 : fs_fail(error, errno, "write", writer->path);
}

/* ---- the end: a new file, or one in the place of the old ---- */

/* Some file systems (NFS) report only at close(2) that a write has failed: closing a copy of the
 * descriptor does, too. */
static int close_copy(const struct fs_writer *writer)
{
    if (writer->closes_silently) {
        return 0;
    }
    int copy = fcntl(writer->fd, F_DUPFD_CLOEXEC, 0);
    return copy < 0 ? -1 : close(copy);
}

/* The write is done: that this fails does not undo it. */
static void look_at_written(int fd, struct fs_written *written)
{
    written->is_known = fstat(fd, &written->status) == 0;
}

/* Gives the file the mode and the time that the client wishes. 0 or -1 with errno. */
static int apply_wish(int fd, const struct fs_wish *wish)
{
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, wish->modified};
    return (wish->has_mode && fchmod(fd, wish->mode) != 0) ||
                   (wish->has_time && futimens(fd, times) != 0)
               ? -1
               : 0;
}

/* Gives the temporary file the name of the target where there is nothing. 0 or -1 with errno. */
static int place_new(struct fs_writer *writer)
{
    const struct fs_place *place = &writer->target.place;
    if (close_copy(writer) != 0 || link_open_file(writer->fd, place->directory, place->name) != 0) {
        return -1;
    }
    if (writer->temporary[0] != '\0') {
        (void)unlinkat(place->directory, writer->temporary, 0);
        writer->temporary[0] = '\0';
    }
    return 0;
}

/* Gives the temporary file the name of the target. 0 or -1 with errno. */
static int replace_target(struct fs_writer *writer)
{
    const struct fs_place *place = &writer->target.place;
    if (close_copy(writer) != 0 || name_temporary(writer) != 0 ||
        renameat(place->directory, writer->temporary, place->directory, place->name) != 0) {
        return -1;
    }
    writer->temporary[0] = '\0'; /* it is the target now */
    return 0;
}

static bool can_replace(const struct fs_writer *writer)
{
    const struct fs_target *target = &writer->target;
    struct stat old = target->status;
    return writer->is_beside && (target->direct || fstat(target->file, &old) == 0) &&
           fs_attributes_copy(target->file, &old, writer->fd) == 0 &&
           fs_target_flags(writer->fd) == target->flags;
}

/* ---- the end: over the content of the old ---- */

/*
 * Copies the content over that of the file, which stays the same file with all that it has. What
 * the file grows by is written first: until that is done a failure leaves the old content. Clients
 * that write one file at the same time take turns, so that it ends as one of them wrote it.
 */
static int overwrite(const struct fs_writer *writer, const struct fs_wish *wish,
                     struct fs_written *written)
{
    static pthread_mutex_t locks[OVERWRITE_LOCKS] = {[0 ... OVERWRITE_LOCKS - 1] =
                                                         PTHREAD_MUTEX_INITIALIZER};
    struct stat content, status;
    cleanup_fd int fd = fs_target_open_file(&writer->target);
    if (fd < 0 || fstat(writer->fd, &content) != 0 || fstat(fd, &status) != 0) {
        return -1;
    }
    pthread_mutex_t *lock = &locks[status.st_ino % OVERWRITE_LOCKS];
    (void)pthread_mutex_lock(lock);
    /* the wish comes first, because it may be refused, and last, because a write changes both */
    int result = fstat(fd, &status) != 0 || apply_wish(fd, wish) != 0 ||
                         fs_bytes_replace(writer->fd, fd, status.st_size, content.st_size,
                                          writer->path, &written->is_damaged) != 0 ||
                         apply_wish(fd, wish) != 0
                     ? -1
                     : 0;
    (void)pthread_mutex_unlock(lock);
    if (result == 0) {
        look_at_written(fd, written);
        result = close(steal_fd(&fd));
    }
    return result;
}

/* Gives the temporary file the name where there was nothing: at once if it has no other name yet.
 * What has come there meanwhile is replaced, unless the write is exclusive. 0 or -1 with errno. */
static int place_file(struct fs_writer *writer, bool exclusive)
{
    bool links = exclusive || writer->temporary[0] == '\0';
    if (links && place_new(writer) == 0) {
        return 0;
    }
    return exclusive || (links && errno != EEXIST) ? -1 : replace_target(writer);
}

/* Where there was nothing. 0 or -1 with errno. */
static int commit_new(struct fs_writer *writer, const struct fs_wish *wish,
                      struct fs_written *written)
{
    if (fchmod(writer->fd, 0644) != 0 || apply_wish(writer->fd, wish) != 0 ||
        place_file(writer, wish->exclusive) != 0) {
        return -1;
    }
    look_at_written(writer->fd, written);
    return 0;
}

static int writer_commit(struct fs_writer *writer, const struct fs_wish *wish,
                         struct fs_written *written)
{
    struct fs_target *target = &writer->target;
    if (target->stream >= 0) {
        return close(steal_fd(&target->stream));
    }
    written->created = target->file < 0 || target->made;
    if (target->file < 0) {
        return commit_new(writer, wish, written);
    }
    if (wish->exclusive && !target->made) {
        errno = EEXIST;
        return -1;
    }
    if (can_replace(writer) && apply_wish(writer->fd, wish) == 0) {
        if (replace_target(writer) == 0) {
            look_at_written(writer->fd, written);
            return 0;
        }
        if (fs_is_shortage(errno)) {
            return -1;
        }
        /* a mount, or another's file in a sticky directory */
    }
    return overwrite(writer, wish, written);
}

int fs_write_commit(struct fs_writer *writer, struct fs_error *error)
{
    struct fs_written written;
    return fs_write_publish(writer, &(const struct fs_wish){.has_mode = false}, &written, error);
}

/* Whether a file system is one of those of which close(2) reports nothing. */
static bool closes_silently(const struct statfs *disk)
{
    return disk->f_type == EXT4_SUPER_MAGIC || disk->f_type == XFS_SUPER_MAGIC ||
           disk->f_type == BTRFS_SUPER_MAGIC || disk->f_type == TMPFS_MAGIC;
}

uint64_t fs_write_room(struct fs_writer *writer)
{
    struct statfs disk;
    if (fstatfs(writer->fd, &disk) != 0) {
        return UINT64_MAX;
    }
    writer->closes_silently = closes_silently(&disk);
    return (uint64_t)disk.f_bavail * (uint64_t)(disk.f_frsize != 0 ? disk.f_frsize : disk.f_bsize);
}

int fs_write_publish(struct fs_writer *writer, const struct fs_wish *wish,
                     struct fs_written *written, struct fs_error *error)
{
    cleanup_(writer_freep) struct fs_writer *own = writer;
    *written = (struct fs_written){.created = false};
    if (writer_commit(own, wish, written) != 0) {
        return fs_fail(error, errno, "write", own->path);
    }
    own->written = true;
    return 0;
}
