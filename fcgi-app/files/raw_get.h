#pragma once

struct json_body;
struct request;

/* GET and HEAD of /files. `query` has the parameters. Thread-safe. */
void raw_get(struct request *request, const struct json_body *query, const char *path);
