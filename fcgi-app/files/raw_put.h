#pragma once

struct json_body;
struct request;

/* PUT of /files. `query` has the parameters. Thread-safe. */
void raw_put(struct request *request, const struct json_body *query, const char *path);
