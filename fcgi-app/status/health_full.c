/*
 * GET /health?full=1, for a client with the token: beside the health, what an operator watches to
 * see how a server copes with its load.
 */
#include "fcgi-app/status/health_full.h"

#include <cjson/cJSON.h>

#include "fcgi-app/status/server_state.h"

/* The member of this name, an object. NULL when memory is out. */
static cJSON *object_of(cJSON *json, const char *name)
{
    cJSON *object = cJSON_GetObjectItemCaseSensitive(json, name);
    return object != NULL ? object : cJSON_AddObjectToObject(json, name);
}

/* Unknown is null. */
static int add_figures(cJSON *json, const struct figure *figures, const void *state)
{
    for (const struct figure *figure = figures; figure->member != NULL; figure++) {
        cJSON *object = *figure->object == '\0' ? json : object_of(json, figure->object);
        int64_t value = figure_value(figure, state);
        const cJSON *added = value < 0
                                 ? cJSON_AddNullToObject(object, figure->member)
                                 : cJSON_AddNumberToObject(object, figure->member, (double)value);
        if (added == NULL) {
            return -1;
        }
    }
    return 0;
}

int health_full_add(cJSON *json, const struct server_state *state)
{
    cJSON *daemons = NULL;
    if (add_figures(json, server_figures, state) < 0 ||
        (daemons = cJSON_AddObjectToObject(json, "daemons")) == NULL) {
        return -1;
    }
    for (size_t i = 0; i < state->procd.daemon_count; i++) {
        const struct daemon_status *daemon = &state->procd.daemons[i];
        if (add_figures(object_of(daemons, daemon->name), daemon_figures, daemon) < 0) {
            return -1;
        }
    }
    return 0;
}
