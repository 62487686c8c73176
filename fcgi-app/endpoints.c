/*
 * The table of endpoints, and what is answered where it has no row.
 */
#include "fcgi-app/endpoints.h"

#include <stddef.h>
#include <string.h>

#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/request.h"

#define ROW(name, path, methods, trait, effect) &name##_endpoint,
static const struct endpoint *const endpoints[API_COUNT] = {API_ENDPOINTS(ROW)};

unsigned endpoint_number(const char *path)
{
    unsigned number = 0;
    while (number < API_COUNT && strcmp(api_endpoints[number].path, path) != 0) {
        number++;
    }
    return number;
}

const char *endpoint_path(unsigned number)
{
    return api_endpoints[number].path;
}

enum effect endpoint_effect(const char *path)
{
    unsigned number = endpoint_number(path);
    return number == API_COUNT ? READS : api_endpoints[number].effect;
}

static const char *allow_header(const struct endpoint *endpoint)
{
    switch (endpoint->api->methods) {
    case ENDPOINT_GET:
        return "Allow: GET, HEAD, OPTIONS\r\n";
    case ENDPOINT_POST:
        return "Allow: POST, OPTIONS\r\n";
    default:
        return "Allow: GET, HEAD, POST, OPTIONS\r\n";
    }
}

/* The method as a bit; 0 for one that no endpoint takes. */
static unsigned method_bit(const char *method)
{
    return strcmp(method, "POST") == 0                                 ? ENDPOINT_POST
           : strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ? ENDPOINT_GET
                                                                       : 0;
}

void endpoint_dispatch(struct request *request)
{
    unsigned number = endpoint_number(request_path(request));
    const char *method = request_method(request);
    if (number == API_COUNT) {
        answer_error(request, 404, ERROR_not_found, "Not found: %s", request_path(request));
        return;
    }
    const struct endpoint *endpoint = endpoints[number];
    if ((endpoint->api->methods & method_bit(method)) != 0) {
        if ((endpoint->api->trait != LASTS && endpoint->api->trait != STREAMS) ||
            request_may_last(request)) {
            endpoint_handle(endpoint, request);
        }
    } else if (strcmp(method, "OPTIONS") == 0) {
        (void)request_begin(request, 204, NULL, allow_header(endpoint));
    } else {
        answer_error_with(request, 405, ERROR_method_not_allowed, allow_header(endpoint), 0,
                          "Method not allowed");
    }
}
