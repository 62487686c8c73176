#include "fcgi-app/http/admission.h"

#include <limits.h>
#include <stdatomic.h>

#include "fcgi-app/http/answer.h"

static struct {
    const char *what;
    const char *variable;
    unsigned most;
    atomic_uint count;
} kinds[ADMISSION_KINDS] = {
    [ADMISSION_RUN] = {.what = "commands run", .variable = "SANDBOX_MAX_RUNS"},
    [ADMISSION_TRANSFER] = {.what = "files are transferred", .variable = "SANDBOX_MAX_TRANSFERS"},
    [ADMISSION_STREAM] = {.what = "streams are open", .variable = "SANDBOX_MAX_STREAMS"},
};

static unsigned limit(uint64_t most)
{
    return most == 0 || most > UINT_MAX ? UINT_MAX : (unsigned)most;
}

void admission_init(uint64_t runs_max, uint64_t streams_max, uint64_t transfers_max)
{
    kinds[ADMISSION_TRANSFER].most = limit(transfers_max);
    kinds[ADMISSION_RUN].most = limit(runs_max);
    kinds[ADMISSION_STREAM].most = limit(streams_max);
}

bool admission_try(struct admission *admission, enum admission_kind kind)
{
    unsigned count = atomic_load(&kinds[kind].count);
    do {
        if (count >= kinds[kind].most) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&kinds[kind].count, &count, count + 1));
    *admission = (struct admission){.kind = kind, .held = true};
    return true;
}

bool admission_enter(struct admission *admission, enum admission_kind kind, struct request *request)
{
    bool entered = admission_try(admission, kind);
    if (!entered) {
        answer_error(request, 429, ERROR_too_many, "Too many %s at once (%s)", kinds[kind].what,
                     kinds[kind].variable);
    }
    return entered;
}

void admission_leave(struct admission *admission)
{
    if (admission->held) {
        admission->held = false;
        atomic_fetch_sub(&kinds[admission->kind].count, 1);
    }
}

unsigned admission_count(enum admission_kind kind)
{
    return atomic_load(&kinds[kind].count);
}
