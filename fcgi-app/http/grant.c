#include "fcgi-app/http/grant.h"

#include <stddef.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/rfc3339.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/json_body.h"
#include "fcgi-app/http/request.h"

static uint64_t lifetime_most;

void grant_init(uint64_t lifetime_most_ms)
{
    lifetime_most = lifetime_most_ms;
}

uint64_t grant_expiry(struct request *request, const struct json_body *body, uint64_t usual_ms)
{
    uint64_t usual = lifetime_most < usual_ms ? lifetime_most : usual_ms;
    uint64_t lifetime = json_count(body, "expires_in_ms", usual);
    if (lifetime_most == 0) {
        answer_error(request, 403, ERROR_unsupported,
                     "This server makes no links (SANDBOX_MAX_LINK_LIFETIME is 0)");
        return 0;
    }
    if (lifetime == 0 || lifetime > lifetime_most) {
        answer_error(request, 400, ERROR_invalid_request,
                     "expires_in_ms must be from 1 to %llu (SANDBOX_MAX_LINK_LIFETIME)",
                     (unsigned long long)lifetime_most);
        return 0;
    }
    return clock_date_ns() / 1000000 + lifetime;
}

void grant_answer(struct request *request, const struct grant *grant, const char *location)
{
    char headers[GRANT_TARGET_MOST + 256];
    char time[RFC3339_SIZE];
    uint32_t nanoseconds = (uint32_t)(grant->expires_ms % 1000) * 1000000;
    (void)snprintf(headers, sizeof(headers),
                   "X-Accel-Redirect: %s\r\n"
                   "X-Sandbox-Grant: %s %s %llu %s\r\n"
                   "X-Sandbox-Expires-At: %s\r\n",
                   location, grant->kind, grant->method, (unsigned long long)grant->expires_ms,
                   grant->target,
                   rfc3339_format((int64_t)(grant->expires_ms / 1000), nanoseconds, time));
    if (request_begin(request, 200, NULL, headers) == 0) {
        (void)request_flush(request); /* what fails is seen when it ends */
    }
}
