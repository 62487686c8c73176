#include "fcgi-app/http/endpoint.h"

#include "common/cleanup.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/http/query.h"

void endpoint_handle(const struct endpoint *endpoint, struct request *request)
{
    bool has_query = endpoint->api->methods == ENDPOINT_GET || endpoint->api->trait == RAW;
    if (has_query && endpoint->member_count == 0) {
        endpoint->handle(request, NULL);
        return;
    }
    cleanup_(json_freep) struct json_body *body = (has_query ? query_read : json_read)(
        request, endpoint->members, endpoint->member_count, endpoint->flags);
    if (body != NULL) {
        endpoint->handle(request, body);
    }
}
