/*
 * A tree of directories that are watched, and what has changed in it. Each directory is a node, so
 * that its path is right after it, or one above it, has got another name. Three look after a tree:
 * a scan (tree_scan.h) finds directories and watches them, the kernel's reports (tree_events.h)
 * become changes, and a stream (change_stream.h) takes these.
 *
 * All of a tree belongs to whoever has its watch table locked: so have the callers of all functions
 * but watched_tree_new().
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/name_list.h"
#include "fcgi-app/changes/change_set.h"
#include "fcgi-app/changes/name_set.h"
#include "fcgi-app/streams/wakes.h"
#include "fcgi-app/streams/watch.h"

enum node_state {
    NODE_KNOWN,    /* it has been looked at; it is watched, unless that was not allowed */
    NODE_QUEUED,   /* it is to be looked at */
    NODE_SCANNING, /* it is being looked at */
    NODE_DROPPED,  /* it has left the tree with all below it */
};

/* A directory of the tree. */
struct tree_node {
    struct watcher watcher;
    struct watched_tree *tree;
    struct tree_node *parent; /* NULL: of the root */
    char *name;               /* owned; "" of the root */
    enum node_state state;
    bool reports;          /* what a scan finds in it is new */
    unsigned generation;   /* of the tree's, when it was scanned last */
    struct name_set names; /* in it */
    struct name_list seen; /* of NODE_SCANNING: names that the kernel has reported meanwhile */
    LIST_HEAD(, tree_node) children;
    LIST_ENTRY(tree_node) siblings;
    LIST_ENTRY(tree_node) same;    /* in a bucket, by parent and name */
    TAILQ_ENTRY(tree_node) queued; /* NODE_QUEUED: to be scanned; NODE_DROPPED: to be freed */
};

TAILQ_HEAD(node_queue, tree_node);

/* Why the client must look anew. */
enum tree_gap {
    GAP_NONE,
    GAP_RESUMED,  /* the client has come back */
    GAP_LOST,     /* the kernel has dropped reports */
    GAP_TOO_MANY, /* more changes than are kept */
};

/* A name that was moved away: whether to another name of the tree, the next reports say. */
struct pending_move {
    TAILQ_ENTRY(pending_move) moves;
    struct tree_node *parent; /* NULL: it has gone meanwhile */
    struct tree_node *child;  /* of a directory; NULL if it has no node */
    uint32_t cookie;
    bool is_directory;
    bool follows_placement; /* of the same name: the two may be an exchange with a hidden name */
    int64_t since;          /* ms */
    char name[];
};

/* The last hidden name that became a name of the tree. */
struct placement {
    uint32_t cookie;
    const struct tree_node *parent; /* for comparisons alone */
    char name[NAME_MAX + 1];
};

struct watched_tree {
    struct watch_table *table;
    bool is_recursive;
    size_t known;    /* names, of all directories */
    char *root_path; /* without links; owned */
    dev_t device;    /* of the root */
    ino_t inode;
    struct tree_node *root; /* NULL when it was freed */
    struct watcher above;   /* of the directory that the root is in */

    /* for the stream */
    struct waker *waker; /* NULL: it has gone, and so may the tree */
    struct change_set changes;
    int64_t due; /* ms: when the first of the changes is to be reported; 0: there is none */
    enum tree_gap gap;
    bool is_gone; /* the root was removed or moved */
    int error;    /* an errno: it cannot be watched any more */

    /* for the scan */
    struct node_queue to_scan, dropped;
    bool has_scanner;
    bool is_lost;       /* reports of the kernel are missing: all is to be scanned again */
    bool is_rescanning; /* that has begun */
    unsigned generation;

    /* for the kernel's reports */
    TAILQ_HEAD(move_list, pending_move) moves;
    size_t move_count;
    uint32_t hidden_cookie; /* of the last hidden name that was moved away */
    struct placement placed;
};

/* What is done with each report about a node, and about the directory above the root. */
struct tree_callbacks {
    void (*changed)(struct watcher *watcher, const struct inotify_event *event);
    void (*changed_above)(struct watcher *watcher, const struct inotify_event *event);
};

/*
 * A tree of the directory `root` (open, borrowed), of which nothing is watched yet; its root is to
 * be scanned. The caller frees it. NULL with errno: ENOENT if the directory has no name any more.
 */
struct watched_tree *watched_tree_new(struct watch_table *table, int root, bool is_recursive,
                                      const struct tree_callbacks *callbacks);

/* Frees it. All nodes are freed by then. */
void watched_tree_free(struct watched_tree *tree);

/* ---- nodes ---- */

/* The child of this name; NULL if there is none. */
struct tree_node *node_find(const struct tree_node *parent, const char *name);

/* A new child, which is to be scanned. NULL: memory is out, which the tree notes. */
struct tree_node *node_add(struct tree_node *parent, const char *name, bool reports);

/* Is to be scanned, if it is not already. */
void node_queue_scan(struct tree_node *node, bool reports);

/* Gets another name, which no other node has. */
void node_rename(struct tree_node *node, struct tree_node *parent, const char *name);

/* Takes a node out of the tree, with all below it. A scan frees them. */
void node_drop(struct tree_node *node);

/* Frees a dropped node, or one below it that has no others below it. Whether it was the former. */
bool node_free_one(struct tree_node *dropped);

/* Writes the path below the root of a name in a directory (NULL: of the directory itself). False if
 * it has left the tree, or is too long for the kernel. */
bool node_path(const struct tree_node *node, const char *name, char path[PATH_MAX]);

/* There is something of this name in the directory. */
void node_know_name(struct tree_node *node, const char *name);

/* Forgets all names in it. */
void node_forget_names(struct tree_node *node);

/* ---- what has changed ---- */

/* Notes a change of a name in a directory. */
void tree_note(struct tree_node *parent, enum change_kind kind, const char *name,
               bool is_directory);

/* The same for a new name. `from` is a path. */
void tree_note_rename(struct tree_node *parent, const char *from, const char *name,
                      bool is_directory, bool replaced);

/* Something may become a change soon. */
void tree_note_waiting(struct watched_tree *tree);

/* All that was noted is void: the client is to look anew. */
void tree_note_gap(struct watched_tree *tree, enum tree_gap gap);

/* Reports of the kernel are missing. */
void tree_note_lost(struct watched_tree *tree);

/* It cannot be watched any more. */
void tree_note_error(struct watched_tree *tree, int number);

/* The stream has something to look at. */
void tree_wake(const struct watched_tree *tree);
