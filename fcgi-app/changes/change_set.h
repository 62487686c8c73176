/*
 * Changes of files in the order in which they happened, of which what belongs together is one: a
 * file that is created and written is `created`, one that is created and removed is nothing. A set
 * belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

enum change_kind { CHANGE_CREATED, CHANGE_CHANGED, CHANGE_REMOVED, CHANGE_RENAMED };

struct change {
    enum change_kind kind;
    bool is_directory;
    bool is_open;         /* a later change of the path may become one with it */
    bool replaced;        /* of CHANGE_RENAMED: there was something of the new name */
    const char *path;     /* below the root, which is "" */
    const char *old_path; /* of CHANGE_RENAMED */
    TAILQ_ENTRY(change) order;
    LIST_ENTRY(change) same; /* by the path; only if it is open */
    char text[];
};

#define CHANGE_BUCKETS 512

struct change_set {
    TAILQ_HEAD(change_list, change) list;
    LIST_HEAD(, change) buckets[CHANGE_BUCKETS];
    size_t count, bytes;
    /* There were more changes than a set keeps, or memory was out: it has none. */
    bool has_overflown;
};

void change_set_init(struct change_set *set);

/* Empties it. */
void change_set_clear(struct change_set *set);

/* Adds a change of another kind than CHANGE_RENAMED. */
void change_set_add(struct change_set *set, enum change_kind kind, const char *path,
                    bool is_directory);

/* Adds that a path has got another name. `replaced`: there was something of that name. */
void change_set_rename(struct change_set *set, const char *from, const char *to, bool is_directory,
                       bool replaced);

/* The oldest, borrowed until it is dropped; NULL if there is none. */
const struct change *change_set_first(const struct change_set *set);
void change_set_drop_first(struct change_set *set);
