/*
 * Arrays that grow.
 */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_FIRST 16 /* elements of the first allocation */

/* `array` points at the pointer to the elements, of `size` bytes each. */
static inline int array_reserve_one(void *array, size_t *capacity, size_t count, size_t size)
{
    void *elements;
    memcpy(&elements, array, sizeof(elements));
    if (count < *capacity) {
        return 0;
    }
    size_t wanted = *capacity == 0 ? ARRAY_FIRST : *capacity * 2;
    elements = reallocarray(elements, wanted, size);
    if (elements == NULL) {
        return -1;
    }
    memcpy(array, &elements, sizeof(elements));
    *capacity = wanted;
    return 0;
}

/* Makes room for one more than `count` elements. `elements` is a pointer, NULL at first, with room
 * for `capacity`, a size_t. 0, or -1 with errno: then the array is as it was. */
#define ARRAY_RESERVE_ONE(elements, capacity, count)                                               \
    array_reserve_one(&(elements), &(capacity), count, sizeof(*(elements)))
