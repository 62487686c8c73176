#include "fcgi-app/files/edits.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/analyzer.h"
#include "common/array.h"
#include "common/cleanup.h"
#include "fcgi-app/http/json_body.h"

/* ---- taking them out of a body ---- */

enum edit_member { MEMBER_OLD, MEMBER_NEW, MEMBER_EXPECTED, MEMBER_COUNT };

static const char *const member_names[MEMBER_COUNT] = {"old_str", "new_str", "expected_count"};

struct taking {
    struct edit_list *list;
    char *fault;
    int result;
    /* of the element that is being taken */
    bool seen[MEMBER_COUNT];
    struct json_span values[MEMBER_COUNT];
};

/* Notes what is wrong. Always false. */
__attribute__((format(printf, 2, 3))) static bool refuse_edit(struct taking *taking,
                                                              const char *format, ...)
{
    va_list arguments;
    int used =
        snprintf(taking->fault, EDITS_FAULT_SIZE, "edits[%zu]", taking->list->count); /* fits */
    va_start(arguments, format);
    (void)vsnprintf(taking->fault + used, (size_t)(EDITS_FAULT_SIZE - used), format, arguments);
    va_end(arguments);
    taking->result = 1;
    return false;
}

static bool take_member(void *context, struct json_span name, enum json_type type,
                        struct json_span value)
{
    struct taking *taking = context;
    int member = 0;
    while (member < MEMBER_COUNT && !json_decodes_to(name, member_names[member])) {
        member++;
    }
    if (member == MEMBER_COUNT) {
        char shown[JSON_NAME_SHOWN];
        return !taking->list->is_strict ||
               refuse_edit(taking, " has an unknown member: %s", json_name_shown(name, shown));
    }
    if (taking->seen[member]) {
        return refuse_edit(taking, ".%s is given twice", member_names[member]);
    }
    taking->seen[member] = true;
    if (type == JSON_TYPE_NULL) {
        return true;
    }
    if (member == MEMBER_EXPECTED) {
        if (type != JSON_TYPE_NUMBER || !json_is_plain_digits(value)) {
            return refuse_edit(taking, ".expected_count must be a whole number in plain digits");
        }
    } else if (type != JSON_TYPE_STRING) {
        return refuse_edit(taking, ".%s must be a string", member_names[member]);
    }
    taking->values[member] = value;
    return true;
}

/* Decodes a string to `out`, which has room for it. Its length. */
static size_t decode_whole(struct json_span string, char *out)
{
    return json_decode(&string, out, string.length + 4);
}

static bool add_edit(struct taking *taking)
{
    struct edit_list *list = taking->list;
    const struct json_span old = taking->values[MEMBER_OLD], new = taking->values[MEMBER_NEW],
                           expected = taking->values[MEMBER_EXPECTED];
    /* decoding makes nothing longer, and wants four bytes more */
    cleanup_free char *text = malloc(old.length + new.length + 8);
    taking->result = -1;
    if (text == NULL || ARRAY_RESERVE_ONE(list->edits, list->capacity, list->count) != 0) {
        return false;
    }
    size_t old_length = old.length == 0 ? 0 : decode_whole(old, text);
    if (old_length == 0) {
        return refuse_edit(taking, ".old_str is missing or empty");
    }
    taking->result = 0;
    ANALYZER_OFF("-Wanalyzer-malloc-leak") /* they are the list's */
    struct edit *edit = &list->edits[list->count++];
    *edit = (struct edit){.new = text + old_length,
                          .old_length = old_length,
                          .new_length = new.length == 0 ? 0 : decode_whole(new, text + old_length),
                          .expected = expected.length == 0 ? 1 : json_digits_value(expected)};
    edit->old = steal_pointer(text);
    ANALYZER_ON
    return true;
}

static bool take_edit(void *context, struct json_span name, enum json_type type,
                      struct json_span value)
{
    (void)name;
    struct taking *taking = context;
    struct json_scan_error error;
    memset(taking->seen, 0, sizeof(taking->seen));
    memset(taking->values, 0, sizeof(taking->values));
    if (taking->list->count == EDITS_MAX) {
        return refuse_edit(taking, ": at most %d edits at once", EDITS_MAX);
    }
    if (type != JSON_TYPE_OBJECT) {
        return refuse_edit(taking, " must be an object");
    }
    /* The object is valid, so only take_member stops the scan. */
    return json_scan_object(value.data, value.length, take_member, taking, &error) == 0 &&
           add_edit(taking);
}

int edit_list_take(struct edit_list *list, struct json_span array, char *fault)
{
    struct taking taking = {.list = list, .fault = fault};
    struct json_scan_error error;
    (void)json_scan_array(array.data, array.length, take_edit, &taking, &error);
    if (taking.result == 0 && list->count == 0) {
        (void)snprintf(fault, EDITS_FAULT_SIZE, "edits is empty");
        return 1;
    }
    return taking.result;
}

void edit_list_clear(struct edit_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->edits[i].old);
    }
    free(list->edits);
    *list = (struct edit_list){.edits = NULL};
}

/* ---- applying one ---- */

static uint64_t count_lines(const char *begin, const char *end)
{
    uint64_t lines = 0;
    for (; begin < end; begin++) {
        lines += *begin == '\n';
    }
    return lines;
}

/* The next place of the edit's old text, or NULL. */
static const char *next_place(const char *at, const char *end, const struct edit *edit)
{
    return memmem(at, (size_t)(end - at), edit->old, edit->old_length);
}

static void find_all(const struct edited_text *text, const struct edit *edit,
                     struct edit_found *found)
{
    const char *at = text->data, *end = at + text->length, *counted = at;
    uint64_t line = 1;
    found->count = 0;
    for (; (at = next_place(at, end, edit)) != NULL; at += edit->old_length) {
        if (found->count < EDIT_LINES_MAX) {
            line += count_lines(counted, at);
            counted = at;
            found->lines[found->count] = line;
        }
        found->count++;
    }
}

size_t edit_lines_shown(const struct edit_found *found)
{
    return found->count < EDIT_LINES_MAX ? (size_t)found->count : EDIT_LINES_MAX;
}

/* The length after `count` replacements, or more than `most` if it would be. */
static size_t new_length(size_t length, const struct edit *edit, uint64_t count, size_t most)
{
    size_t kept = length - (size_t)count * edit->old_length, added;
    return __builtin_mul_overflow((size_t)count, edit->new_length, &added) || added > most ||
                   kept > most - added
               ? most + 1
               : kept + added;
}

static void replace_all(const struct edited_text *text, const struct edit *edit, char *out)
{
    const char *at = text->data, *end = at + text->length, *place;
    while ((place = next_place(at, end, edit)) != NULL) {
        out = mempcpy(out, at, (size_t)(place - at));
        out = mempcpy(out, edit->new, edit->new_length);
        at = place + edit->old_length;
    }
    (void)memcpy(out, at, (size_t)(end - at));
}

enum edit_result edit_apply(struct edited_text *text, const struct edit *edit, size_t most,
                            struct edit_found *found)
{
    find_all(text, edit, found);
    if (found->count != edit->expected) {
        return EDIT_MISMATCH;
    }
    if (found->count == 0) {
        return EDIT_DONE;
    }
    size_t length = new_length(text->length, edit, found->count, most);
    if (length > most) {
        return EDIT_TOO_LARGE;
    }
    char *data = malloc(length + 1); /* never of no bytes, which may be NULL */
    if (data == NULL) {
        return EDIT_NO_MEMORY;
    }
    replace_all(text, edit, data);
    free(text->data);
    *text = (struct edited_text){data, length};
    return EDIT_DONE;
}
