#include "launcher/start/port_counts.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/cleanup.h"

#define SPACE_MOST (64 << 10) /* bytes that one may take */
#define BLOCK      512        /* of st_blocks */

static void give_back(const char *path)
{
    struct stat file;
    if (stat(path, &file) < 0 || file.st_blocks < SPACE_MOST / BLOCK) {
        return;
    }
    cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
        (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, file.st_size);
    }
}

void port_counts_trim(const char *run)
{
    static const char *const names[] = {"http", "websocket", "tcp"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof(path), "%s/nginx/count-%s", run, names[i]) < (int)sizeof(path)) {
            give_back(path);
        }
    }
}
