#include "common/stop_deadline.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/run_files.h"

static void stopping_path(const char *run_directory, char path[PATH_MAX + 16])
{
    (void)snprintf(path, PATH_MAX + 16, "%s/" RUN_STOPPING, run_directory);
}

int stop_deadline_write(const char *run_directory, int64_t deadline)
{
    char path[PATH_MAX + 16];
    char number[24];
    stopping_path(run_directory, path);
    (void)snprintf(number, sizeof(number), "%" PRId64, deadline);
    int result = symlink(number, path);
    (void)snprintf(path, sizeof(path), "%s/" RUN_UPLOADS "/" RUN_UPLOADS_STOP, run_directory);
    return symlink(number, path) == 0 ? result : -1;
}

int64_t stop_deadline_read(const char *run_directory)
{
    char path[PATH_MAX + 16];
    char number[24] = "";
    stopping_path(run_directory, path);
    return readlink(path, number, sizeof(number) - 1) <= 0 ? 0 : strtoll(number, NULL, 10);
}
