#include "common/start_directory.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/run_files.h"

char *start_directory_name(const char *run_directory)
{
    char link[PATH_MAX + 16];
    char name[PATH_MAX];
    (void)snprintf(link, sizeof(link), "%s/" RUN_CWD, run_directory);
    ssize_t length = readlink(link, name, sizeof(name) - 1);
    if (length > 0 && name[0] == '/') {
        name[length] = '\0';
        return strdup(name);
    }
    char *own = getcwd(NULL, 0);
    return own == NULL && errno == ENOENT ? strdup("/") : own;
}
