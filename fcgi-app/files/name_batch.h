/*
 * The next names of a directory in the order of their bytes. A directory may have millions: a batch
 * keeps the first of them, up to 1 MiB, and the next batch reads the directory again. So the names
 * of any directory come in order and in bounded memory, and a position among them is a name, which
 * a client can hand back. A batch belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/name_list.h"
#include "fcgi-app/files/stop_check.h"

/* Begins with zeros. */
struct name_batch {
    struct name_list names; /* a byte of the type before each of them; in order */
    bool has_more;          /* there are names behind these */
};

/*
 * Reads a directory that is open for reading, from its beginning: the first names that are not
 * below `from`, and not `from` itself if `behind`. "" is before all names. The old content of the
 * batch is dropped. 0, or -1 with errno (ECANCELED: the check asked to stop).
 */
int name_batch_read(struct name_batch *batch, int directory, const char *from, bool behind,
                    const struct stop_check *check);

/* The name with this index, below `names.count`, and its DT_ type of readdir(3), perhaps
 * DT_UNKNOWN. */
const char *name_batch_at(const struct name_batch *batch, size_t index, unsigned char *type);

/* Frees all; it may be read into again. */
void name_batch_clear(struct name_batch *batch);
