#pragma once

struct json_body;
struct request;

/* GET and HEAD of /files with an archive in the query: the tree beneath a directory. Thread-safe.
 */
void archive_get(struct request *request, const struct json_body *query, const char *path);
