#include "fcgi-app/changes/watched_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/analyzer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/descriptor.h"

#define TOGETHER_MS 50 /* what happens within this time is reported together */

#define KNOWN_MOST ((size_t)1 << 21) /* names in all directories of a tree */

/* ---- nodes by their names ---- */

#define NODE_BUCKETS 16384

/* Of all trees: whoever has the watch table has it, too. */
static LIST_HEAD(, tree_node) node_buckets[NODE_BUCKETS];

static unsigned node_bucket(const struct tree_node *parent, const char *name)
{
    uint32_t hash = (uint32_t)((uintptr_t)parent >> 4);
    for (; *name != '\0'; name++) {
        hash = hash * 33 + (unsigned char)*name;
    }
    return hash % NODE_BUCKETS;
}

struct tree_node *node_find(const struct tree_node *parent, const char *name)
{
    struct tree_node *node;
    LIST_FOREACH (node, &node_buckets[node_bucket(parent, name)], same) {
        if (node->parent == parent && strcmp(node->name, name) == 0) {
            break;
        }
    }
    return node;
}

static void enter_parent(struct tree_node *node, struct tree_node *parent)
{
    node->parent = parent;
    if (parent != NULL) {
        LIST_INSERT_HEAD(&parent->children, node, siblings);
        LIST_INSERT_HEAD(&node_buckets[node_bucket(parent, node->name)], node, same);
    }
}

static void leave_parent(struct tree_node *node)
{
    if (node->parent != NULL) {
        LIST_REMOVE(node, siblings);
        LIST_REMOVE(node, same);
        node->parent = NULL;
    }
}

/* ---- nodes ---- */

static struct tree_node *node_new(struct watched_tree *tree, struct tree_node *parent,
                                  const char *name, bool reports,
                                  void (*changed)(struct watcher *, const struct inotify_event *))
{
    struct tree_node *node = calloc(1, sizeof(*node));
    char *own_name = strdup(name);
    if (node == NULL || own_name == NULL) {
        free(node);
        free(own_name);
        return NULL;
    }
    node->watcher = (struct watcher){.descriptor = -1, .changed = changed};
    node->tree = tree;
    node->name = own_name;
    enter_parent(node, parent);
    node_queue_scan(node, reports);
    return node;
}

struct tree_node *node_add(struct tree_node *parent, const char *name, bool reports)
{
    struct watched_tree *tree = parent->tree;
    struct tree_node *node = node_new(tree, parent, name, reports, tree->root->watcher.changed);
    if (node == NULL) {
        tree_note_error(tree, ENOMEM);
    }
    return node;
}

void node_queue_scan(struct tree_node *node, bool reports)
{
    if (node->state == NODE_KNOWN) {
        node->state = NODE_QUEUED;
        node->reports = reports;
        TAILQ_INSERT_HEAD(&node->tree->to_scan, node, queued);
    }
}

void node_rename(struct tree_node *node, struct tree_node *parent, const char *name)
{
    char *own_name = strdup(name);
    if (own_name == NULL) {
        tree_note_error(node->tree, ENOMEM);
        return;
    }
    leave_parent(node);
    free(node->name);
    node->name = own_name;
    enter_parent(node, parent);
}

static void leave_queue(struct tree_node *node)
{
    if (node->state == NODE_QUEUED) {
        TAILQ_REMOVE(&node->tree->to_scan, node, queued);
    } else if (node->state == NODE_DROPPED) {
        TAILQ_REMOVE(&node->tree->dropped, node, queued);
    }
    node->state = NODE_KNOWN;
}

void node_drop(struct tree_node *node)
{
    if (node->state == NODE_DROPPED) {
        return;
    }
    leave_queue(node);
    leave_parent(node);
    node->state = NODE_DROPPED;
    TAILQ_INSERT_TAIL(&node->tree->dropped, node, queued);
}

void node_know_name(struct tree_node *node, const char *name)
{
    size_t before = node->names.used;
    if (node->tree->known < KNOWN_MOST) {
        name_set_add(&node->names, name);
        node->tree->known += node->names.used - before; /* which may be less by now */
    }
}

void node_forget_names(struct tree_node *node)
{
    node->tree->known -= node->names.used;
    name_set_clear(&node->names);
}

static void forget_moves_of(const struct tree_node *node)
{
    struct pending_move *move;
    TAILQ_FOREACH (move, &node->tree->moves, moves) {
        move->parent = move->parent == node ? NULL : move->parent;
        move->child = move->child == node ? NULL : move->child;
    }
}

bool node_free_one(struct tree_node *dropped)
{
    struct tree_node *node = dropped;
    while (!LIST_EMPTY(&node->children)) {
        node = LIST_FIRST(&node->children);
    }
    struct watched_tree *tree = node->tree;
    forget_moves_of(node);
    leave_queue(node);
    leave_parent(node);
    watcher_remove(tree->table, &node->watcher);
    node_forget_names(node);
    name_list_clear(&node->seen);
    if (tree->root == node) {
        tree->root = NULL;
    }
    free(node->name);
    free(node);
    return node == dropped;
}

/* Puts a part before what the path has at *at. False: there is no room. */
static bool prepend_part(char path[PATH_MAX], size_t *at, const char *part)
{
    bool has_more = path[*at] != '\0';
    size_t length = strlen(part);
    if (length + has_more > *at) {
        return false;
    }
    if (has_more) {
        path[--*at] = '/';
    }
    *at -= length;
    memcpy(path + *at, part, length);
    return true;
}

bool node_path(const struct tree_node *node, const char *name, char path[PATH_MAX])
{
    size_t at = PATH_MAX - 1;
    path[at] = '\0';
    if (name != NULL && !prepend_part(path, &at, name)) {
        return false;
    }
    for (; node->parent != NULL; node = node->parent) {
        if (!prepend_part(path, &at, node->name)) {
            return false;
        }
    }
    memmove(path, path + at, PATH_MAX - at);
    return node->state != NODE_DROPPED; /* it has no parent either */
}

/* ---- what has changed ---- */

void tree_wake(const struct watched_tree *tree)
{
    if (tree->waker != NULL) {
        waker_wake(tree->waker);
    }
}

void tree_note_waiting(struct watched_tree *tree)
{
    if (tree->due == 0) {
        tree->due = clock_monotonic_ms() + TOGETHER_MS;
        tree_wake(tree);
    }
}

/* After something was added. */
static void look_at_changes(struct watched_tree *tree)
{
    if (tree->changes.has_overflown) {
        tree_note_gap(tree, GAP_TOO_MANY);
    }
    tree_note_waiting(tree);
}

void tree_note(struct tree_node *parent, enum change_kind kind, const char *name, bool is_directory)
{
    char path[PATH_MAX];
    struct watched_tree *tree = parent->tree;
    /* What comes before a gap is reported is seen by a client that looks anew. */
    if (tree->gap == GAP_NONE && node_path(parent, name, path)) {
        change_set_add(&tree->changes, kind, path, is_directory);
        look_at_changes(tree);
    }
}

void tree_note_rename(struct tree_node *parent, const char *from, const char *name,
                      bool is_directory, bool replaced)
{
    char path[PATH_MAX];
    struct watched_tree *tree = parent->tree;
    if (tree->gap == GAP_NONE && node_path(parent, name, path)) {
        change_set_rename(&tree->changes, from, path, is_directory, replaced);
        look_at_changes(tree);
    }
}

void tree_note_gap(struct watched_tree *tree, enum tree_gap gap)
{
    change_set_clear(&tree->changes);
    tree->gap = gap;
    tree_note_waiting(tree);
}

void tree_note_lost(struct watched_tree *tree)
{
    if (!tree->is_lost) {
        tree->is_lost = true;
        tree_note_gap(tree, GAP_LOST);
    }
}

void tree_note_error(struct watched_tree *tree, int number)
{
    if (tree->error == 0) {
        tree->error = number;
        tree_wake(tree);
    }
}

/* ---- its beginning and end ---- */

static int find_root(struct watched_tree *tree, int root)
{
    char link[DESCRIPTOR_PATH_SIZE], path[PATH_MAX];
    struct stat status;
    ssize_t length = readlink(descriptor_path(root, link), path, sizeof(path));
    if (length < 0 || fstat(root, &status) != 0) {
        return -1;
    }
    if (status.st_nlink == 0 || path[0] != '/' || length == (ssize_t)sizeof(path)) {
        errno = status.st_nlink == 0 ? ENOENT : ENAMETOOLONG;
        return -1;
    }
    tree->root_path = strndup(path, (size_t)length);
    tree->device = status.st_dev;
    tree->inode = status.st_ino;
    return tree->root_path == NULL ? -1 : 0;
}

struct watched_tree *watched_tree_new(struct watch_table *table, int root, bool is_recursive,
                                      const struct tree_callbacks *callbacks)
{
    struct watched_tree *tree = calloc(1, sizeof(*tree));
    if (tree == NULL) {
        return NULL;
    }
    tree->table = table;
    tree->is_recursive = is_recursive;
    tree->above = (struct watcher){.descriptor = -1, .changed = callbacks->changed_above};
    change_set_init(&tree->changes);
    TAILQ_INIT(&tree->to_scan);
    TAILQ_INIT(&tree->dropped);
    TAILQ_INIT(&tree->moves);
    if (find_root(tree, root) == 0) {
        tree->root = node_new(tree, NULL, "", false, callbacks->changed);
    }
    if (tree->root == NULL) {
        watched_tree_free(tree);
        return NULL;
    }
    return tree;
}

ANALYZER_OFF("-Wanalyzer-double-free") /* the first move is another one each time */
void watched_tree_free(struct watched_tree *tree)
{
    int number = errno;
    struct pending_move *move;
    while ((move = TAILQ_FIRST(&tree->moves)) != NULL) {
        TAILQ_REMOVE(&tree->moves, move, moves);
        free(move);
    }
    change_set_clear(&tree->changes);
    free(tree->root_path);
    free(tree);
    errno = number;
}
ANALYZER_ON
