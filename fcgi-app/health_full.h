/*
 * What GET /health?full=1 tells beyond the health.
 */
#ifndef FCGI_APP_HEALTH_FULL_H
#define FCGI_APP_HEALTH_FULL_H

#include "procd/client.h"

struct cJSON;

/* Appends it to `json`, also asking procd for its jobs. 0, or -1 when memory is out. Thread-safe.
 */
int health_full_describe(const struct procd_status *status, struct cJSON *json);

#endif
