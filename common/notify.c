/*
 * The socket is connected at the start, while this process may still reach it, and stays connected
 * until the one message.
 */
#include "common/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/cleanup.h"
#include "common/logger.h"

#define VARIABLE "NOTIFY_SOCKET"

static int manager = -1;

/* A path, or with @ in front a name in the abstract namespace (unix(7)). */
static int connect_manager(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || length >= sizeof(address.sun_path)) {
        errno = EINVAL;
        return -1;
    }
    memcpy(address.sun_path, name, length);
    if (name[0] == '@') {
        address.sun_path[0] = '\0';
    }
    cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, size) < 0) {
        return -1;
    }
    return steal_fd(&fd);
}

void notify_open(void)
{
    const char *name = getenv(VARIABLE);
    if (name == NULL || name[0] == '\0') {
        return;
    }
    manager = connect_manager(name);
    if (manager < 0) {
        log_line(VARIABLE ": %m");
    }
    (void)unsetenv(VARIABLE); // NOLINT(concurrency-mt-unsafe): there is one thread yet
}

void notify_ready(void)
{
    static const char message[] = "READY=1";
    if (manager < 0) {
        return;
    }
    if (TEMP_FAILURE_RETRY(send(manager, message, sizeof(message) - 1, MSG_NOSIGNAL)) < 0) {
        log_line(VARIABLE ": %m");
    }
    close_fd(&manager);
}
