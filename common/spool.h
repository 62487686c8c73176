/*
 * A spool holds bytes that cannot be passed on at once: the first `memory_max` in memory, the rest
 * in an unlinked file, so that what a command prints or a client sends is bounded by the disk and
 * not by memory. One spool belongs to one thread at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct spool;

/*
 * An empty spool whose file, when it needs one, is made in the directory `directory_fd` (borrowed,
 * must outlive the spool). NULL with errno when memory is out.
 */
struct spool *spool_new(int directory_fd, size_t memory_max);

/* Closes and frees; NULL is fine. */
void spool_free(struct spool *spool);
void spool_freep(struct spool **spool); /* for cleanup_() */

/* Empties the spool; gives the disk space and all memory beyond `memory_max` back. */
void spool_reset(struct spool *spool);

/*
 * Appends. 0, or -1 with errno: ENOSPC when the disk is full, ENOMEM. After
 * a failure what was there before the call is intact and still readable.
 */
int spool_write(struct spool *spool, const void *data, size_t length);

uint64_t spool_size(const struct spool *spool);

/* Takes the newest bytes out, all but the first `size`. 0, or -1 when some of them are in the file
 * already. */
int spool_shorten(struct spool *spool, uint64_t size);

/* Copies up to `length` bytes from `offset` on. The count (0 at the end), or -1 with errno. */
ssize_t spool_read(struct spool *spool, uint64_t offset, void *data, size_t length);

/*
 * All bytes as one read-only piece of memory (a private mapping of the file, if there is one),
 * valid until the next write, reset or free. NULL with errno; of an empty spool a pointer to no
 * bytes.
 */
const char *spool_view(struct spool *spool);

/*
 * A descriptor (CLOEXEC, the caller's) that reads the spool from its beginning, for another
 * process. The bytes in memory go to the file first. Afterwards the spool may be freed and must not
 * be written. -1 with errno.
 */
int spool_open_reader(struct spool *spool);

/*
 * Lets the kernel take back the memory of the view, which stays valid (reading it again brings it
 * back): for reading a large spool piece by piece.
 */
void spool_relax_view(struct spool *spool);
