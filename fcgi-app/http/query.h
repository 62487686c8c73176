/*
 * The parameters of a query string, read as the members of a body are.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct json_body;
struct json_member;
struct request;

/*
 * Reads the parameters of the request's query: for each member the first of its name, decoded (%xx,
 * and + for a space). An empty one counts as absent. Kinds: JSON_TEXT, and JSON_FLAG (true or 1,
 * false or 0). On success the caller owns the result (json_free()). On failure NULL: the request
 * has been answered with 400, or 500 when memory is out.
 */
struct json_body *query_read(struct request *request, const struct json_member *members,
                             size_t count, unsigned flags);

/*
 * Steps through the values of a parameter that may come more than once: *at is the query at first.
 * Decodes the next one that is not empty into `out`, which has room for the query and a NUL. 1; 0
 * after the last; -1 when a NUL is in it. Thread-safe.
 */
int query_next(const char **at, const char *name, char *out);

/* One byte of a text in which %xx stands for a byte; moves *text on. A % that begins no %xx stands
 * for itself. Thread-safe. */
char percent_decode(const char **text);

/* Decodes all of a text in its place. False: there is a NUL among the bytes. Thread-safe. */
bool percent_decode_all(char *text);
