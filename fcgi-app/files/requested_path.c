/*
 * All threads share one working directory and want the same one, so each may change it.
 */
#include "fcgi-app/files/requested_path.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/logger.h"
#include "common/start_directory.h"
#include "fcgi-app/http/json_body.h"

static const char *start_directory; /* NULL: where this process is */

void requested_path_init(const char *name)
{
    start_directory = name;
}

/* Whether this process is in the directory of that name. If that cannot be found out, for want of
 * memory, it stays where it is. */
static bool is_here(const char *name)
{
    struct stat named;
    struct stat here;
    if (stat(name, &named) < 0) {
        return !start_directory_is_gone(errno);
    }
    return stat(".", &here) < 0 || (named.st_dev == here.st_dev && named.st_ino == here.st_ino);
}

/* As for commands. */
static void enter_start_directory(const char *name)
{
    if (chdir(name) < 0 && (!start_directory_is_gone(errno) || chdir("/") < 0)) {
        log_line("%s: %m", name);
    }
}

const char *requested_path(const struct json_body *body)
{
    const char *path = json_text(body, "path");
    if (path == NULL || path[0] == '/' || start_directory == NULL || is_here(start_directory)) {
        return path;
    }
    enter_start_directory(start_directory);
    return path;
}
