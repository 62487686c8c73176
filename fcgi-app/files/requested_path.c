/*
 * All threads share one working directory and want the same one, so each may change it.
 */
#include "fcgi-app/files/requested_path.h"

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include "common/logger.h"
#include "common/start_directory.h"
#include "fcgi-app/http/json_body.h"

static const char *start_directory; /* NULL: where this process is */

void requested_path_init(const char *name)
{
    start_directory = name;
}

const char *requested_path_begin(const char *path)
{
    if (path == NULL || path[0] == '/' || start_directory == NULL) {
        return path;
    }
    /* As for commands. What fails for another reason leaves the process where it is. */
    if (chdir(start_directory) < 0 && start_directory_is_gone(errno) && chdir("/") < 0) {
        log_line("%s: %m", start_directory);
    }
    return path;
}

const char *requested_path_of(const struct json_body *body, const char *member)
{
    return requested_path_begin(json_text(body, member));
}

const char *requested_path(const struct json_body *body)
{
    return requested_path_of(body, "path");
}
