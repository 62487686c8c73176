/*
 * Names that are none of the tree, and those that the kernel has reported while their directory is
 * being scanned. The watch table is locked.
 */
#pragma once

#include <stdbool.h>

struct tree_node;

/* Whether a name is that of no change: . and .. and the names of content that is being written. */
bool tree_name_is_none(const char *name);

/* Keeps a name, if the directory is being scanned. */
void node_note_seen(struct tree_node *node, const char *name);

bool node_has_seen(const struct tree_node *node, const char *name);
