/*
 * The strict JSON front. A request body is read whole (into a spool: a large one lies in an
 * unlinked file, mapped), checked from the first byte to the last by our own scanner (RFC 8259,
 * valid UTF-8, depth at most 1,000, nothing after the object, no known member twice; a byte order
 * mark before it is skipped), and only then are the wanted members taken out. A lone surrogate (an
 * escape of half a pair, as JavaScript makes when it cuts a string) is U+FFFD in JSON_CONTENT, and
 * refused in what names or commands something. Nothing has been done when a request is refused.
 */
#ifndef FCGI_APP_HTTP_JSON_H
#define FCGI_APP_HTTP_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request;
struct json_body;

enum json_kind {
    JSON_TEXT,        /* a string without NUL; null and (unless may_be_empty) "" count as absent */
    JSON_TEXT_OR_INT, /* the same, or an integer in plain digits, taken as its text */
    JSON_COUNT,       /* an integer in plain digits, up to JSON_COUNT_MAX */
    JSON_FLAG,        /* true or false */
    /* any string, also empty or with NULs or very long: read it with json_content() */
    JSON_CONTENT,
    /* an object of strings, null for ""; names without = and NUL, not empty; values without NUL */
    JSON_ENVIRONMENT,
};

#define JSON_COUNT_MAX UINT64_C(9007199254740991) /* 2^53 - 1: what every JSON number can be */

/* One wanted member of the body, or parameter of the query. */
struct json_member {
    const char *name;
    enum json_kind kind;
    bool required;
    bool may_be_empty; /* of a JSON_TEXT: "" is given, and a text like any other */
    /* What to say when it is required and absent; NULL: "<name> is required". */
    const char *missing;
    const char *about; /* a sentence for those who read a list of the members */
};

/* Remembers the limit of a body in bytes (0: none). Call once, before threads. Large bodies are
 * spooled (spools.h). */
void json_init(uint64_t max_body);

enum json_flags {
    JSON_MAY_BE_EMPTY = 1,   /* no body at all counts as {} */
    JSON_ANSWER_FAILURE = 2, /* refusals carry "success": false, as the endpoint's answers do */
};

/*
 * Reads and checks the request's body. On success the caller owns the result. On failure NULL: the
 * request has been answered (400 or 413, 415 for a body in a content coding, {"error": "..."} that
 * names what was wrong; 500 when it could not be kept) or its client has left. `flags`: enum
 * json_flags, or 0.
 */
struct json_body *json_read(struct request *request, const struct json_member *members,
                            size_t count, unsigned flags);

void json_free(struct json_body *body);
void json_freep(struct json_body **body); /* for cleanup_() */

/* The text of a member, NUL-terminated, owned by the body; NULL when it is absent. */
const char *json_text(const struct json_body *body, const char *name);

/* The value of a JSON_COUNT member, or `fallback` when it is absent. */
uint64_t json_count(const struct json_body *body, const char *name, uint64_t fallback);

/* Whether a JSON_FLAG member is true. */
bool json_flag(const struct json_body *body, const char *name);

/* Whether a member was given at all: an empty JSON_CONTENT or text that may be empty is given, null
 * and other empty texts are not. */
bool json_is_given(const struct json_body *body, const char *name);

/* The environment member as "NAME=value" strings, owned by the body; *count 0 when it is absent. */
const char *const *json_environment(const struct json_body *body, const char *name, size_t *count);

/*
 * Decodes a JSON_CONTENT member piece by piece into `sink`, in bounded memory. 0, or the first
 * value other than 0 that `sink` returned.
 */
int json_content(const struct json_body *body, const char *name,
                 int (*sink)(void *context, const char *data, size_t length), void *context);

#endif
