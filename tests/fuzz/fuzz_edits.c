/*
 * Edits of a text. The first line of the input is the array of a body, the rest the text. What
 * comes out is compared with what a simple replacement gives, byte by byte.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "fcgi-app/files/edits.h"
#include "tests/fuzz/fuzz.h"

#define MOST ((size_t)1 << 16)

static bool begins_with(const struct edited_text *text, size_t at, const struct edit *edit)
{
    return text->length - at >= edit->old_length &&
           memcmp(text->data + at, edit->old, edit->old_length) == 0;
}

/* The text after the edit, in `out`, as far as MOST bytes; its length and the number of places. */
static size_t replace_simply(const struct edited_text *text, const struct edit *edit, char *out,
                             uint64_t *count)
{
    size_t length = 0;
    *count = 0;
    for (size_t at = 0; at < text->length;) {
        bool is_place = begins_with(text, at, edit);
        const char *piece = is_place ? edit->new : text->data + at;
        size_t size = is_place ? edit->new_length : 1;
        if (length + size <= MOST) {
            memcpy(out + length, piece, size);
        }
        length = length + size > MOST ? MOST + 1 : length + size;
        at += is_place ? edit->old_length : 1;
        *count += is_place;
    }
    return length;
}

/* The line of a place is that of the newlines before it. */
static void check_lines(const struct edited_text *before, const struct edit *edit,
                        const struct edit_found *found)
{
    uint64_t line = 1;
    size_t shown = 0;
    for (size_t at = 0; at < before->length && shown < edit_lines_shown(found);) {
        bool is_place = begins_with(before, at, edit);
        if (is_place) {
            assert(found->lines[shown++] == line);
        }
        size_t end = at + (is_place ? edit->old_length : 1);
        for (; at < end; at++) {
            line += before->data[at] == '\n';
        }
    }
    assert(shown == edit_lines_shown(found));
}

/* Whether the next edit may be applied. */
static bool check_edit(struct edited_text *text, const struct edit *edit)
{
    static char expected[MOST];
    uint64_t count;
    struct edit_found found;
    struct edited_text before = {malloc(text->length + 1), text->length};
    assert(before.data != NULL);
    memcpy(before.data, text->data, text->length);
    size_t length = replace_simply(text, edit, expected, &count);
    enum edit_result result = edit_apply(text, edit, MOST, &found);
    assert(found.count == count);
    check_lines(&before, edit, &found);
    if (result == EDIT_DONE) {
        assert(count == edit->expected && text->length == length);
        assert(memcmp(text->data, expected, length) == 0);
    } else {
        assert(result == EDIT_MISMATCH ? count != edit->expected : length > MOST);
        assert(text->length == before.length &&
               memcmp(text->data, before.data, before.length) == 0);
    }
    free(before.data);
    return result == EDIT_DONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char fault[EDITS_FAULT_SIZE];
    struct edit_list list = {.edits = NULL};
    const char *array = (const char *)data;
    const char *end = size == 0 ? NULL : memchr(array, '\n', size);
    size_t length = end == NULL ? size : (size_t)(end - array);
    size_t rest = end == NULL ? 0 : size - length - 1;
    if (rest > MOST / 4) {
        return 0;
    }
    struct edited_text text = {malloc(rest + 1), rest};
    assert(text.data != NULL);
    memcpy(text.data, array + size - rest, rest);
    if (edit_list_take(&list, (struct json_span){array, length}, fault) == 0) {
        assert(list.count > 0 && list.count <= EDITS_MAX);
        for (size_t i = 0; i < list.count && i < 20 && check_edit(&text, &list.edits[i]); i++) {
        }
    }
    edit_list_clear(&list);
    free(text.data);
    return 0;
}
