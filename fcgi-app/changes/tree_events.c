/*
 * The kernel reports a renaming twice: the old name, then the new one, which are usually next to
 * each other and have a cookie in common. So the old name waits for a moment.
 *
 * The server writes files under hidden names, and renames them: such a file is created, or changed
 * if there was one, when it gets its name.
 */
#include "fcgi-app/changes/tree_events.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "fcgi-app/changes/tree_scan.h"
#include "fcgi-app/changes/tree_seen.h"

#define MOVES_MOST   64 /* names that wait */
#define PATIENCE_MS  50
#define SELF_GONE    (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)
#define GONE_OR_ELSE (IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)

/* A report about a name in a directory. */
struct report {
    struct tree_node *node;
    const char *name;
    uint32_t mask, cookie;
    bool is_directory;
};

/* ---- names that were moved away ---- */

static void drop_move(struct watched_tree *tree, struct pending_move *move)
{
    TAILQ_REMOVE(&tree->moves, move, moves);
    tree->move_count--;
    free(move);
}

/* It has left the tree. */
static void settle_move(struct watched_tree *tree, struct pending_move *move)
{
    if (move->parent != NULL) {
        tree_note(move->parent, CHANGE_REMOVED, move->name, move->is_directory);
    }
    if (move->child != NULL) {
        node_drop(move->child);
    }
    drop_move(tree, move);
}

void tree_events_settle(struct watched_tree *tree)
{
    struct pending_move *move;
    while ((move = TAILQ_FIRST(&tree->moves)) != NULL) {
        settle_move(tree, move);
    }
}

static bool is_below(const struct tree_node *node, const struct tree_node *above)
{
    while (node != NULL && node != above) {
        node = node->parent;
    }
    return above != NULL && node == above;
}

/* Those that have waited for long, whose name is reported again, or that something is reported in:
 * they would have their new name by then. */
static void settle_some(const struct report *report)
{
    struct watched_tree *tree = report->node->tree;
    struct pending_move *move, *next;
    int64_t now = TAILQ_EMPTY(&tree->moves) ? 0 : clock_monotonic_ms();
    for (move = TAILQ_FIRST(&tree->moves); move != NULL; move = next) {
        next = TAILQ_NEXT(move, moves);
        bool is_same = move->parent == report->node && strcmp(move->name, report->name) == 0 &&
                       move->cookie != report->cookie;
        if (is_same || now - move->since > PATIENCE_MS || is_below(report->node, move->child)) {
            settle_move(tree, move);
        }
    }
}

/* The one that a new name belongs to; NULL if it comes from elsewhere. */
static struct pending_move *find_move(const struct watched_tree *tree, uint32_t cookie)
{
    struct pending_move *move;
    TAILQ_FOREACH_REVERSE(move, &tree->moves, move_list, moves)
    {
        if (move->cookie == cookie) {
            break;
        }
    }
    return move;
}

static struct tree_node *child_of(const struct report *report)
{
    return report->is_directory ? node_find(report->node, report->name) : NULL;
}

/* ---- what is reported of a name ---- */

static void take_new_directory(const struct report *report)
{
    struct tree_node *old = child_of(report);
    if (!report->is_directory || !report->node->tree->is_recursive) {
        return;
    }
    if (old != NULL) {
        node_drop(old);
    }
    (void)node_add(report->node, report->name, true);
}

static void take_created(const struct report *report)
{
    node_note_seen(report->node, report->name);
    node_know_name(report->node, report->name);
    tree_note(report->node, CHANGE_CREATED, report->name, report->is_directory);
    take_new_directory(report);
}

static void take_removed(const struct report *report)
{
    struct tree_node *child = child_of(report);
    node_note_seen(report->node, report->name);
    name_set_remove(&report->node->names, report->name);
    tree_note(report->node, CHANGE_REMOVED, report->name, report->is_directory);
    if (child != NULL) {
        node_drop(child);
    }
}

/* Whether it is what the kernel calls a file without a name (O_TMPFILE), whose mode is changed. */
static bool is_nameless(const struct report *report)
{
    const char *name = report->name;
    return name[0] == '#' && name[1 + strspn(name + 1, "0123456789")] == '\0' &&
           !name_set_has(&report->node->names, name);
}

/* In a new directory it may be the first that is known of the file. */
static void take_changed(const struct report *report)
{
    struct tree_node *node = report->node, *child = child_of(report);
    if (is_nameless(report)) {
        return;
    }
    bool is_new =
        node->state == NODE_SCANNING && node->reports && !node_has_seen(node, report->name);
    if (is_new && !report->is_directory) {
        node_note_seen(node, report->name);
        node_know_name(node, report->name);
    }
    tree_note(node, is_new && !report->is_directory ? CHANGE_CREATED : CHANGE_CHANGED, report->name,
              report->is_directory);
    if (child != NULL && child->watcher.descriptor < 0) {
        node_queue_scan(child, true); /* it may be readable now */
    }
}

static void take_moved_away(const struct report *report)
{
    struct watched_tree *tree = report->node->tree;
    size_t length = strlen(report->name) + 1;
    struct pending_move *move = malloc(sizeof(*move) + length);
    if (move == NULL) {
        tree_note_error(tree, ENOMEM);
        return;
    }
    *move = (struct pending_move){.parent = report->node,
                                  .child = child_of(report),
                                  .cookie = report->cookie,
                                  .is_directory = report->is_directory,
                                  .follows_placement = tree->placed.parent == report->node &&
                                                       tree->placed.cookie + 1 == report->cookie &&
                                                       strcmp(tree->placed.name, report->name) == 0,
                                  .since = clock_monotonic_ms()};
    memcpy(move->name, report->name, length);
    node_note_seen(report->node, report->name);
    name_set_remove(&report->node->names, report->name);
    TAILQ_INSERT_TAIL(&tree->moves, move, moves);
    if (++tree->move_count > MOVES_MOST) {
        settle_move(tree, TAILQ_FIRST(&tree->moves));
    }
    tree_note_waiting(tree);
}

/* A name of the tree has got another one of it. */
static void take_renamed(const struct report *report, struct pending_move *move, bool replaced)
{
    char from[PATH_MAX];
    struct tree_node *node = report->node, *child = move->child, *other = child_of(report);
    struct watched_tree *tree = node->tree;
    if (move->parent != NULL && node_path(move->parent, move->name, from)) {
        tree_note_rename(node, from, report->name, report->is_directory, replaced);
    } else {
        tree_note(node, replaced ? CHANGE_CHANGED : CHANGE_CREATED, report->name,
                  report->is_directory);
    }
    drop_move(tree, move);
    if (other != NULL) {
        tree_note_lost(tree); /* it was replaced, or the two were exchanged */
    } else if (child != NULL) {
        node_rename(child, node, report->name);
        node_queue_scan(child, child->reports && child->watcher.descriptor < 0);
    } else {
        take_new_directory(report);
    }
}

static void take_placed(const struct report *report, bool replaced)
{
    struct watched_tree *tree = report->node->tree;
    bool was_hidden = tree->hidden_cookie == report->cookie;
    if (was_hidden) {
        tree->placed.cookie = report->cookie;
        tree->placed.parent = report->node;
        (void)snprintf(tree->placed.name, sizeof(tree->placed.name), "%s", report->name);
    } else if (child_of(report) != NULL) {
        tree_note_lost(tree); /* as above */
    }
    tree_note(report->node, replaced ? CHANGE_CHANGED : CHANGE_CREATED, report->name,
              report->is_directory);
    take_new_directory(report);
}

static void take_moved_here(const struct report *report)
{
    struct tree_node *node = report->node;
    struct pending_move *move = find_move(node->tree, report->cookie);
    bool replaced = name_set_has(&node->names, report->name);
    node_note_seen(node, report->name);
    node_know_name(node, report->name);
    if (move != NULL) {
        take_renamed(report, move, replaced);
    } else {
        take_placed(report, replaced);
    }
}

/* A hidden name: what becomes of it matters. */
static void take_hidden(const struct report *report)
{
    struct watched_tree *tree = report->node->tree;
    if ((report->mask & IN_MOVED_FROM) != 0) {
        tree->hidden_cookie = report->cookie;
    }
    struct pending_move *move =
        (report->mask & IN_MOVED_TO) != 0 ? find_move(tree, report->cookie) : NULL;
    if (move == NULL) {
        return;
    }
    if (move->follows_placement && move->parent != NULL) {
        node_know_name(move->parent, move->name); /* the other half of an exchange */
        drop_move(tree, move);
    } else {
        settle_move(tree, move);
    }
}

static void take_report(const struct report *report)
{
    settle_some(report);
    if (tree_name_is_none(report->name)) {
        take_hidden(report);
    } else if ((report->mask & IN_CREATE) != 0) {
        take_created(report);
    } else if ((report->mask & IN_DELETE) != 0) {
        take_removed(report);
    } else if ((report->mask & IN_MOVED_FROM) != 0) {
        take_moved_away(report);
    } else if ((report->mask & IN_MOVED_TO) != 0) {
        take_moved_here(report);
    } else if ((report->mask & (IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE)) != 0) {
        take_changed(report);
    }
}

/* ---- the directories themselves ---- */

static void note_gone(struct watched_tree *tree)
{
    tree->is_gone = true;
    tree_wake(tree);
}

static void take_node_event(struct watcher *watcher, const struct inotify_event *event)
{
    struct tree_node *node =
        (struct tree_node *)(void *)((char *)watcher - offsetof(struct tree_node, watcher));
    struct watched_tree *tree = node->tree;
    if (tree->waker == NULL || tree->is_gone || node->state == NODE_DROPPED) {
        return;
    }
    if ((event->mask & IN_Q_OVERFLOW) != 0) {
        tree_note_lost(tree);
    } else if (event->len > 0) {
        const struct report report = {.node = node,
                                      .name = event->name,
                                      .mask = event->mask,
                                      .cookie = event->cookie,
                                      .is_directory = (event->mask & IN_ISDIR) != 0};
        take_report(&report);
    } else if ((event->mask & SELF_GONE) != 0 && node == tree->root) {
        note_gone(tree);
    } else if ((event->mask & IN_UNMOUNT) != 0) {
        tree_note_lost(tree);
    }
    tree_scan_start(tree);
}

static void take_event_above(struct watcher *watcher, const struct inotify_event *event)
{
    struct watched_tree *tree =
        (struct watched_tree *)(void *)((char *)watcher - offsetof(struct watched_tree, above));
    const char *name = strrchr(tree->root_path, '/') + 1;
    if (tree->waker != NULL && event->len > 0 && (event->mask & GONE_OR_ELSE) != 0 &&
        strcmp(event->name, name) == 0) {
        note_gone(tree);
    }
}

const struct tree_callbacks tree_events = {.changed = take_node_event,
                                           .changed_above = take_event_above};

void tree_events_watch_above(struct watched_tree *tree)
{
    cleanup_free char *path = strdup(tree->root_path);
    if (path == NULL) {
        return;
    }
    strrchr(path, '/')[1] = '\0';
    cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    watch_table_lock(tree->table);
    (void)watcher_add(tree->table, &tree->above, fd, GONE_OR_ELSE);
    watch_table_unlock(tree->table);
}
