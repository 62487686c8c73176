/*
 * Content that goes to a file while its body arrives, so that a large one is written once. The body
 * without this part is kept and scanned as any other; the part itself is whole, valid characters
 * from within a string. So the body is valid exactly if the rest of it is. Part of json.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct json_member;

enum json_early_state {
    JSON_EARLY_NOT_YET, /* the body may still be a small one */
    JSON_EARLY_OPEN,    /* what arrives is within the string */
    JSON_EARLY_OVER,    /* what arrives is kept */
};

struct json_early {
    enum json_early_state state;
    const struct json_member *member; /* whose content it is; NULL: no content is early */
    int fd;                           /* the file, owned; -1: none, or writing it failed */
    int failure;                      /* the errno of that, or 0 */
    uint64_t begin, length;           /* the part of the body that is not kept */
};

/*
 * Writes the content of the next bytes of the string. How many it took. The state is still OPEN if
 * more of the string is to come; then at most JSON_CUT_MAX bytes are left, which the caller puts
 * before those to come. If writing fails the content is lost, and the body is read nevertheless.
 */
size_t json_early_take(struct json_early *early, const char *text, size_t length);

/* Gives all that was written to `sink`. 0, the first value other than 0 that `sink` returned, or -1
 * with errno. */
int json_early_read(const struct json_early *early,
                    int (*sink)(void *context, const char *data, size_t length), void *context);
