#pragma once

#include <stdint.h>

struct json_body;
struct request;

/* Remembers the size of the largest file (0: no limit), and how many bytes a disk must keep free.
 * Call once, before threads. */
void raw_put_init(uint64_t upload_max, uint64_t free_least);

/* PUT of /files. `query` has the parameters. Thread-safe. */
void raw_put(struct request *request, const struct json_body *query, const char *path);
