#include "common/daemon_start.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log_drops.h"
#include "common/logger.h"
#include "common/run_files.h"
#include "common/settings.h"

#define EXIT_BAD_USAGE 2

const char *daemon_start(const char *name, int count, char **arguments, struct settings *settings,
                         int *status)
{
    logger_open(name);
    if (count != 3 || strcmp(arguments[1], "-r") != 0) {
        (void)fprintf(stderr, "usage: %s -r RUN (listening socket on descriptor 0)\n", name);
        *status = EXIT_BAD_USAGE;
        return NULL;
    }
    closefrom(STDERR_FILENO + 1);
    if (settings_take(settings) < 0) {
        *status = EXIT_FAILURE;
        return NULL;
    }
    if (log_drops_open(arguments[2]) < 0) {
        log_at(LOG_WARNING, "%s/" RUN_LOG_DROPS ": %m", arguments[2]);
    }
    return arguments[2];
}
