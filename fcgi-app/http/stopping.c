#include "fcgi-app/http/stopping.h"

#include <stdatomic.h>
#include <sys/eventfd.h>

#include "common/logger.h"

static int event = -1;
static atomic_bool stopping;

int stopping_init(void)
{
    event = eventfd(0, EFD_CLOEXEC);
    return event < 0 ? -1 : 0;
}

void stopping_begin(void)
{
    atomic_store(&stopping, true);
    if (eventfd_write(event, 1) < 0) {
        log_line("streams cannot be woken for the stop: %m");
    }
}

bool is_stopping(void)
{
    return atomic_load(&stopping);
}

int stopping_fd(void)
{
    return event;
}
