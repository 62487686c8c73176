/* What GET /health?full=1 says beyond the health. */
#pragma once

struct cJSON;
struct server_state;

/* Adds a text to the member `warnings` of an answer. 0, or -1 when memory is out. Thread-safe. */
int health_add_warning(struct cJSON *json, const char *text);

/* Appends it to `json`. 0, or -1 when memory is out. Thread-safe. */
int health_full_describe(const struct server_state *state, struct cJSON *json);
