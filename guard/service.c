/*
 * What s6-supervise writes to supervise/status, and reads from supervise/control (s6-svc(1)).
 */
#include "guard/service.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/logger.h"

#define STATUS_MAX  64
#define WANTED_UP   0x04 /* flags in the last byte of the status (s6_svstatus_pack()) */
#define READY       0x08 /* it is down and may start; our services do not report it while up */
#define PATIENCE    2    /* s6 starts a service again after one second */
#define ORDER_START "u"

void service_init(struct service *service, const char *run, const char *name)
{
    service->down = 0;
    (void)snprintf(service->path, sizeof(service->path), "%s/service/%s", run, name);
}

static int open_supervise_file(const struct service *service, const char *name, int flags)
{
    char path[sizeof(service->path) + 32]; /* a longer one is refused by open(2) */
    (void)snprintf(path, sizeof(path), "%s/supervise/%s", service->path, name);
    return open(path, flags | O_CLOEXEC | O_NONBLOCK);
}

static bool is_down(const struct service *service)
{
    unsigned char status[STATUS_MAX];
    cleanup_fd int fd = open_supervise_file(service, "status", O_RDONLY);
    ssize_t length = fd < 0 ? 0 : io_read_full(fd, status, sizeof(status));
    return length > 0 && status[length - 1] == (WANTED_UP | READY);
}

void service_revive(struct service *service)
{
    service->down = is_down(service) ? service->down + 1 : 0;
    if (service->down < PATIENCE) {
        return;
    }
    cleanup_fd int fd = open_supervise_file(service, "control", O_WRONLY);
    if (fd >= 0 && io_write_all(fd, ORDER_START, 1) == 0 && service->down == PATIENCE) {
        log_at(LOG_NOTICE, "%s is down: guard asks s6 to start it now", service->path);
    }
}
