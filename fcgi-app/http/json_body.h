/*
 * What was read of a request, from its body (json.h) or its query (query.h): the values of its
 * members.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/errors.h"
#include "fcgi-app/http/json_early.h"
#include "fcgi-app/json/json_environment.h"
#include "fcgi-app/json/json_scan.h"
#include "fcgi-app/json/json_texts.h"

struct json_body;
struct request;
struct spool;

enum json_kind {
    JSON_TEXT,        /* a string without NUL; null and (unless may_be_empty) "" count as absent */
    JSON_TEXT_OR_INT, /* the same, or an integer in plain digits, taken as its text */
    JSON_COUNT,       /* an integer in plain digits, up to JSON_COUNT_MAX */
    JSON_FLAG,        /* true or false */
    /* any string, also empty or with NULs or very long: read it with json_content() */
    JSON_CONTENT,
    /* an object of strings, null for ""; names without = and NUL, not empty; values without NUL */
    JSON_ENVIRONMENT,
    JSON_LIST,   /* an array, perhaps empty: look at its elements with json_scan_array() */
    JSON_TEXTS,  /* an array of strings without NUL, perhaps empty; of these "" is a text, too */
    JSON_NESTED, /* an object, perhaps empty: read its members with json_item() */
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
    /* Of a JSON_CONTENT, or NULL: opens a file for content that is about to arrive, by what `body`
     * has of the members before it (all that are required). The descriptor, or -1: the content is
     * to wait in the body. Anything about the body may still prove wrong. */
    int (*early)(const struct json_body *body);
};

/* A member by its name, kind and sentence; further fields may follow. */
#define JSON_MEMBER(member, its_kind, sentence)                                                    \
    .name = (member), .kind = JSON_##its_kind, .about = (sentence)

enum json_flags {
    JSON_MAY_BE_EMPTY = 1,   /* no body at all counts as {} */
    JSON_ANSWER_FAILURE = 2, /* refusals carry "success": false, as the endpoint's answers do */
};

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

/* The texts of a JSON_TEXTS member, owned by the body; *count 0 when it is absent. */
const char *const *json_texts(const struct json_body *body, const char *name, size_t *count);

/* The text of a JSON_LIST member, from bracket to bracket, borrowed; of length 0 when it is
 * absent. */
struct json_span json_list(const struct json_body *body, const char *name);

/* The same of a JSON_NESTED member, from brace to brace. */
struct json_span json_nested(const struct json_body *body, const char *name);

/* Whether members of the body that are not known are refused. */
bool json_is_strict(const struct json_body *body);

/* `name` of a member, as a message shows it: perhaps cut, without control characters. */
#define JSON_NAME_SHOWN 64
const char *json_name_shown(struct json_span name, char shown[JSON_NAME_SHOWN]);

/*
 * Reads an element of an array of `body`, an object, as a body of its own with these members. Free
 * it before `body`. If its refusal.status is not 0 it was refused, and has nothing but that. NULL
 * when memory is out.
 */
struct json_body *json_item(const struct json_body *body, struct json_span object,
                            const struct json_member *members, size_t count);

/*
 * Decodes a JSON_CONTENT member piece by piece into `sink`, in bounded memory. 0, the first value
 * other than 0 that `sink` returned, or -1 when content that went to a file cannot be read.
 */
int json_content(const struct json_body *body, const char *name,
                 int (*sink)(void *context, const char *data, size_t length), void *context);

/* How many bytes of JSON such a member has in the body: at least as many as its content. SIZE_MAX
 * if it went to a file. */
size_t json_content_size(const struct json_body *body, const char *name);

/* The file that the content went to while the body arrived, borrowed: all of it, or -1 if there is
 * none. *failure becomes the errno if it could not be written, otherwise 0. */
int json_content_file(const struct json_body *body, int *failure);

/* ---- for json.c and query.c, which fill it ---- */

struct json_value {
    const struct json_member *member;
    bool seen; /* given, also as null */
    enum json_type type;
    struct json_span span; /* in the view of the spool, or of the query in plain text */
    char *text;            /* JSON_TEXT*: decoded, or NULL */
    struct json_environment environment;
    struct json_texts texts;
};

/* Why a request is refused. */
struct json_refusal {
    int status; /* 0: the client has left */
    enum api_error error;
    const char *headers; /* lines of the answer, or NULL */
    char message[512];
};

struct json_body {
    struct json_refusal refusal;
    struct spool *spool; /* NULL: it is a query, and the texts lie behind the values */
    bool is_item;        /* the spool is another body's */
    bool is_strict;      /* the client wants members that are not known to be refused */
    size_t unknown;      /* how many of these there are; the refusal's message names them */
    bool names_end;      /* it names no more of them */
    struct json_early early;
    size_t count;
    struct json_value values[];
};

/* Values for these members, and `room` bytes behind them; no spool. NULL when memory is out. */
struct json_body *json_body_new(const struct json_member *members, size_t count, size_t room);

/* Forgets the values and the refusal. */
void json_forget(struct json_body *body);

/* Notes a refusal. Always -1. */
__attribute__((format(printf, 4, 5))) int
json_refuse(struct json_body *body, int status, enum api_error error, const char *format, ...);

/* The same with status 400. */
#define json_refuse_invalid(body, ...) json_refuse(body, 400, ERROR_invalid_request, __VA_ARGS__)

/* The refusal for a required member that is absent. */
int json_refuse_absent(struct json_body *body, const struct json_member *member);

/* Answers with the refusal, unless the client has left; NULL: memory was out. `flags`: enum
 * json_flags. */
void json_answer_refusal(struct request *request, const struct json_body *body, unsigned flags);

bool json_is_plain_digits(struct json_span span);

/* The number in a span of plain digits, or more than JSON_COUNT_MAX. */
uint64_t json_digits_value(struct json_span span);
