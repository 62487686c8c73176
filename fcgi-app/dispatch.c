#include "fcgi-app/dispatch.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/fcgi.h"
#include "fcgi-app/http/lasting.h"
#include "fcgi-app/http/places.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/stopping.h"
#include "fcgi-app/http/workers.h"
#include "fcgi-app/ports/hold.h"

static const struct endpoint *const *rows;

void dispatch_init(const struct endpoint *const *endpoints)
{
    rows = endpoints;
}

/*
 * 503 before the body is read. Where there is one, nginx makes the answer, which ends its
 * connection: nginx/snippets/server.conf says why, and has both locations.
 */
static void turn_away(struct request *request, const char *location, enum api_error error,
                      const char *message)
{
    char header[64];
    if (!request_has_body(request)) {
        answer_error(request, 503, error, "%s", message);
        return;
    }
    (void)snprintf(header, sizeof(header), "X-Accel-Redirect: %s\r\n", location);
    if (request_begin(request, 503, NULL, header) == 0) {
        (void)request_flush(request); /* what fails is seen when it ends */
    }
}

static void turn_away_from_full(struct request *request)
{
    turn_away(request, "@nginx_sandbox_full", ERROR_unavailable,
              "Too many requests at once (SANDBOX_MAX_CONNECTIONS, or the limit on threads or open "
              "files)");
}

/* ---- the row ---- */

/* Whether a path is an endpoint's. */
static bool has_path(const struct api_endpoint *endpoint, const char *path)
{
    size_t length = strlen(endpoint->path);
    return strncmp(endpoint->path, path, length) == 0 &&
           (path[length] == '\0' ||
            (path[length] == '/' && (endpoint->trait == RAW || endpoint->trait == SOCKET)));
}

/* The row of a path; NULL if there is none. */
static const struct endpoint *find_row(const char *path)
{
    for (unsigned number = 0; number < API_COUNT; number++) {
        if (has_path(&api_endpoints[number], path)) {
            return rows[number];
        }
    }
    return NULL;
}

static const struct {
    const char *name;
    unsigned bits; /* enum endpoint_method: of any of them */
} method_names[] = {{"GET", ENDPOINT_GET},     {"HEAD", ENDPOINT_GET | ENDPOINT_HEAD},
                    {"POST", ENDPOINT_POST},   {"PUT", ENDPOINT_PUT},
                    {"PATCH", ENDPOINT_PATCH}, {"DELETE", ENDPOINT_DELETE}};

#define METHODS    (sizeof(method_names) / sizeof(method_names[0]))
#define ALLOW_SIZE 64

/* Returns `header`, with the methods of the endpoint. */
static const char *allow_header(const struct endpoint *endpoint, char header[ALLOW_SIZE])
{
    char *out = stpcpy(header, "Allow: ");
    for (size_t i = 0; i < METHODS; i++) {
        if ((endpoint->api->methods & method_names[i].bits) != 0) {
            out = stpcpy(stpcpy(out, method_names[i].name), ", ");
        }
    }
    (void)stpcpy(out, "OPTIONS\r\n");
    return header;
}

/* The bits of the method; 0 for one that no endpoint takes. */
static unsigned method_bits(const char *method)
{
    for (size_t i = 0; i < METHODS; i++) {
        if (strcmp(method, method_names[i].name) == 0) {
            return method_names[i].bits;
        }
    }
    return 0;
}

static bool is_transfer(const struct endpoint *endpoint)
{
    return endpoint->api->trait == RAW || endpoint->api->trait == WALKS;
}

/* As long as a command or its output. */
static bool lasts(const struct endpoint *endpoint)
{
    return endpoint->api->trait == LASTS || endpoint->api->trait == STREAMS;
}

/* A transfer is long-running, too, but most files and trees are small. */
static bool is_long_running(const struct endpoint *endpoint)
{
    return lasts(endpoint) || is_transfer(endpoint);
}

/* Passes a request on that has all but a place among the transfers, if it needs one. */
static void admit_request(struct request *request, const struct endpoint *endpoint)
{
    cleanup_(admission_leave) struct admission transfer = {.held = false};
    if (is_transfer(endpoint) && !admission_try(&transfer, ADMISSION_TRANSFER)) {
        turn_away(request, "@nginx_sandbox_transfers", ERROR_unavailable,
                  "Too many transfers of files at once (SANDBOX_MAX_TRANSFERS)");
        return;
    }
    endpoint_handle(endpoint, request);
}

static void answer_options(struct request *request, const struct endpoint *endpoint,
                           const char *allow)
{
    if (endpoint->answer_options != NULL) {
        endpoint->answer_options(request, allow);
    } else {
        (void)request_begin(request, 204, NULL, allow);
    }
}

/* nginx's own question, about a port that a client has asked for. */
static void answer_hold(struct request *request, enum place *place)
{
    if (places_prolong(place)) {
        hold_request(request);
    } else {
        turn_away_from_full(request);
    }
}

static void answer_request(struct request *request, const struct endpoint *endpoint,
                           enum place *place)
{
    char allow[ALLOW_SIZE];
    const char *method = request_method(request);
    if (endpoint == NULL && *request_param(request, "HELD_PORT") != '\0') {
        answer_hold(request, place);
    } else if (endpoint == NULL) {
        answer_error(request, 404, ERROR_not_found, "Not found: %s", request_path(request));
    } else if ((endpoint->api->methods & method_bits(method)) != 0) {
        if (endpoint->answer_early != NULL && endpoint->answer_early(request)) {
            return;
        }
        if ((is_long_running(endpoint) && !places_prolong(place)) ||
            (lasts(endpoint) && !workers_leave())) {
            turn_away_from_full(request);
        } else {
            admit_request(request, endpoint);
        }
    } else if (strcmp(method, "OPTIONS") == 0) {
        answer_options(request, endpoint, allow_header(endpoint, allow));
    } else {
        answer_error_with(request, 405, ERROR_method_not_allowed, allow_header(endpoint, allow), 0,
                          "Method not allowed");
    }
}

/* ---- one request ---- */

/* Takes a place for it: a monitor's for those who ask how the server is. guard is one of them: its
 * question has no path. */
static bool take_place(const struct request *request, const struct endpoint *endpoint,
                       enum place *place)
{
    bool is_monitor = endpoint == NULL
                          ? *request_path(request) == '\0'
                          : endpoint->api->trait == OPEN || endpoint->api->trait == METRICS;
    *place = is_monitor ? PLACE_MONITOR : PLACE_SHORT;
    return places_take(*place);
}

void dispatch(struct request *request, bool refuse)
{
    enum place place;
    const struct endpoint *endpoint = find_row(request_path(request));
    bool has_place = take_place(request, endpoint, &place);
    lasting_serve(&place);
    request_set_endpoint(request, endpoint == NULL ? NULL : endpoint->api);
    log_request(LOG_DEBUG, request_id(request), "%s %s", request_method(request),
                endpoint == NULL ? request_path(request) : endpoint->api->path);
    if (refuse || !has_place) {
        turn_away_from_full(request);
    } else if (is_stopping()) {
        turn_away(request, "@nginx_sandbox_away", ERROR_stopping, "The server is stopping");
    } else {
        answer_request(request, endpoint, &place);
    }
    if (!request_is_answered(request) && !request_gone(request)) {
        log_request(LOG_ERR, request_id(request), "%s was not answered", request_path(request));
        answer_lost(request, "Internal error: the request may have been done");
    }
    if (request_finish(request, !refuse)) {
        places_leave(place);
    }
}

void dispatch_give_back(int fd, bool reuse)
{
    places_leave(PLACE_LONG); /* only such a request is detached */
    if (reuse) {
        workers_resume(fd);
    } else {
        (void)close(fd);
    }
}
