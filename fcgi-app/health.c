/*
 * GET /health: healthy is a server that can start commands, so procd is asked.
 */
#include <cjson/cJSON.h>

#include "fcgi-app/endpoint.h"
#include "fcgi-app/request.h"
#include "procd/client.h"

#define PING_TIMEOUT_MS 2000

static void health(struct request *request)
{
    bool healthy = procd_ping(PING_TIMEOUT_MS) == PROCD_DONE;
    cJSON *json = cJSON_CreateObject();
    if (cJSON_AddStringToObject(json, "status", healthy ? "ok" : "unavailable") == NULL ||
        (!healthy &&
         cJSON_AddStringToObject(json, "error", "The procd daemon does not answer") == NULL)) {
        cJSON_Delete(json);
        json = NULL;
    }
    answer_json_with(request, healthy ? 200 : 503, healthy ? NULL : "Retry-After: 1\r\n", json);
}

const struct endpoint health_endpoint = {"/health", METHOD_GET, health};
