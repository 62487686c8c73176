/*
 * Replacements of exact bytes in a text in memory, one after the other, each in what the one before
 * has left. All functions are thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-app/json/json_scan.h"

struct edit {
    char *old; /* not empty; owned */
    char *new; /* borrowed: behind the old */
    size_t old_length, new_length;
    uint64_t expected; /* how often the old must occur */
};

struct edit_list {
    struct edit *edits; /* owned */
    size_t count, capacity;
    bool is_strict; /* members of an edit that are not known are refused */
};

#define EDITS_MAX        1000
#define EDITS_FAULT_SIZE 128

/*
 * Takes the edits out of a scanned array of objects with old_str, new_str and expected_count into
 * the *list, which is zeroed but for is_strict. Half a surrogate pair becomes U+FFFD. 0; -1 when
 * memory is out; 1 when one is refused, and `fault` (EDITS_FAULT_SIZE bytes) says why. Clear the
 * list in any case.
 */
int edit_list_take(struct edit_list *list, struct json_span array, char *fault);
void edit_list_clear(struct edit_list *list);

/* Bytes in memory, not a string. */
struct edited_text {
    char *data; /* owned; free() it */
    size_t length;
};

#define EDIT_LINES_MAX 20

/* Where an edit's old text was, in the text before the edit. */
struct edit_found {
    uint64_t count;                 /* from left to right, without overlap */
    uint64_t lines[EDIT_LINES_MAX]; /* where the first of them begin, counted from 1 */
};

/* How many of found->lines there are. */
size_t edit_lines_shown(const struct edit_found *found);

enum edit_result {
    EDIT_DONE,
    EDIT_MISMATCH,  /* it does not occur as often as it must */
    EDIT_TOO_LARGE, /* the text would have more than `most` bytes */
    EDIT_NO_MEMORY,
};

/* Applies an edit. The text is as it was, unless the result is EDIT_DONE. *found is filled in any
 * case. */
enum edit_result edit_apply(struct edited_text *text, const struct edit *edit, size_t most,
                            struct edit_found *found);
