/*
 * The table of endpoints, and what is answered where it has no row.
 */
#include "fcgi-app/endpoints.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "fcgi-app/http/request.h"

static const struct endpoint *const endpoints[] = {
    &run_endpoint,
    &run_streaming_endpoint,
    &list_processes_endpoint,
    &read_file_endpoint,
    &write_file_endpoint,
    &list_dir_endpoint,
    &stat_file_endpoint,
    &make_dir_endpoint,
    &delete_file_endpoint,
    &delete_dir_endpoint,
    &start_process_endpoint,
    &kill_process_endpoint,
    &process_logs_streaming_endpoint,
    &get_process_endpoint,
    &wait_process_endpoint,
    &write_stdin_endpoint,
    &delete_process_endpoint,
    &bind_port_endpoint,
    &unbind_port_endpoint,
    &port_status_endpoint,
    &health_endpoint,
    &metrics_endpoint,
};
_Static_assert(sizeof(endpoints) / sizeof(endpoints[0]) == ENDPOINT_COUNT, "its number of rows");

unsigned endpoint_number(const char *path)
{
    unsigned number = 0;
    while (number < ENDPOINT_COUNT && strcmp(endpoints[number]->path, path) != 0) {
        number++;
    }
    return number;
}

const char *endpoint_path(unsigned number)
{
    return endpoints[number]->path;
}

enum effect endpoint_effect(const char *path)
{
    unsigned number = endpoint_number(path);
    return number == ENDPOINT_COUNT ? READS : endpoints[number]->effect;
}

static const char *allow_header(const struct endpoint *endpoint)
{
    return endpoint->method == METHOD_GET ? "Allow: GET, HEAD, OPTIONS\r\n"
                                          : "Allow: POST, OPTIONS\r\n";
}

static bool takes(const struct endpoint *endpoint, const char *method)
{
    if (endpoint->method == METHOD_GET) {
        return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    }
    return strcmp(method, "POST") == 0;
}

static void answer_method_not_allowed(struct request *request, const struct endpoint *endpoint)
{
    cJSON *json = cJSON_CreateObject();
    if (json != NULL && cJSON_AddStringToObject(json, "error", "Method not allowed") == NULL) {
        cJSON_Delete(json);
        json = NULL;
    }
    answer_json_with(request, 405, allow_header(endpoint), json);
}

void endpoint_dispatch(struct request *request)
{
    unsigned number = endpoint_number(request_path(request));
    const char *method = request_method(request);
    if (number == ENDPOINT_COUNT) {
        answer_error(request, 404, "Not found: %s", request_path(request));
        return;
    }
    const struct endpoint *endpoint = endpoints[number];
    if (takes(endpoint, method)) {
        endpoint->handle(request);
    } else if (strcmp(method, "OPTIONS") == 0) {
        (void)request_begin(request, 204, NULL, allow_header(endpoint));
    } else {
        answer_method_not_allowed(request, endpoint);
    }
}
