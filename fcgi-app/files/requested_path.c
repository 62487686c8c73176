/*
 * All threads share one working directory and want the same one, so that each may change it.
 */
#include "fcgi-app/files/requested_path.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/logger.h"
#include "fcgi-app/http/json.h"

static const char *start_directory; /* NULL: wherever this process is */

void requested_path_init(const char *name)
{
    start_directory = name;
}

static bool is_here(const char *name)
{
    struct stat named;
    struct stat here;
    return stat(name, &named) == 0 && stat(".", &here) == 0 && named.st_dev == here.st_dev &&
           named.st_ino == here.st_ino;
}

const char *requested_path(const struct json_body *body)
{
    const char *path = json_text(body, "path");
    if (path == NULL || path[0] == '/' || start_directory == NULL || is_here(start_directory)) {
        return path;
    }
    if (chdir(start_directory) < 0 && chdir("/") < 0) { /* as for commands */
        log_line("/: %m");
    }
    return path;
}
