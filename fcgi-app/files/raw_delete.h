#pragma once

struct json_body;
struct request;

/* DELETE of /files. `query` has the parameters. Thread-safe. */
void raw_delete(struct request *request, const struct json_body *query, const char *path);
