/*
 * The older bytes are in an unlinked file, the newest ones in memory. When these would be more than
 * `memory_max` they go to the file all at once. Most spools never get a file.
 */
#include "common/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "common/io.h"

struct spool {
    int directory_fd;
    size_t memory_max;
    int fd; /* -1 until the memory is full */
    uint64_t file_size;
    char *memory; /* the bytes from file_size on */
    size_t memory_size, memory_capacity;
    char *view; /* a mapping of the whole file, or NULL */
};

#define MEMORY_FIRST 256 /* the first allocation: most unfinished lines fit */

struct spool *spool_new(int directory_fd, size_t memory_max)
{
    struct spool *spool = calloc(1, sizeof(*spool));
    if (spool != NULL) {
        spool->directory_fd = directory_fd;
        spool->memory_max = memory_max;
        spool->fd = -1;
    }
    return spool;
}

static void drop_view(struct spool *spool)
{
    if (spool->view != NULL) {
        (void)munmap(spool->view, spool->file_size);
        spool->view = NULL;
    }
}

void spool_free(struct spool *spool)
{
    if (spool != NULL) {
        drop_view(spool);
        close_fd(&spool->fd);
        free(spool->memory);
        free(spool);
    }
}

void spool_freep(struct spool **spool)
{
    spool_free(*spool);
    *spool = NULL;
}

void spool_reset(struct spool *spool)
{
    drop_view(spool);
    close_fd(&spool->fd);
    spool->file_size = 0;
    spool->memory_size = 0;
}

uint64_t spool_size(const struct spool *spool)
{
    return spool->file_size + spool->memory_size;
}

int spool_shorten(struct spool *spool, uint64_t size)
{
    if (size < spool->file_size || size > spool_size(spool)) {
        return -1;
    }
    spool->memory_size = (size_t)(size - spool->file_size);
    return 0;
}

static int need_file(struct spool *spool)
{
    if (spool->fd < 0) {
        spool->fd = io_open_nameless(spool->directory_fd);
    }
    return spool->fd < 0 ? -1 : 0;
}

/* Appends to the file; its size grows only when all of it is written. */
static int file_append(struct spool *spool, const char *data, size_t length)
{
    if (need_file(spool) != 0) {
        return -1;
    }
    drop_view(spool);
    for (size_t done = 0; done < length;) {
        ssize_t count =
            pwrite(spool->fd, data + done, length - done, (off_t)(spool->file_size + done));
        if (count < 0 && errno != EINTR) {
            return -1;
        }
        done += count > 0 ? (size_t)count : 0;
    }
    spool->file_size += length;
    return 0;
}

static int flush_memory(struct spool *spool)
{
    if (spool->memory_size > 0) {
        if (file_append(spool, spool->memory, spool->memory_size) != 0) {
            return -1;
        }
        spool->memory_size = 0;
    }
    return 0;
}

/* Makes room in memory for `length` more bytes, with which it stays within memory_max. */
static int reserve_memory(struct spool *spool, size_t length)
{
    size_t needed = spool->memory_size + length;
    if (needed <= spool->memory_capacity) {
        return 0;
    }
    size_t capacity = spool->memory_capacity < MEMORY_FIRST ? MEMORY_FIRST : spool->memory_capacity;
    while (capacity < needed) {
        capacity *= 2;
    }
    capacity = capacity > spool->memory_max ? spool->memory_max : capacity;
    char *memory = realloc(spool->memory, capacity);
    if (memory == NULL) {
        return -1;
    }
    spool->memory = memory;
    spool->memory_capacity = capacity;
    return 0;
}

int spool_write(struct spool *spool, const void *data, size_t length)
{
    if (length == 0) {
        return 0;
    }
    if (length > spool->memory_max - spool->memory_size) {
        if (flush_memory(spool) != 0) {
            return -1;
        }
        if (length > spool->memory_max) {
            return file_append(spool, data, length);
        }
    }
    if (reserve_memory(spool, length) != 0) {
        return -1;
    }
    memcpy(spool->memory + spool->memory_size, data, length);
    spool->memory_size += length;
    return 0;
}

ssize_t spool_read(struct spool *spool, uint64_t offset, void *data, size_t length)
{
    size_t filled = 0;
    uint64_t size = spool_size(spool);
    if (offset >= size) {
        return 0;
    }
    length = length > size - offset ? (size_t)(size - offset) : length;
    while (filled < length && offset < spool->file_size) {
        uint64_t left = spool->file_size - offset;
        size_t wanted = length - filled > left ? (size_t)left : length - filled;
        ssize_t count = pread(spool->fd, (char *)data + filled, wanted, (off_t)offset);
        if (count == 0) {
            errno = EIO;
        }
        if (count == 0 || (count < 0 && errno != EINTR)) {
            return -1;
        }
        filled += count > 0 ? (size_t)count : 0;
        offset += count > 0 ? (uint64_t)count : 0;
    }
    if (filled < length) {
        memcpy((char *)data + filled, spool->memory + (offset - spool->file_size), length - filled);
    }
    return (ssize_t)length;
}

const char *spool_view(struct spool *spool)
{
    if (spool->file_size == 0) {
        return spool->memory_size == 0 ? "" : spool->memory;
    }
    if (flush_memory(spool) != 0) {
        return NULL;
    }
    if (spool->view == NULL) {
        void *view = mmap(NULL, spool->file_size, PROT_READ, MAP_PRIVATE, spool->fd, 0);
        spool->view = view == MAP_FAILED ? NULL : view;
    }
    return spool->view;
}

int spool_open_reader(struct spool *spool)
{
    char path[DESCRIPTOR_PATH_SIZE];
    if (flush_memory(spool) != 0 || need_file(spool) != 0) {
        return -1;
    }
    /* An open file description of its own: read-only, with its own position. */
    return open(descriptor_path(spool->fd, path), O_RDONLY | O_CLOEXEC);
}

void spool_relax_view(struct spool *spool)
{
    if (spool->view != NULL) {
        (void)madvise(spool->view, spool->file_size, MADV_DONTNEED);
    }
}
