/*
 * Lists of file names.
 */
#include "fcgi-app/fs_names.h"

#include <stdlib.h>
#include <string.h>

int fs_names_add(struct fs_names *list, const char *name)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        char **names = reallocarray(list->names, capacity, sizeof(*names));
        if (names == NULL) {
            return -1;
        }
        list->names = names;
        list->capacity = capacity;
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        return -1;
    }
    list->names[list->count++] = copy;
    return 0;
}

void fs_names_drop_last(struct fs_names *list)
{
    free(list->names[--list->count]);
}

void fs_names_clear(struct fs_names *list)
{
    while (list->count > 0) {
        fs_names_drop_last(list);
    }
    free(list->names);
    *list = (struct fs_names){.names = NULL};
}
