/*
 * A walk through a tree, for every call that looks at one: find, search, copy, the modes of a tree.
 * It follows no links and leads nowhere outside the tree, whatever happens meanwhile; it holds two
 * descriptors whatever the depth, and some MiB of names at most. Entries come in the order of their
 * names' bytes, a directory before what is in it. So a path is a position: a walk can go on from
 * there in another call, also if that entry has gone.
 *
 * A walk belongs to one thread. What its caller opens by entry->directory and entry->name may be
 * something else by then: use O_NOFOLLOW, and O_NONBLOCK for FIFOs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-app/files/name_batch.h"

struct tree_walk;

enum tree_event {
    TREE_ENTRY, /* an entry; if it is a directory, the walk goes down into it next */
    TREE_LEFT,  /* a directory: all that is in it was handed out */
    /* The directory that was handed out last cannot be read (errno): the walk goes on behind it.
     * ENOENT, ENOTDIR, ELOOP: something else has its name by now. */
    TREE_REFUSED,
    TREE_END,
    TREE_FAILED, /* errno; ECANCELED: the check asked to stop. The walk is over. */
};

/* Borrowed from the walk until the next call. */
struct tree_entry {
    int directory;    /* in which it is, open for reading; -1 of a TREE_LEFT whose place was lost */
    const char *name; /* in that directory */
    const char *path; /* from the root on, without a slash at either end; the root is "" */
    size_t path_length;
    unsigned char type; /* DT_REG and so on (readdir(3)), never DT_UNKNOWN */
};

struct tree_walk_plan {
    /* Where it begins, NULL: with all. The first entry is the one of this path, or what comes
     * behind it. The directories on the way are not handed out, but left. */
    const char *from;
    bool skips_kernel; /* does not enter /proc and /sys from another file system */
    struct stop_check check;
};

/* Begins to walk through the directory `root` (taken over, in any case), which is open for reading
 * and is not handed out itself. NULL with errno. `plan` (borrowed) stays until the walk's end. */
struct tree_walk *tree_walk_begin(int root, const struct tree_walk_plan *plan);

/* The next event. *entry is filled for TREE_ENTRY, TREE_LEFT and TREE_REFUSED. */
enum tree_event tree_walk_next(struct tree_walk *walk, struct tree_entry *entry);

/* Does not go down into the directory that was handed out last; it will not be left either. */
void tree_walk_skip(struct tree_walk *walk);

/* How many directories the walk is in, the root included. */
size_t tree_walk_depth(const struct tree_walk *walk);

void tree_walk_free(struct tree_walk *walk); /* NULL is fine */
void tree_walk_freep(struct tree_walk **walk);
