/*
 * The state of the whole server at one moment, as fcgi-app and procd know it together: for
 * GET /health?full=1 and GET /metrics.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "procd/wire/client.h"

/* -1: unknown. */
struct server_state {
    bool has_procd; /* it answered. Otherwise the next three are unknown: */
    struct procd_status procd;
    int64_t log_bytes;     /* of background processes, on disk */
    int64_t terminals;     /* background processes that run and have one */
    int64_t requests;      /* in progress */
    int64_t runs;          /* foreground commands */
    int64_t streams;       /* of logs, ports and changes, and /read_output that wait */
    int64_t held;          /* requests that wait for a port */
    int64_t uploads;       /* that are not finished */
    int64_t dropped_lines; /* of the server's own log, since it was started */
    int64_t since_drop_ms; /* how long ago the last of them was; -1: there was none */
};

/* Collects the state. procd may take `timeout_ms` to answer the first question. A result other than
 * PROCD_DONE says why it did not answer. Thread-safe. */
enum procd_result server_state_take(struct server_state *state, int timeout_ms);

/* ---- its figures, as both answers show them ---- */

struct figure {
    size_t offset;      /* of an int64_t in struct server_state, or in struct daemon_status */
    const char *object; /* the member of /health?full=1 that it is in; "": none */
    const char *member; /* its name there */
    const char *metric; /* its name in /metrics, after nginx_sandbox_; NULL: it is not there */
    double unit;        /* of the metric, in that of the member */
    const char *type, *help;
};

/* In the order of their objects. Each list ends with one without a name. */
extern const struct figure server_figures[];
extern const struct figure daemon_figures[]; /* of each daemon */

/* What it is in a struct server_state or daemon_status; -1: unknown. */
static inline int64_t figure_value(const struct figure *figure, const void *state)
{
    return *(const int64_t *)(const void *)((const char *)state + figure->offset);
}
