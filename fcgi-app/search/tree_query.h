/*
 * What /find_files and /search_files have in common: a directory, a glob, a limit, a cursor, and an
 * answer that leaves while the tree is walked through. A query belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/errors.h"
#include "fcgi-app/files/tree_walk.h"
#include "fcgi-app/http/json_body.h"
#include "fcgi-app/http/writer.h"
#include "fcgi-app/search/glob.h"

struct request;

struct tree_query {
    struct request *request; /* borrowed */
    const char *root;        /* the path of the request; borrowed */
    struct glob *glob;       /* owned; NULL: all files */
    size_t glob_depth;
    uint64_t limit, given;
    struct tree_walk_plan plan;
    char *from;         /* the path that the cursor names; NULL: none */
    uint64_t from_line; /* and the line in it */
    char *path;         /* the root and what is below it */
    size_t root_length, capacity;
    uint64_t unreadable;
    struct writer writer;
};

/* Members of both calls; `what` is what the answer lists. */
#define TREE_QUERY_MEMBERS(what)                                                                   \
    {JSON_MEMBER("glob", TEXT, "Only files that this chooses: * ? ** [a-z] {a,b}.")},              \
        {JSON_MEMBER("limit", COUNT, "So many " what " at most; 1000 by default.")},               \
    {                                                                                              \
        JSON_MEMBER("cursor", TEXT, "The next_cursor of the answer before.")                       \
    }

/* Reads the members, and begins an array of this name in the answer. 0, or -1: the request has been
 * answered. Clear it in any case. */
int tree_query_begin(struct tree_query *query, struct request *request,
                     const struct json_body *body, const char *array);
void tree_query_clear(struct tree_query *query);

/* The root and a path below it ("": none), borrowed until the next call; NULL when memory is out.
 * *length becomes its length. */
const char *tree_query_path(struct tree_query *query, const char *below, size_t *length);

/*
 * Walks through the directory `root` (open for reading; taken over), and hands each entry that the
 * glob chooses to `visit`. That says whether the walk goes on; if not, it has ended the answer.
 * Otherwise the answer has its end here, an error included.
 */
void tree_query_walk(struct tree_query *query, int root,
                     bool (*visit)(void *context, const struct tree_entry *entry), void *context);

/* Counts something that could not be read, unless the errno says that it has gone. */
void tree_query_note_unreadable(struct tree_query *query, int number);

/* The next element of the array: a comma if it is not the first one. Whether it was the last that
 * there may be: then end with tree_query_cut(). */
bool tree_query_next(struct tree_query *query);

/* The end of the answer: all was seen. */
void tree_query_end(struct tree_query *query);

/* The same when there may be more, behind this line of this path below the root. */
void tree_query_cut(struct tree_query *query, const char *below, uint64_t line);

/* The same for something that failed: an error with this status, or at the end of what was sent. */
__attribute__((format(printf, 4, 5))) void tree_query_fail(struct tree_query *query, int status,
                                                           enum api_error error, const char *format,
                                                           ...);

/* The same for an errno. ECANCELED: the client has left, or the server stops. */
void tree_query_fail_with(struct tree_query *query, int number);
