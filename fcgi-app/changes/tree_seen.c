#include "fcgi-app/changes/tree_seen.h"

#include <string.h>

#include "fcgi-app/changes/watched_tree.h"
#include "fcgi-app/files/fs_part.h"

#define SEEN_MOST 1024 /* names of a directory */

bool tree_name_is_none(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
           strncmp(name, FS_PART_PREFIX, strlen(FS_PART_PREFIX)) == 0;
}

bool node_has_seen(const struct tree_node *node, const char *name)
{
    for (size_t i = 0; i < node->seen.count; i++) {
        if (strcmp(name_list_at(&node->seen, i), name) == 0) {
            return true;
        }
    }
    return false;
}

void node_note_seen(struct tree_node *node, const char *name)
{
    if (node->state != NODE_SCANNING || node_has_seen(node, name)) {
        return;
    }
    if (node->seen.count == SEEN_MOST || name_list_add(&node->seen, name) != 0) {
        tree_note_lost(node->tree);
    }
}
