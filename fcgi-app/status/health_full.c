/*
 * GET /health?full=1, for a client with the token: beside the health, what an operator watches to
 * see how a server copes with its load.
 */
#include "fcgi-app/status/health_full.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "fcgi-app/status/server_state.h"

#define DROPS_ARE_NEWS_MS 60000

int health_add_warning(cJSON *json, const char *text)
{
    cJSON *warnings = cJSON_GetObjectItemCaseSensitive(json, "warnings");
    if (warnings == NULL) {
        warnings = cJSON_AddArrayToObject(json, "warnings");
    }
    cJSON *warning = cJSON_CreateString(text);
    if (!cJSON_AddItemToArray(warnings, warning)) {
        cJSON_Delete(warning);
        return -1;
    }
    return 0;
}

struct number {
    const char *name;
    int64_t value; /* -1: unknown, which is null in JSON */
};

/* 0, or -1 when memory is out. */
static int add_numbers(cJSON *json, const struct number *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct number *number = &numbers[i];
        const cJSON *added =
            number->value < 0 ? cJSON_AddNullToObject(json, number->name)
                              : cJSON_AddNumberToObject(json, number->name, (double)number->value);
        if (added == NULL) {
            return -1;
        }
    }
    return 0;
}

#define ADD(json, numbers) add_numbers(json, numbers, sizeof(numbers) / sizeof((numbers)[0]))

static int add_daemons(cJSON *json, const struct procd_status *status)
{
    cJSON *daemons = cJSON_AddObjectToObject(json, "daemons");
    for (size_t i = 0; i < status->daemon_count; i++) {
        const struct daemon_status *daemon = &status->daemons[i];
        const struct number numbers[] = {{"pid", daemon->pid},
                                         {"restarts", daemon->restarts},
                                         {"descriptors", daemon->descriptors},
                                         {"threads", daemon->threads},
                                         {"rss_kb", daemon->rss_kb}};
        if (ADD(cJSON_AddObjectToObject(daemons, daemon->name), numbers) < 0) {
            return -1;
        }
    }
    return daemons == NULL ? -1 : 0;
}

/* Adds them to the warnings of /health. */
static int add_warnings(const struct server_state *state, cJSON *json)
{
    char text[128];
    if (state->since_drop_ms < 0 || state->since_drop_ms > DROPS_ARE_NEWS_MS) {
        return 0;
    }
    (void)snprintf(text, sizeof(text),
                   "%" PRId64 " lines of the server's log were dropped, some of them just now: "
                   "nobody reads them",
                   state->dropped_lines);
    return health_add_warning(json, text);
}

int health_full_describe(const struct server_state *state, cJSON *json)
{
    const struct procd_status *procd = &state->procd;
    const struct number all[] = {{"uptime_ms", procd->uptime_ms}, {"zombies", state->zombies}};
    const struct number queue[] = {{"requests", state->requests},
                                   {"backlog", state->backlog},
                                   {"runs", state->runs},
                                   {"streams", state->streams},
                                   {"jobs", procd->running},
                                   {"runners", procd->runners},
                                   {"idle_runners", procd->idle_runners}};
    const struct number disk[] = {{"free_bytes", procd->disk_free},
                                  {"total_bytes", procd->disk_total},
                                  {"log_bytes", state->log_bytes}};
    const struct number log[] = {{"dropped_lines", state->dropped_lines}};
    if (ADD(json, all) < 0 || add_daemons(json, procd) < 0 ||
        ADD(cJSON_AddObjectToObject(json, "queue"), queue) < 0 ||
        ADD(cJSON_AddObjectToObject(json, "disk"), disk) < 0 ||
        ADD(cJSON_AddObjectToObject(json, "log"), log) < 0 || add_warnings(state, json) < 0) {
        return -1;
    }
    return 0;
}
