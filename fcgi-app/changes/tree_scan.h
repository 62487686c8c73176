/*
 * Looks at the directories of a tree: watches them, and then finds what is in them, so that nothing
 * comes between. One thread at a time scans a tree: the request's at first, later one that is made
 * when there is something to do. It does what may wait for a disk without the watch table.
 */
#pragma once

struct stop_check;
struct watched_tree;

/*
 * Does all there is to do, in the calling thread, which becomes the tree's scanner meanwhile. The
 * watch table is not locked. Stops early when the check asks, or when the tree cannot be watched or
 * has no stream any more.
 */
void tree_scan(struct watched_tree *tree, const struct stop_check *check);

/* Makes a scanner if there is something to do and none is at it. The watch table is locked. */
void tree_scan_start(struct watched_tree *tree);

/* The stream of the tree has gone: frees it, sooner or later. The watch table is locked. */
void tree_scan_end(struct watched_tree *tree);
