#pragma once

struct json_body;
struct request;

/* PUT of /files with an archive in the query, whose members go beneath a directory. Thread-safe. */
void archive_put(struct request *request, const struct json_body *query, const char *path);
