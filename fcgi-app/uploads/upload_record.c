#include "fcgi-app/uploads/upload_record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "common/directory.h"
#include "common/io.h"

#define VERSION     "1"
#define FIELDS      7
#define TEXT_MAX    ((size_t)65536) /* of a record: a path and a header */
#define DONE_MOST   256             /* records of finished uploads that are kept */
#define NAME_SIZE   (UPLOAD_ID_SIZE + 8)
#define NUMBER_SIZE 24

static struct {
    int directory;
    uint64_t most;
    uint64_t lifetime_ms;
} records = {.directory = -1};

void upload_records_init(int directory, uint64_t most, uint64_t lifetime_ms)
{
    records.directory = directory;
    records.most = most == 0 ? UINT64_MAX : most;
    records.lifetime_ms = lifetime_ms;
}

int upload_records_directory(void)
{
    return records.directory;
}

/* ---- names ---- */

static const char *const suffixes[] = {
    [UPLOAD_OPEN] = "", [UPLOAD_DONE] = ".done", [UPLOAD_MARK] = ".mark", [UPLOAD_OLD] = ".old"};

enum upload_name upload_name_read(const char *name, char id[UPLOAD_ID_SIZE])
{
    if (strspn(name, "0123456789abcdef") != UPLOAD_ID_LENGTH) {
        return UPLOAD_OTHER;
    }
    memcpy(id, name, UPLOAD_ID_LENGTH);
    id[UPLOAD_ID_LENGTH] = '\0';
    for (enum upload_name kind = UPLOAD_OPEN; kind <= UPLOAD_OLD; kind++) {
        if (strcmp(name + UPLOAD_ID_LENGTH, suffixes[kind]) == 0) {
            return kind;
        }
    }
    return UPLOAD_OTHER;
}

bool upload_id_is(const char *text)
{
    char id[UPLOAD_ID_SIZE];
    return upload_name_read(text, id) == UPLOAD_OPEN;
}

static const char *record_name(const char *id, enum upload_name kind, char name[NAME_SIZE])
{
    (void)snprintf(name, NAME_SIZE, "%s%s", id, suffixes[kind]);
    return name;
}

static int choose_id(char id[UPLOAD_ID_SIZE])
{
    uint64_t random[2];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return -1;
    }
    (void)snprintf(id, UPLOAD_ID_SIZE, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    return 0;
}

/* ---- how many ---- */

struct census {
    int64_t open, done;
    char oldest[NAME_SIZE]; /* of those that are done */
    time_t expires;         /* when it does */
};

static void count_done(struct census *census, const char *name)
{
    struct stat status;
    if (fstatat(records.directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return;
    }
    if (census->done++ == 0 || status.st_mtime < census->expires) {
        (void)snprintf(census->oldest, sizeof(census->oldest), "%s", name);
        census->expires = status.st_mtime;
    }
}

static int take_census(struct census *census)
{
    char id[UPLOAD_ID_SIZE];
    *census = (struct census){.open = 0};
    cleanup_directory DIR *entries = directory_list(records.directory);
    if (entries == NULL) {
        return -1;
    }
    for (const char *name; (name = directory_next(entries)) != NULL;) {
        enum upload_name kind = upload_name_read(name, id);
        census->open += kind == UPLOAD_OPEN;
        if (kind == UPLOAD_DONE) {
            count_done(census, name);
        }
    }
    return errno == 0 ? 0 : -1;
}

int64_t upload_records_count(void)
{
    struct census census;
    return take_census(&census) == 0 ? census.open : -1;
}

/* ---- making one ---- */

static int store_field(int fd, const char *text)
{
    return io_write_all(fd, text, strlen(text) + 1);
}

static int store_number(int fd, uint64_t number)
{
    char text[NUMBER_SIZE];
    (void)snprintf(text, sizeof(text), "%" PRIu64, number);
    return store_field(fd, text);
}

static int record_write(const struct upload_record *record)
{
    const struct fs_part *part = &record->part;
    int fd = record->fd;
    return store_field(fd, VERSION) != 0 || store_number(fd, record->length) != 0 ||
                   store_number(fd, part->device) != 0 || store_number(fd, part->inode) != 0 ||
                   store_number(fd, (uint64_t)part->born_ns) != 0 ||
                   store_field(fd, part->path) != 0 || store_field(fd, record->metadata) != 0
               ? -1
               : 0;
}

void upload_record_prolong(struct upload_record *record)
{
    uint64_t seconds = records.lifetime_ms / 1000 + (records.lifetime_ms % 1000 != 0);
    record->expires = time(NULL) + (time_t)seconds;
    const struct timespec times[] = {{.tv_sec = record->expires}, {.tv_sec = record->expires}};
    (void)futimens(record->fd, times); /* what fails leaves the time of before */
}

/* Writes it into a file that has no name yet, and gives it one. 0 or -1 with errno. */
static int record_store(struct upload_record *record)
{
    char temporary[IO_RANDOM_NAME_SIZE], path[DESCRIPTOR_PATH_SIZE];
    record->fd = io_open_temporary(records.directory, ".upload-", 0600, temporary);
    if (record->fd < 0) {
        return -1;
    }
    int result = -1;
    if (flock(record->fd, LOCK_EX | LOCK_NB) == 0 && record_write(record) == 0) {
        upload_record_prolong(record);
        result = linkat(AT_FDCWD, descriptor_path(record->fd, path), records.directory, record->id,
                        AT_SYMLINK_FOLLOW);
    }
    int number = errno;
    if (temporary[0] != '\0') {
        (void)unlinkat(records.directory, temporary, 0);
    }
    errno = number;
    return result;
}

int upload_record_make(struct upload_record *record)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct census census;
    record->fd = -1;
    if (choose_id(record->id) != 0) {
        return -1;
    }
    (void)pthread_mutex_lock(&lock);
    int result = take_census(&census);
    if (result == 0 && (uint64_t)census.open >= records.most) {
        errno = EUSERS;
        result = -1;
    }
    if (result == 0 && census.done >= DONE_MOST) {
        (void)unlinkat(records.directory, census.oldest, 0);
    }
    result = result == 0 ? record_store(record) : -1;
    (void)pthread_mutex_unlock(&lock);
    return result;
}

/* ---- reading one ---- */

static bool read_number(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

/* Takes what the fields say. 0 or -1 with errno. */
static int take_fields(struct upload_record *record, const char *const field[FIELDS])
{
    uint64_t born;
    if (strcmp(field[0], VERSION) != 0 || !read_number(field[1], &record->length) ||
        !read_number(field[2], &record->part.device) ||
        !read_number(field[3], &record->part.inode) || !read_number(field[4], &born) ||
        strpbrk(field[6], "\r\n") != NULL) { /* it becomes the value of a header */
        errno = EBADMSG;
        return -1;
    }
    record->part.born_ns = (int64_t)born;
    record->part.path = strdup(field[5]);
    record->metadata = strdup(field[6]);
    return record->part.path == NULL || record->metadata == NULL ? -1 : 0;
}

int upload_record_parse(struct upload_record *record, const char *text, size_t size)
{
    const char *field[FIELDS];
    size_t at = 0;
    for (size_t i = 0; i < FIELDS; i++) {
        const char *end = memchr(text + at, '\0', size - at);
        if (end == NULL) {
            errno = EBADMSG;
            return -1;
        }
        field[i] = text + at;
        at = (size_t)(end - text) + 1;
    }
    return take_fields(record, field);
}

/* Reads the text of the open record. 0 or -1 with errno: EBADMSG if it is none. */
static int record_read(struct upload_record *record)
{
    struct stat status;
    cleanup_free char *text = malloc(TEXT_MAX);
    if (text == NULL || fstat(record->fd, &status) != 0) {
        return -1;
    }
    record->expires = status.st_mtime;
    ssize_t size = io_read_full(record->fd, text, TEXT_MAX);
    return size < 0 ? -1 : upload_record_parse(record, text, (size_t)size);
}

/* Whether a record was made by the user who owns the directory: one of an earlier start may have
 * been written by a user who has fewer rights than this process. */
static bool is_ours(int file)
{
    struct stat one, other;
    return fstat(file, &one) == 0 && fstat(records.directory, &other) == 0 &&
           one.st_uid == other.st_uid;
}

static int record_open(struct upload_record *record, const char *id, enum upload_name kind)
{
    char name[NAME_SIZE];
    *record = (struct upload_record){.is_done = kind == UPLOAD_DONE};
    (void)snprintf(record->id, sizeof(record->id), "%s", id);
    record->fd = io_open_regular(records.directory, record_name(id, kind, name), O_RDWR);
    if (record->fd < 0) {
        return -1;
    }
    if (!is_ours(record->fd)) {
        errno = EBADMSG;
        return -1;
    }
    return record_read(record);
}

int upload_record_open(struct upload_record *record, const char *id)
{
    if (record_open(record, id, UPLOAD_OPEN) == 0) {
        return 0;
    }
    if (errno != ENOENT) {
        return -1;
    }
    upload_record_clear(record);
    return record_open(record, id, UPLOAD_DONE);
}

int upload_record_open_old(struct upload_record *record, const char *id)
{
    return record_open(record, id, UPLOAD_OLD);
}

void upload_record_clear(struct upload_record *record)
{
    close_fd(&record->fd);
    fs_part_clear(&record->part);
    free(record->metadata);
    record->metadata = NULL;
}

int upload_record_lock(const struct upload_record *record)
{
    char name[NAME_SIZE];
    struct stat one, other;
    if (flock(record->fd, LOCK_EX | LOCK_NB) != 0) {
        return -1;
    }
    enum upload_name kind = record->is_done ? UPLOAD_DONE : UPLOAD_OPEN;
    if (fstat(record->fd, &one) != 0 ||
        fstatat(records.directory, record_name(record->id, kind, name), &other,
                AT_SYMLINK_NOFOLLOW) != 0) {
        return -1;
    }
    errno = ENOENT;
    return one.st_ino == other.st_ino ? 0 : -1;
}

/* ---- its end ---- */

int upload_record_finish(struct upload_record *record)
{
    char name[NAME_SIZE];
    upload_record_unmark(record);
    if (renameat(records.directory, record->id, records.directory,
                 record_name(record->id, UPLOAD_DONE, name)) != 0) {
        return -1;
    }
    record->is_done = true;
    return 0;
}

void upload_record_remove(const struct upload_record *record)
{
    char name[NAME_SIZE];
    for (enum upload_name kind = UPLOAD_OPEN; kind <= UPLOAD_OLD; kind++) {
        (void)unlinkat(records.directory, record_name(record->id, kind, name), 0);
    }
}

/* ---- the mark ---- */

int upload_record_mark(const struct upload_record *record, uint64_t offset)
{
    char name[NAME_SIZE], text[NUMBER_SIZE];
    (void)snprintf(text, sizeof(text), "%" PRIu64, offset);
    return symlinkat(text, records.directory, record_name(record->id, UPLOAD_MARK, name));
}

void upload_record_unmark(const struct upload_record *record)
{
    char name[NAME_SIZE];
    (void)unlinkat(records.directory, record_name(record->id, UPLOAD_MARK, name), 0);
}

bool upload_record_is_marked(const struct upload_record *record, uint64_t *offset)
{
    char name[NAME_SIZE], text[NUMBER_SIZE];
    ssize_t length = readlinkat(records.directory, record_name(record->id, UPLOAD_MARK, name), text,
                                sizeof(text) - 1);
    if (length <= 0) {
        return false;
    }
    text[length] = '\0';
    return read_number(text, offset);
}
