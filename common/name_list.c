#include "common/name_list.h"

#include <stdlib.h>
#include <string.h>

#include "common/array.h"

#define FIRST_BYTES 1024

char *name_list_new(struct name_list *list, size_t length)
{
    if (ARRAY_RESERVE_ONE(list->starts, list->most, list->count) < 0) {
        return NULL;
    }
    if (list->capacity - list->size < length) {
        size_t capacity = list->capacity * 2 + length + FIRST_BYTES;
        char *text = realloc(list->text, capacity);
        if (text == NULL) {
            return NULL;
        }
        list->text = text;
        list->capacity = capacity;
    }
    char *place = list->text + list->size;
    list->starts[list->count++] = list->size;
    list->size += length;
    return place;
}

int name_list_add(struct name_list *list, const char *name)
{
    size_t length = strlen(name) + 1;
    char *place = name_list_new(list, length);
    if (place == NULL) {
        return -1;
    }
    memcpy(place, name, length);
    return 0;
}

const char *name_list_at(const struct name_list *list, size_t index)
{
    return list->text + list->starts[index];
}

void name_list_drop_last(struct name_list *list)
{
    list->size = list->starts[--list->count];
}

static int name_list_compare(const void *a, const void *b, void *text)
{
    return strcmp((const char *)text + *(const size_t *)a, (const char *)text + *(const size_t *)b);
}

void name_list_sort(struct name_list *list)
{
    if (list->count > 0) {
        qsort_r(list->starts, list->count, sizeof(*list->starts), name_list_compare, list->text);
    }
}

void name_list_clear(struct name_list *list)
{
    free(list->text);
    free(list->starts);
    *list = (struct name_list){.text = NULL};
}
