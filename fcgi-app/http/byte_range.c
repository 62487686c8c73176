#include "fcgi-app/http/byte_range.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* Reads digits and moves *text behind them; a number that is too large becomes the largest. Whether
 * there was one. */
static bool take_number(const char **text, uint64_t *number)
{
    const char *begin = *text;
    *number = 0;
    for (; **text >= '0' && **text <= '9'; (*text)++) {
        if (__builtin_mul_overflow(*number, UINT64_C(10), number) ||
            __builtin_add_overflow(*number, (uint64_t)(**text - '0'), number)) {
            *number = UINT64_MAX;
        }
    }
    return *text > begin;
}

/* Spaces may stand at the end. */
static bool is_end(const char *text)
{
    return text[strspn(text, " \t")] == '\0';
}

/* The last bytes, as many as there are. Of nothing that is all. */
static enum range_kind take_suffix(const char *text, uint64_t size, struct byte_range *range)
{
    uint64_t count;
    if (!take_number(&text, &count) || !is_end(text)) {
        return RANGE_WHOLE;
    }
    if (count == 0) {
        return RANGE_UNSATISFIABLE;
    }
    range->length = count < size ? count : size;
    range->first = size - range->length;
    return size == 0 ? RANGE_WHOLE : RANGE_PART;
}

enum range_kind byte_range_read(const char *text, uint64_t size, struct byte_range *range)
{
    static const char unit[] = "bytes=";
    uint64_t first;
    uint64_t last = UINT64_MAX;
    *range = (struct byte_range){.first = 0, .length = size};
    if (strncasecmp(text, unit, sizeof(unit) - 1) != 0) {
        return RANGE_WHOLE;
    }
    text += sizeof(unit) - 1;
    text += strspn(text, " \t");
    if (*text == '-') {
        return take_suffix(text + 1, size, range);
    }
    if (!take_number(&text, &first) || *text++ != '-' ||
        (!is_end(text) && (!take_number(&text, &last) || !is_end(text))) || last < first) {
        return RANGE_WHOLE;
    }
    if (first >= size) {
        return RANGE_UNSATISFIABLE;
    }
    range->first = first;
    range->length = (last < size ? last + 1 : size) - first;
    return RANGE_PART;
}
