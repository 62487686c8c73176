#include "fcgi-app/http/lasting.h"

#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/workers.h"

static _Thread_local enum place *served;

void lasting_serve(enum place *place)
{
    served = place;
}

bool lasting_begin(struct request *request)
{
    if (places_prolong(served) && workers_leave()) {
        return true;
    }
    answer_error(request, 503, ERROR_unavailable,
                 "Too many requests at once (SANDBOX_MAX_CONNECTIONS, or the limit on threads or "
                 "open files)");
    return false;
}
