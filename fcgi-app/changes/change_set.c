#include "fcgi-app/changes/change_set.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHANGES_MOST 16384
#define BYTES_MOST   ((size_t)2 << 20)

void change_set_init(struct change_set *set)
{
    *set = (struct change_set){.count = 0};
    TAILQ_INIT(&set->list);
}

static unsigned bucket_of(const char *path)
{
    uint32_t hash = 5381;
    for (; *path != '\0'; path++) {
        hash = hash * 33 + (unsigned char)*path;
    }
    return hash % CHANGE_BUCKETS;
}

/* Later changes do not become one with it any more. */
static void close_change(struct change *change)
{
    if (change->is_open) {
        LIST_REMOVE(change, same);
        change->is_open = false;
    }
}

static size_t change_bytes(const struct change *change)
{
    return sizeof(*change) + strlen(change->path) + strlen(change->old_path) + 2;
}

static void drop_change(struct change_set *set, struct change *change)
{
    close_change(change);
    set->count--;
    set->bytes -= change_bytes(change);
    TAILQ_REMOVE(&set->list, change, order);
    free(change);
}

void change_set_clear(struct change_set *set)
{
    struct change *change;
    while ((change = TAILQ_FIRST(&set->list)) != NULL) {
        drop_change(set, change);
    }
    set->has_overflown = false;
}

/* The change that a later one of this path may become one with; NULL if there is none. */
static struct change *find_open(const struct change_set *set, const char *path)
{
    struct change *change;
    LIST_FOREACH (change, &set->buckets[bucket_of(path)], same) {
        if (strcmp(change->path, path) == 0) {
            break;
        }
    }
    return change;
}

/* Adds one at the end. */
static void append_change(struct change_set *set, enum change_kind kind, const char *path,
                          const char *old_path, bool is_directory, bool replaced)
{
    struct change *before = find_open(set, path);
    size_t length = strlen(path) + 1, old_length = strlen(old_path) + 1;
    struct change *change = set->count == CHANGES_MOST || set->bytes > BYTES_MOST
                                ? NULL
                                : malloc(sizeof(*change) + length + old_length);
    if (change == NULL) {
        change_set_clear(set);
        set->has_overflown = true;
        return;
    }
    if (before != NULL) {
        close_change(before);
    }
    *change = (struct change){.kind = kind,
                              .is_directory = is_directory,
                              .is_open = true,
                              .replaced = replaced,
                              .path = change->text,
                              .old_path = change->text + length};
    memcpy(change->text, path, length);
    memcpy(change->text + length, old_path, old_length);
    set->count++;
    set->bytes += change_bytes(change);
    TAILQ_INSERT_TAIL(&set->list, change, order);
    LIST_INSERT_HEAD(&set->buckets[bucket_of(path)], change, same);
}

/* Whether a change becomes one with an earlier one of its path. */
static bool unite(struct change_set *set, struct change *earlier, enum change_kind kind)
{
    if (earlier->kind == CHANGE_RENAMED) {
        return false;
    }
    if (kind == CHANGE_REMOVED) {
        if (earlier->kind == CHANGE_CREATED) {
            drop_change(set, earlier);
        } else {
            earlier->kind = CHANGE_REMOVED;
        }
    } else if (earlier->kind == CHANGE_REMOVED) {
        earlier->kind = CHANGE_CHANGED;
    }
    return true;
}

void change_set_add(struct change_set *set, enum change_kind kind, const char *path,
                    bool is_directory)
{
    if (set->has_overflown) {
        return;
    }
    struct change *earlier = find_open(set, path);
    if (earlier == NULL || earlier->is_directory != is_directory || !unite(set, earlier, kind)) {
        append_change(set, kind, path, "", is_directory, false);
    }
}

/* What was noted below a directory is about its old name: it stays as it is. */
static void close_all(struct change_set *set)
{
    struct change *change;
    TAILQ_FOREACH (change, &set->list, order) {
        close_change(change);
    }
}

/* Of a file. */
static void rename_file(struct change_set *set, const char *from, const char *to, bool replaced)
{
    struct change *earlier = find_open(set, from);
    enum change_kind kind = earlier == NULL ? CHANGE_REMOVED : earlier->kind;
    if (kind == CHANGE_CREATED) { /* such as a temporary name */
        drop_change(set, earlier);
        change_set_add(set, replaced ? CHANGE_CHANGED : CHANGE_CREATED, to, false);
        return;
    }
    if (kind == CHANGE_RENAMED && earlier->replaced && strcmp(earlier->old_path, to) == 0) {
        /* There and back, or both names were exchanged: the kernel reports the same. */
        change_set_add(set, CHANGE_CHANGED, from, false);
        change_set_add(set, CHANGE_CHANGED, to, false);
        return;
    }
    if (kind == CHANGE_CHANGED) {
        drop_change(set, earlier);
    }
    append_change(set, CHANGE_RENAMED, to, from, false, replaced);
    if (kind == CHANGE_CHANGED) {
        change_set_add(set, CHANGE_CHANGED, to, false);
    }
}

void change_set_rename(struct change_set *set, const char *from, const char *to, bool is_directory,
                       bool replaced)
{
    if (set->has_overflown) {
        return;
    }
    if (!is_directory) {
        rename_file(set, from, to, replaced);
        return;
    }
    close_all(set);
    append_change(set, CHANGE_RENAMED, to, from, true, replaced);
}

const struct change *change_set_first(const struct change_set *set)
{
    return TAILQ_FIRST(&set->list);
}

void change_set_drop_first(struct change_set *set)
{
    drop_change(set, TAILQ_FIRST(&set->list));
}
