/* What GET /health?full=1 says beyond the health. */
#pragma once

struct cJSON;
struct server_state;

/* Adds it as further members of the answer. 0, or -1 when memory is out. */
int health_full_add(struct cJSON *json, const struct server_state *state);
