/*
 * A cursor in the byte log of a job (job_files.h): reads the segments one after the other while
 * their runner appends to them. It knows no thread and no inotify: whoever wants to be woken
 * watches the job's directory for IN_MODIFY, IN_CREATE and IN_MOVED_TO (the exit record).
 *
 * A cursor belongs to one thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct byte_cursor {
    int directory;   /* borrowed */
    int segment;     /* -1 while there is none; owned */
    uint64_t start;  /* the offset of the segment's first byte */
    uint64_t offset; /* of the next byte to hand out */
};

/* Begins at `offset`, whether the log has it or not (byte_log_bounds says what it has). */
void byte_cursor_open(struct byte_cursor *cursor, int directory, uint64_t offset);
void byte_cursor_close(struct byte_cursor *cursor);

/*
 * Reads up to `size` bytes. The count; 0 when there is nothing more for now; -1 with errno. *gap is
 * how many bytes are missing between the cursor and the first one that is returned, usually 0:
 * retention was faster, or a full disk has cost them. The bytes end at cursor->offset, which has
 * moved over the gap, too.
 */
ssize_t byte_cursor_read(struct byte_cursor *cursor, void *data, size_t size, uint64_t *gap);

/*
 * Where the log begins and ends on the disk: *first is the offset of the oldest byte, *next that of
 * the byte that will come next (or would have). 0, or -1 with errno; ENOENT when there is no byte
 * log. After the end of its job, a cursor that has read everything and is before *next has lost the
 * rest to a full disk.
 */
int byte_log_bounds(int directory, uint64_t *first, uint64_t *next);
