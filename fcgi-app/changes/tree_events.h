/*
 * From the reports of the kernel to the changes of a tree. The watch table is locked.
 */
#pragma once

#include "fcgi-app/changes/watched_tree.h"

/* What watched_tree_new() takes. */
extern const struct tree_callbacks tree_events;

/* Watches the directory above the root, if it may be read: only there the end of a root shows whose
 * directory is still in use. */
void tree_events_watch_above(struct watched_tree *tree);

/* What was moved away so far has left the tree. */
void tree_events_settle(struct watched_tree *tree);
