/*
 * The strict scanner: RFC 8259 to the letter, which allows escapes of lone surrogates, and strict
 * UTF-8; in one pass, without recursion, without allocation. It hands out the members of one
 * object, or the elements of one array. Strings stay as they are in the text until json_decode().
 * All functions are thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define JSON_DEPTH_MAX 1000 /* the outermost object is the first level */

enum json_type {
    JSON_TYPE_NUMBER,
    JSON_TYPE_STRING,
    JSON_TYPE_OBJECT,
    JSON_TYPE_ARRAY,
    JSON_TYPE_BOOLEAN,
    JSON_TYPE_NULL
};

/* A part of the text, borrowed. Of a string: what is between the quotes, still escaped. */
struct json_span {
    const char *data;
    size_t length;
};

struct json_scan_error {
    size_t offset;
    const char *reason;    /* static */
    const char *string;    /* where it is in a string that is a member's value: inside the quotes */
    struct json_span name; /* of that member; `string` is NULL where it is elsewhere */
};

/* Takes one member of the outermost object, in the order of the text. Of an array `name` is empty.
 * False stops the scan. */
typedef bool json_member_function(void *context, struct json_span name, enum json_type type,
                                  struct json_span value);

/*
 * Scans a text that must be one object and nothing else but whitespace. 0 when all of it is valid;
 * 1 when `function` stopped it; -1 with *error when it is not valid JSON or not an object (the
 * members before the error have been handed out already).
 */
int json_scan_object(const char *text, size_t length, json_member_function *function, void *context,
                     struct json_scan_error *error);

/* The same for a text that must be one array: its elements are handed out. */
int json_scan_array(const char *text, size_t length, json_member_function *function, void *context,
                    struct json_scan_error *error);

/*
 * Scans the inside of a string of which more may come: how many bytes from the beginning of `text`
 * are valid and can be decoded alone. What follows these is the closing quote, a fault, or, if at
 * most JSON_CUT_MAX bytes are left, perhaps the beginning of a character.
 */
#define JSON_CUT_MAX 11 /* an escaped surrogate pair, less one byte */
size_t json_string_part(const char *text, size_t length);

/*
 * Decodes a string that was scanned: moves *string on over what it took, writes at most `room`
 * bytes (room >= 4) to `out` and returns how many. Nothing is left to decode when string->length is
 * 0.
 */
size_t json_decode(struct json_span *string, char *out, size_t room);

/* Whether a scanned string holds half a surrogate pair, which json_decode() turns into U+FFFD. */
bool json_has_lone_surrogate(struct json_span string);

/* Whether a scanned string, decoded, is `text`. */
bool json_decodes_to(struct json_span string, const char *text);
