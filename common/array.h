/*
 * Arrays that grow.
 */
#pragma once

#include <stddef.h>
#include <stdlib.h>

#define ARRAY_FIRST 16 /* elements of the first allocation */

/* Makes room for one more than `count` elements. `elements` is a pointer, NULL at first, with room
 * for `capacity`, a size_t. 0, or -1 with errno: then the array is as it was. */
#define ARRAY_RESERVE_ONE(elements, capacity, count)                                               \
    ({                                                                                             \
        __auto_type larger_ = (elements);                                                          \
        if ((count) == (capacity)) {                                                               \
            size_t wanted_ = (capacity) == 0 ? ARRAY_FIRST : 2 * (capacity);                       \
            larger_ = reallocarray((elements), wanted_, sizeof(*(elements)));                      \
            if (larger_ != NULL) {                                                                 \
                (elements) = larger_;                                                              \
                (capacity) = wanted_;                                                              \
            }                                                                                      \
        }                                                                                          \
        larger_ == NULL ? -1 : 0;                                                                  \
    })
