#include "common/descent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/array.h"
#include "common/cleanup.h"

int descent_enter(struct descent *descent, int fd)
{
    struct stat status;
    close_fd(&descent->fd);
    descent->fd = fd;
    if (fd < 0 || fstat(fd, &status) != 0 ||
        ARRAY_RESERVE_ONE(descent->places, descent->capacity, descent->depth) < 0) {
        return -1;
    }
    descent->places[descent->depth++] = (struct descent_place){status.st_dev, status.st_ino};
    return 0;
}

bool descent_is_at(const struct descent *descent, int fd)
{
    struct stat status;
    const struct descent_place *place = &descent->places[descent->depth - 1];
    return fstat(fd, &status) == 0 && status.st_dev == place->device &&
           status.st_ino == place->inode;
}

int descent_leave(struct descent *descent, int flags)
{
    descent->depth--;
    cleanup_fd int parent =
        descent->fd < 0 ? -1 : openat(descent->fd, "..", flags | O_DIRECTORY | O_CLOEXEC);
    if (descent->fd < 0 || (parent >= 0 && !descent_is_at(descent, parent))) {
        close_fd(&parent);
        errno = ESTALE;
    }
    close_fd(&descent->fd);
    descent->fd = steal_fd(&parent);
    return descent->fd < 0 ? -1 : 0;
}

void descent_clear(struct descent *descent)
{
    free(descent->places);
    close_fd(&descent->fd);
    *descent = (struct descent){.fd = -1};
}
