/* What GET /health?full=1 says beyond the health. */
#pragma once

struct server_state;
struct writer;

/* Writes it as further members of the answer. */
void health_full_write(struct writer *writer, const struct server_state *state);
