/*
 * GET /health: healthy is a server that can start commands, so procd is asked. A full disk stops
 * neither commands nor daemons, and what restarts an unhealthy server would only lose the jobs: it
 * is a warning.
 */
#include "fcgi-app/status/health.h"

#include <stdbool.h>
#include <sys/statvfs.h>

#include <cjson/cJSON.h>

#include "fcgi-app/endpoints.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/status/health_full.h"
#include "fcgi-app/status/server_state.h"
#include "procd/wire/client.h"

#define ANSWER_TIMEOUT_MS 2000

/* Less than the pieces in which logs are written and rotated is as good as nothing. */
#define ROOM_LEAST ((unsigned long long)65536)

#define NO_SPACE                                                                                   \
    "no space left on the file system of the run directory: logs drop lines, processes cannot be " \
    "started"

static int state = -1;

void health_init(int state_directory)
{
    state = state_directory;
}

/* Whether processes can be started and log. A file system without a table of inodes counts none. */
static bool has_room(void)
{
    struct statvfs room;
    if (fstatvfs(state, &room) < 0) {
        return true; /* it says nothing */
    }
    return (unsigned long long)room.f_bavail * room.f_frsize >= ROOM_LEAST &&
           (room.f_files == 0 || room.f_favail > 0);
}

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

static cJSON *healthy(void)
{
    cJSON *json = cJSON_CreateObject();
    if (cJSON_AddStringToObject(json, "status", "ok") == NULL ||
        (!has_room() && health_add_warning(json, NO_SPACE) < 0)) {
        cJSON_Delete(json);
        return NULL;
    }
    return json;
}

static cJSON *unhealthy(void)
{
    cJSON *json = cJSON_CreateObject();
    if (cJSON_AddStringToObject(json, "status", "unavailable") == NULL ||
        cJSON_AddStringToObject(json, "error", "The procd daemon does not answer") == NULL) {
        cJSON_Delete(json);
        return NULL;
    }
    return json;
}

static cJSON *healthy_in_full(const struct server_state *all)
{
    cJSON *json = healthy();
    if (health_full_describe(all, json) < 0) {
        cJSON_Delete(json);
        return NULL;
    }
    return json;
}

static void health(struct request *request)
{
    bool full = request_asks_for_all(request);
    struct server_state all;
    enum procd_result result =
        full ? server_state_take(&all, ANSWER_TIMEOUT_MS) : procd_ping(ANSWER_TIMEOUT_MS);
    if (result != PROCD_DONE) {
        answer_json_with(request, 503, RETRY_AFTER, unhealthy());
    } else {
        answer_json(request, 200, full ? healthy_in_full(&all) : healthy());
    }
}

const struct endpoint health_endpoint = {"/health", METHOD_GET, health, READS};
