#include "fcgi-app/files/stop_check.h"

#include <stddef.h>

#include "fcgi-app/http/request.h"
#include "fcgi-app/http/stopping.h"

static bool is_not_wanted(void *request)
{
    return is_stopping() || request_gone(request);
}

struct stop_check stop_check_of(struct request *request)
{
    return (struct stop_check){is_not_wanted, request};
}

bool stop_check_asks(const struct stop_check *check)
{
    return check->stop != NULL && check->stop(check->context);
}
