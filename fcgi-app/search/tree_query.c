#include "fcgi-app/search/tree_query.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "fcgi-app/files/name_text.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/query.h"
#include "fcgi-app/http/request.h"

#define LIMIT_DEFAULT 1000
#define ANSWER_BUFFER ((size_t)64 << 10)
#define MESSAGE_SIZE  512

void tree_query_clear(struct tree_query *query)
{
    glob_free(query->glob);
    free(query->from);
    free(query->path);
    writer_clear(&query->writer);
}

/* ---- the members ---- */

static int refuse_query(const struct tree_query *query, const char *fault)
{
    answer_error(query->request, 400, ERROR_invalid_request, "%s", fault);
    return -1;
}

static int refuse_no_memory(const struct tree_query *query)
{
    answer_error(query->request, 503, ERROR_unavailable, "Out of memory");
    return -1;
}

/* A line, a colon, and a path that is escaped. */
static int read_query_cursor(struct tree_query *query, const char *cursor)
{
    char *end;
    if (cursor == NULL) {
        return 0;
    }
    query->from_line = strtoull(cursor, &end, 10);
    size_t digits = strspn(cursor, "0123456789");
    if (digits == 0 || digits > 19 || *end != ':') {
        return refuse_query(query, "cursor: It is no next_cursor of this call");
    }
    char *out = query->from = malloc(strlen(end));
    if (out == NULL) {
        return refuse_no_memory(query);
    }
    for (const char *at = end + 1; *at != '\0'; out++) {
        *out = percent_decode(&at);
        if (*out == '\0') {
            return refuse_query(query, "cursor: It is no next_cursor of this call");
        }
    }
    *out = '\0';
    return 0;
}

static int read_query_glob(struct tree_query *query, const char *text)
{
    char fault[GLOB_FAULT_SIZE];
    query->glob = text == NULL ? NULL : glob_new(text, fault);
    query->glob_depth = glob_depth(query->glob);
    if (text == NULL || query->glob != NULL) {
        return 0;
    }
    if (*fault == '\0') {
        return refuse_no_memory(query);
    }
    answer_error(query->request, 400, ERROR_invalid_request, "glob: %s", fault);
    return -1;
}

int tree_query_begin(struct tree_query *query, struct request *request,
                     const struct json_body *body, const char *array)
{
    *query = (struct tree_query){.request = request,
                                 .root = requested_path(body),
                                 .limit = json_count(body, "limit", LIMIT_DEFAULT)};
    query->root_length = strlen(query->root);
    query->plan.check = stop_check_of(request);
    if (query->limit == 0) {
        return refuse_query(query, "limit must be at least 1");
    }
    if (read_query_cursor(query, json_text(body, "cursor")) != 0 ||
        read_query_glob(query, json_text(body, "glob")) != 0) {
        return -1;
    }
    query->plan.from = query->from;
    if (writer_init(&query->writer, request, ANSWER_BUFFER, false) != 0) {
        return refuse_no_memory(query);
    }
    (void)writer_format(&query->writer, "{\"%s\":[", array);
    return 0;
}

/* ---- on the way ---- */

const char *tree_query_path(struct tree_query *query, const char *below, size_t *length)
{
    size_t root = query->root_length, rest = strlen(below);
    if (root + rest + 2 > query->capacity) {
        size_t capacity = (root + rest + 256) * 2;
        char *path = realloc(query->path, capacity);
        if (path == NULL) {
            return NULL;
        }
        query->path = path;
        query->capacity = capacity;
    }
    char *end = mempcpy(query->path, query->root, root);
    if (rest > 0 && end[-1] != '/') {
        *end++ = '/';
    }
    memcpy(end, below, rest + 1);
    *length = (size_t)(end - query->path) + rest;
    return query->path;
}

void tree_query_note_unreadable(struct tree_query *query, int number)
{
    query->unreadable += number != ENOENT && number != ENOTDIR && number != ELOOP;
}

bool tree_query_next(struct tree_query *query)
{
    if (query->given > 0) {
        (void)writer_string(&query->writer, ",");
    }
    return ++query->given == query->limit;
}

/* ---- the end ---- */

static void end_array(struct tree_query *query, bool is_cut)
{
    (void)writer_format(&query->writer, "],\"truncated\":%s,\"unreadable\":%llu",
                        is_cut ? "true" : "false", (unsigned long long)query->unreadable);
}

void tree_query_end(struct tree_query *query)
{
    end_array(query, false);
    (void)writer_string(&query->writer, "}");
    (void)writer_finish(&query->writer);
}

void tree_query_cut(struct tree_query *query, const char *below, uint64_t line)
{
    size_t length = strlen(below);
    cleanup_free char *escaped = malloc(3 * length + 1);
    if (escaped == NULL) {
        tree_query_fail_with(query, ENOMEM);
        return;
    }
    length = name_text_escape(escaped, below, length);
    end_array(query, true);
    (void)writer_format(&query->writer, ",\"next_cursor\":\"%llu:", (unsigned long long)line);
    (void)writer_raw(&query->writer, escaped, length);
    (void)writer_string(&query->writer, "\"}");
    (void)writer_finish(&query->writer);
}

void tree_query_fail(struct tree_query *query, int status, enum api_error error, const char *format,
                     ...)
{
    char message[MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    if (!query->writer.begun) {
        answer_error(query->request, status, error, "%s", message);
        return;
    }
    end_array(query, true);
    (void)writer_string(&query->writer, ",");
    (void)writer_fields(&query->writer, FIELDS(TEXT_FIELD("error", message),
                                               TEXT_FIELD("error_code", api_error_code(error))));
    (void)writer_string(&query->writer, "}");
    (void)writer_finish(&query->writer);
}

void tree_query_fail_with(struct tree_query *query, int number)
{
    if (number != ECANCELED) {
        tree_query_fail(query, number == ENOMEM ? 503 : 500, api_error_of_errno(number),
                        "walk %.200s: %s", query->root, error_text(number));
    } else if (query->writer.begun) {
        request_abort(query->request);
    } else {
        answer_stopping(query->request); /* or the client has left */
    }
}

/* ---- the walk ---- */

/* Whether the glob chooses an entry. A directory below which it can choose nothing is skipped. */
static bool chooses_entry(const struct tree_query *query, struct tree_walk *walk,
                          const struct tree_entry *entry)
{
    if (entry->type == DT_DIR && tree_walk_depth(walk) >= query->glob_depth) {
        tree_walk_skip(walk);
    }
    return glob_chooses(query->glob, entry->path, entry->name);
}

void tree_query_walk(struct tree_query *query, int root,
                     bool (*visit)(void *context, const struct tree_entry *entry), void *context)
{
    struct tree_entry entry;
    query->plan.skips_kernel = true;
    cleanup_(tree_walk_freep) struct tree_walk *walk = tree_walk_begin(root, &query->plan);
    if (walk == NULL) {
        tree_query_fail_with(query, errno);
        return;
    }
    while (!query->writer.failed) {
        switch (tree_walk_next(walk, &entry)) {
        case TREE_ENTRY:
            if (chooses_entry(query, walk, &entry) && !visit(context, &entry)) {
                return;
            }
            continue;
        case TREE_REFUSED: tree_query_note_unreadable(query, errno); continue;
        case TREE_LEFT: continue;
        case TREE_END: tree_query_end(query); return;
        case TREE_FAILED: tree_query_fail_with(query, errno); return;
        }
    }
}
