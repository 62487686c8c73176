/*
 * GET /health: a server is healthy if it can start commands, so procd is asked. A full disk is only
 * a warning: it stops neither commands nor daemons, and to restart the server for it would lose the
 * jobs.
 */
#include "fcgi-app/status/health.h"

#include <inttypes.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cjson/cJSON.h>

#include "common/cleanup.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/status/health_full.h"
#include "fcgi-app/status/server_state.h"
#include "procd/wire/client.h"

#define ANSWER_TIMEOUT_MS 2000
#define DROPS_ARE_NEWS_MS 60000

/* Less than the pieces in which logs are written and rotated is as good as nothing. */
#define ROOM_LEAST ((unsigned long long)65536)

#define NO_SPACE                                                                                   \
    "no space left on the file system of the run directory: logs drop lines, processes cannot be " \
    "started"

static int state = -1;
static const char *run = "/";

void health_init(int state_directory, const char *run_directory)
{
    state = state_directory;
    run = run_directory;
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

/* ---- what is wrong with the machine ---- */

static bool has_no_room(void)
{
    return !has_room();
}

static bool lacks_null(void)
{
    struct stat device;
    return stat("/dev/null", &device) < 0 || !S_ISCHR(device.st_mode) ||
           device.st_rdev != makedev(1, 3);
}

static bool lacks_proc(void)
{
    struct statfs system;
    return statfs("/proc", &system) < 0 || system.f_type != PROC_SUPER_MAGIC;
}

static bool is_read_only(const char *path)
{
    struct statvfs system;
    return statvfs(path, &system) == 0 && (system.f_flag & ST_RDONLY) != 0;
}

static bool proc_is_read_only(void)
{
    return !lacks_proc() && is_read_only("/proc");
}

static bool run_is_read_only(void)
{
    struct statvfs system;
    return is_read_only(run) || (fstatvfs(state, &system) == 0 && (system.f_flag & ST_RDONLY) != 0);
}

static bool run_is_gone(void)
{
    struct stat opened;
    return fstat(state, &opened) == 0 && opened.st_nlink == 0;
}

/* Clients without the token read these, too: they name nothing that is the operator's own. */
static const struct {
    bool (*is_there)(void);
    const char *text;
} faults[] = {
    {has_no_room, NO_SPACE},
    {run_is_read_only, "the run directory is read-only: processes cannot be started"},
    {run_is_gone, "the run directory was removed: processes cannot be started"},
    {lacks_null, "/dev/null is missing or is another file: commands that use it fail"},
    {lacks_proc, "/proc is not there: what a command leaves running may not be found"},
    {proc_is_read_only,
     "/proc is read-only: commands are not ended before the daemons when memory is out"},
};

/* ---- the answer ---- */

static int add_warning(cJSON *json, const char *text)
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

static int add_warnings(cJSON *json, const struct server_state *all)
{
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (faults[i].is_there() && add_warning(json, faults[i].text) < 0) {
            return -1;
        }
    }
    if (all == NULL || all->since_drop_ms < 0 || all->since_drop_ms > DROPS_ARE_NEWS_MS) {
        return 0;
    }
    char text[128];
    (void)snprintf(text, sizeof(text),
                   "%" PRId64 " lines of the server's log were dropped, some of them just now: "
                   "nobody reads them",
                   all->dropped_lines);
    return add_warning(json, text);
}

static int add_error(cJSON *json, const char *error)
{
    return cJSON_AddStringToObject(json, "error", error) == NULL ||
                   cJSON_AddStringToObject(json, "error_code", api_error_code(ERROR_unavailable)) ==
                       NULL
               ? -1
               : 0;
}

/* The health, an error or NULL, what is wrong with the machine and, where it is known, the state.
 */
static void answer_health(struct request *request, const char *error,
                          const struct server_state *all)
{
    cJSON *json = cJSON_CreateObject();
    const char *status = error == NULL ? "ok" : "unavailable";
    if (cJSON_AddStringToObject(json, "status", status) == NULL ||
        (error != NULL && add_error(json, error) < 0) || add_warnings(json, all) < 0 ||
        (all != NULL && health_full_add(json, all) < 0)) {
        cJSON_Delete(steal_pointer(json));
    }
    answer_json(request, error == NULL ? 200 : 503, json);
}

static void health(struct request *request, const struct json_body *body)
{
    (void)body;
    /* nginx says whether the client has the token and asks for everything. */
    bool full = *request_param(request, "HEALTH_FULL") != '\0';
    bool can_start = true;
    struct server_state all;
    enum procd_result result = procd_ping(&can_start, ANSWER_TIMEOUT_MS);
    if (full && result == PROCD_DONE) {
        result = server_state_take(&all, ANSWER_TIMEOUT_MS);
    }
    if (result != PROCD_DONE) {
        answer_health(request, "The procd daemon does not answer", NULL);
    } else if (!can_start) {
        answer_health(request, "No command can be started: the runners of procd die as they start",
                      NULL);
    } else {
        answer_health(request, NULL, full ? &all : NULL);
    }
}

const struct endpoint health_endpoint = {
    API_ROW(health),
    .about = "Says whether commands can be started, and with full=1 how the whole server is.",
    .handle = health,
};
