#include "fcgi-app/http/endpoint.h"

#include "common/cleanup.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/http/query.h"

void endpoint_handle(const struct endpoint *endpoint, struct request *request)
{
    if (endpoint->api->methods == ENDPOINT_GET && endpoint->member_count == 0) {
        endpoint->handle(request, NULL);
        return;
    }
    cleanup_(json_freep) struct json_body *body =
        (endpoint->api->methods == ENDPOINT_GET ? query_read : json_read)(
            request, endpoint->members, endpoint->member_count, endpoint->flags);
    if (body != NULL) {
        endpoint->handle(request, body);
    }
}
