/*
 * What is created in a directory while it is being looked at is both among its entries and among
 * the kernel's reports. So the names that the kernel reports meanwhile are kept, and each piece of
 * the listing is taken right after all reports that are older: a name is then reported
 * once. (Where nothing of a listing is reported, it does not matter.)
 */
#include "fcgi-app/changes/tree_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "common/cleanup.h"
#include "common/detached_thread.h"
#include "fcgi-app/changes/tree_seen.h"
#include "fcgi-app/changes/watched_tree.h"
#include "fcgi-app/files/stop_check.h"

#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
#define ENTRIES_SIZE    (32 << 10) /* of one getdents64(2) */
#define FREED_AT_ONCE   256        /* nodes */

/* A removed file that is still written is none of the tree. A file that is written through memory
 * is only reported when it is closed. */
#define CHANGES                                                                                    \
    (IN_CREATE | IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM |              \
     IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_EXCL_UNLINK)

/* A scanner at work. */
struct scan {
    struct watched_tree *tree;
    const struct stop_check *check;
    /* The directory that was opened last to go down from: the next one is likely to be in it, too.
     * No node is freed as long as it is named here. */
    const struct tree_node *above; /* NULL: there is none */
    int above_fd;
};

/* ---- opening ---- */

/* The root, or -1 with errno: ESTALE when another directory has its name. */
static int open_tree_root(const struct watched_tree *tree)
{
    struct stat status;
    cleanup_fd int fd = open(tree->root_path, DIRECTORY_FLAGS);
    if (fd < 0 || fstat(fd, &status) != 0) {
        return -1;
    }
    if (status.st_dev != tree->device || status.st_ino != tree->inode) {
        errno = ESTALE;
        return -1;
    }
    return steal_fd(&fd);
}

static bool is_of_the_kernel(int fd)
{
    struct statfs system;
    return fstatfs(fd, &system) == 0 &&
           (system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC);
}

/* Goes down a path, which it cuts into pieces, from a directory that it takes over. Follows no
 * links. The directory, or -1 with errno. */
static int open_below(int root, char *path)
{
    char *rest;
    int fd = root;
    for (char *part = strtok_r(path, "/", &rest); fd >= 0 && part != NULL;
         part = strtok_r(NULL, "/", &rest)) {
        int next = openat(fd, part, DIRECTORY_FLAGS);
        close_fd(&fd);
        fd = next;
    }
    return fd;
}

/* A directory that is to be scanned. */
struct scan_place {
    const struct tree_node *above; /* NULL: it is the root */
    char path[PATH_MAX];           /* of that */
    char name[NAME_MAX + 1];
    bool has_path;
    bool has_no_root; /* what was found instead */
};

/* The watch table is locked. */
static void find_place_of(const struct scan *scan, const struct tree_node *node,
                          struct scan_place *place)
{
    place->above = node->parent;
    place->has_no_root = false;
    place->has_path =
        node->state != NODE_DROPPED && (place->above == NULL || place->above == scan->above ||
                                        node_path(place->above, NULL, place->path));
    (void)snprintf(place->name, sizeof(place->name), "%s", node->name);
}

/* The directory, or -1 with errno. */
static int open_place(struct scan *scan, struct scan_place *place)
{
    cleanup_fd int root = -1;
    if (place->above == NULL || place->above != scan->above) {
        root = open_tree_root(scan->tree);
        place->has_no_root =
            root < 0 && (errno == ENOENT || errno == ESTALE || errno == ENOTDIR || errno == ELOOP);
    }
    if (place->above == NULL) {
        return steal_fd(&root);
    }
    if (place->above != scan->above) {
        close_fd(&scan->above_fd);
        scan->above_fd = root < 0 ? -1 : open_below(steal_fd(&root), place->path);
        scan->above = scan->above_fd < 0 ? NULL : place->above;
    }
    cleanup_fd int fd =
        scan->above_fd < 0 ? -1 : openat(scan->above_fd, place->name, DIRECTORY_FLAGS);
    if (fd >= 0 && is_of_the_kernel(fd)) {
        errno = EACCES;
        return -1;
    }
    return steal_fd(&fd);
}

/* That a directory has gone, or may not be read, is no error. */
static void note_failure(struct watched_tree *tree, int number)
{
    bool is_gone = number == ENOENT || number == ENOTDIR || number == ELOOP || number == ESTALE;
    if (!is_gone && number != EACCES && number != EPERM) {
        tree_note_error(tree, number);
    }
}

/* ---- what is in a directory ---- */

static bool is_waiting_for_all(const struct tree_node *node)
{
    return node->tree->is_rescanning && node->generation != node->tree->generation;
}

static void take_found(struct tree_node *node, const struct dirent64 *entry)
{
    if (tree_name_is_none(entry->d_name) || node_has_seen(node, entry->d_name)) {
        return;
    }
    bool is_directory = entry->d_type == DT_DIR;
    node_know_name(node, entry->d_name);
    if (node->reports) {
        tree_note(node, CHANGE_CREATED, entry->d_name, is_directory);
    }
    if (!is_directory || !node->tree->is_recursive) {
        return;
    }
    struct tree_node *child = node_find(node, entry->d_name);
    if (child == NULL) {
        (void)node_add(node, entry->d_name, node->reports);
    } else if (is_waiting_for_all(child)) {
        node_queue_scan(child, false);
    }
}

/* Some file systems do not have the types in their directories. */
static void complete_types(int fd, char *entries, size_t filled)
{
    struct stat status;
    struct dirent64 *entry;
    for (size_t at = 0; at < filled; at += entry->d_reclen) {
        entry = (void *)(entries + at);
        if (entry->d_type == DT_UNKNOWN &&
            fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
            entry->d_type = (unsigned char)IFTODT(status.st_mode);
        }
    }
}

static void take_listing(struct tree_node *node, const char *entries, size_t filled)
{
    struct watch_table *table = node->tree->table;
    watch_table_lock(table);
    if (node->reports && watch_table_read(table) < 0) {
        tree_note_error(node->tree, errno);
    }
    const struct dirent64 *entry;
    for (size_t at = 0; at < filled && node->state == NODE_SCANNING; at += entry->d_reclen) {
        entry = (const void *)(entries + at);
        take_found(node, entry);
    }
    watch_table_unlock(table);
    wakes_signal();
}

static void take_directory(struct tree_node *node, int fd, const struct stop_check *check)
{
    _Alignas(struct dirent64) char entries[ENTRIES_SIZE];
    ssize_t filled;
    while ((filled = getdents64(fd, entries, sizeof(entries))) > 0 && !stop_check_asks(check)) {
        complete_types(fd, entries, (size_t)filled);
        take_listing(node, entries, (size_t)filled);
    }
    if (filled < 0) {
        int number = errno;
        watch_table_lock(node->tree->table);
        note_failure(node->tree, number);
        watch_table_unlock(node->tree->table);
    }
}

/* Watches the directory `fd` of the node. Whether it does. The watch table is locked. */
static bool watch_node(struct tree_node *node, int fd)
{
    struct watched_tree *tree = node->tree;
    if (node->state != NODE_SCANNING) {
        return false;
    }
    if (watcher_add(tree->table, &node->watcher, fd, CHANGES) == 0) {
        node_forget_names(node);
        return true;
    }
    note_failure(tree, errno);
    return false;
}

/* The watch table is locked, but not all the time. */
static void scan_node(struct scan *scan, struct tree_node *node)
{
    struct scan_place place;
    struct watched_tree *tree = scan->tree;
    TAILQ_REMOVE(&tree->to_scan, node, queued);
    node->state = NODE_SCANNING;
    node->generation = tree->generation;
    find_place_of(scan, node, &place);
    watch_table_unlock(tree->table);
    cleanup_fd int fd = place.has_path ? open_place(scan, &place) : -1;
    int number = errno;
    watch_table_lock(tree->table);
    if (fd >= 0 && watch_node(node, fd)) {
        watch_table_unlock(tree->table);
        take_directory(node, fd, scan->check);
        watch_table_lock(tree->table);
    } else if (place.has_no_root) {
        tree->is_gone = true;
        tree_wake(tree);
    } else if (place.has_path && fd < 0) {
        note_failure(tree, number);
    }
    name_list_clear(&node->seen);
    if (node->state == NODE_SCANNING) {
        node->state = NODE_KNOWN;
    }
}

/* ---- all anew ---- */

static void begin_again(struct watched_tree *tree)
{
    tree->is_lost = false;
    tree->is_rescanning = true;
    tree->generation++;
    node_queue_scan(tree->root, false);
}

static void drop_unfound(struct tree_node *node)
{
    struct tree_node *child, *next;
    for (child = LIST_FIRST(&node->children); child != NULL; child = next) {
        next = LIST_NEXT(child, siblings);
        if (is_waiting_for_all(child)) {
            node_drop(child);
        }
    }
}

/* Drops the directories that were not found again. */
static void end_again(struct watched_tree *tree)
{
    struct tree_node *node = tree->root;
    while (node != NULL) {
        drop_unfound(node);
        struct tree_node *next = LIST_FIRST(&node->children);
        while (next == NULL && node != tree->root) {
            next = LIST_NEXT(node, siblings);
            node = node->parent;
        }
        node = next;
    }
    tree->is_rescanning = false;
    tree_wake(tree);
}

/* ---- what is to be done ---- */

/* The kernel reports each watch that is removed: its queue is emptied meanwhile. */
static void free_some(struct watched_tree *tree)
{
    struct tree_node *node;
    for (int i = 0; i < FREED_AT_ONCE && (node = TAILQ_FIRST(&tree->dropped)) != NULL; i++) {
        (void)node_free_one(node);
    }
    (void)watch_table_read(tree->table); /* or the streams' thread logs it */
}

static void forget_above(struct scan *scan)
{
    close_fd(&scan->above_fd);
    scan->above = NULL;
}

static bool has_work(const struct watched_tree *tree)
{
    bool is_over = tree->waker == NULL || tree->is_gone || tree->error != 0;
    return !TAILQ_EMPTY(&tree->dropped) ||
           (!is_over && (tree->is_lost || tree->is_rescanning || !TAILQ_EMPTY(&tree->to_scan)));
}

static void do_work(struct scan *scan)
{
    struct watched_tree *tree = scan->tree;
    struct tree_node *node = TAILQ_FIRST(&tree->to_scan);
    if (!TAILQ_EMPTY(&tree->dropped)) {
        forget_above(scan);
        free_some(tree);
    } else if (tree->is_lost) {
        begin_again(tree);
    } else if (node != NULL) {
        scan_node(scan, node);
    } else {
        end_again(tree);
    }
}

/* The watch table is locked, but not all the time. */
static void do_all_work(struct watched_tree *tree, const struct stop_check *check)
{
    struct scan scan = {.tree = tree, .check = check, .above_fd = -1};
    while (has_work(tree) && !stop_check_asks(check)) {
        do_work(&scan);
        watch_table_unlock(tree->table); /* for others */
        wakes_signal();
        watch_table_lock(tree->table);
    }
    forget_above(&scan);
}

void tree_scan(struct watched_tree *tree, const struct stop_check *check)
{
    watch_table_lock(tree->table);
    tree->has_scanner = true;
    do_all_work(tree, check);
    tree->has_scanner = false;
    watch_table_unlock(tree->table);
}

static void *run_scan(void *argument)
{
    static const struct stop_check never;
    struct watched_tree *tree = argument;
    struct watch_table *table = tree->table;
    watch_table_lock(table);
    do_all_work(tree, &never);
    tree->has_scanner = false;
    bool is_over = tree->waker == NULL;
    watch_table_unlock(table);
    wakes_signal();
    if (is_over) {
        watched_tree_free(tree);
    }
    return NULL;
}

void tree_scan_start(struct watched_tree *tree)
{
    if (tree->has_scanner || !has_work(tree)) {
        return;
    }
    int number = detached_thread_start(run_scan, tree);
    tree->has_scanner = number == 0;
    if (number != 0) {
        tree_note_error(tree, number);
    }
}

/* Where there are few, or no thread: here and now. */
static void free_all(struct watched_tree *tree)
{
    while (!TAILQ_EMPTY(&tree->dropped)) {
        free_some(tree);
    }
    watched_tree_free(tree);
}

void tree_scan_end(struct watched_tree *tree)
{
    tree->waker = NULL;
    watcher_remove(tree->table, &tree->above);
    if (tree->root != NULL) {
        node_drop(tree->root);
    }
    if (tree->has_scanner) {
        return;
    }
    tree_scan_start(tree);
    if (!tree->has_scanner) {
        free_all(tree);
    }
}
