#include "fcgi-app/http/grant.h"

#include <stddef.h>
#include <stdio.h>

#include "common/rfc3339.h"
#include "fcgi-app/http/request.h"

void grant_answer(struct request *request, const struct grant *grant)
{
    char headers[GRANT_TARGET_MOST + 256];
    char time[RFC3339_SIZE];
    uint32_t nanoseconds = (uint32_t)(grant->expires_ms % 1000) * 1000000;
    (void)snprintf(headers, sizeof(headers),
                   "X-Accel-Redirect: @nginx_sandbox_signed\r\n"
                   "X-Sandbox-Grant: %s %s %llu %s\r\n"
                   "X-Sandbox-Expires-At: %s\r\n",
                   grant->kind, grant->method, (unsigned long long)grant->expires_ms, grant->target,
                   rfc3339_format((int64_t)(grant->expires_ms / 1000), nanoseconds, time));
    if (request_begin(request, 200, NULL, headers) == 0) {
        (void)request_flush(request); /* what fails is seen when it ends */
    }
}
