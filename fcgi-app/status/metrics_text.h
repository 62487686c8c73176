/*
 * The text of GET /metrics: the Prometheus text format, version 0.0.4. Every name begins with
 * nginx_sandbox_; docs/metrics.md lists them.
 */
#pragma once

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics;
struct server_state;
struct writer;

/*
 * Writes what was counted, and the state. Unknown values are left out, and so are the combinations
 * of endpoint and status that never occurred.
 */
void metrics_write(struct writer *writer, const struct metrics *metrics,
                   const struct server_state *state);
