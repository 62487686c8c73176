/*
 * Theory of operation: names are collected until there are twice as many as a batch keeps. Then
 * they are sorted, the upper half is dropped, and names above the highest that is left are not
 * collected any more. So most names of a huge directory cost one comparison.
 */
#include "fcgi-app/files/name_batch.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"

#define ENTRIES_SIZE (32 << 10) /* of one getdents64(2) */
#define BATCH_MOST   ((size_t)1 << 20)

const char *name_batch_at(const struct name_batch *batch, size_t index, unsigned char *type)
{
    const char *text = name_list_at(&batch->names, index);
    *type = (unsigned char)text[0];
    return text + 1;
}

void name_batch_clear(struct name_batch *batch)
{
    name_list_clear(&batch->names);
    batch->has_more = false;
}

static int compare_names(const void *a, const void *b, void *text)
{
    return strcmp((const char *)text + *(const size_t *)a + 1,
                  (const char *)text + *(const size_t *)b + 1);
}

static void sort_names(struct name_list *names)
{
    if (names->count > 0) {
        qsort_r(names->starts, names->count, sizeof(*names->starts), compare_names, names->text);
    }
}

/* 0, or -1 with errno when memory is out. */
static int add_name(struct name_batch *batch, unsigned char type, const char *name)
{
    size_t length = strlen(name) + 1;
    char *place = name_list_new(&batch->names, length + 1);
    if (place == NULL) {
        return -1;
    }
    *place = (char)type;
    memcpy(place + 1, name, length);
    return 0;
}

/* What the batch is read from. */
struct batch_reading {
    struct name_batch *batch;
    const char *from;
    bool behind;
    size_t highest; /* index of the name above which none is taken; only if has_more */
};

/* Keeps the lower half of the names, in order. 0, or -1 with errno. */
static int drop_upper_half(struct batch_reading *reading)
{
    struct name_batch *batch = reading->batch;
    cleanup_(name_batch_clear) struct name_batch half = {.has_more = true};
    sort_names(&batch->names);
    for (size_t i = 0; i < batch->names.count && half.names.size < BATCH_MOST; i++) {
        unsigned char type;
        const char *name = name_batch_at(batch, i, &type);
        if (add_name(&half, type, name) != 0) {
            return -1;
        }
    }
    struct name_batch whole = *batch;
    *batch = half;
    half = whole;
    reading->highest = batch->names.count - 1;
    return 0;
}

static bool is_wanted(const struct batch_reading *reading, const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return false;
    }
    int order = strcmp(name, reading->from);
    unsigned char type;
    return (order > 0 || (order == 0 && !reading->behind)) &&
           (!reading->batch->has_more ||
            strcmp(name, name_batch_at(reading->batch, reading->highest, &type)) < 0);
}

/* Takes what one getdents64(2) has read. 0, or -1 with errno. */
static int take_entries(struct batch_reading *reading, const char *entries, size_t filled)
{
    for (size_t at = 0; at < filled;) {
        const struct dirent64 *entry = (const void *)(entries + at);
        at += entry->d_reclen;
        if (!is_wanted(reading, entry->d_name)) {
            continue;
        }
        if ((reading->batch->names.size > 2 * BATCH_MOST && drop_upper_half(reading) != 0) ||
            add_name(reading->batch, entry->d_type, entry->d_name) != 0) {
            return -1;
        }
    }
    return 0;
}

int name_batch_read(struct name_batch *batch, int directory, const char *from, bool behind,
                    const struct stop_check *check)
{
    struct batch_reading reading = {.batch = batch, .from = from, .behind = behind};
    batch->names.count = batch->names.size = 0;
    batch->has_more = false;
    cleanup_free char *entries = malloc(ENTRIES_SIZE);
    if (entries == NULL || lseek(directory, 0, SEEK_SET) < 0) {
        return -1;
    }
    for (;;) {
        ssize_t filled = getdents64(directory, entries, ENTRIES_SIZE);
        if (filled < 0 || take_entries(&reading, entries, (size_t)filled) != 0) {
            return -1;
        }
        if (filled == 0) {
            break;
        }
        if (stop_check_asks(check)) {
            errno = ECANCELED;
            return -1;
        }
    }
    if (batch->names.size > 2 * BATCH_MOST || batch->has_more) {
        return drop_upper_half(&reading);
    }
    sort_names(&batch->names);
    return 0;
}
