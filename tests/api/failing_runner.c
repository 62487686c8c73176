/* Preloaded: a runner of procd ends as it starts while the file RUNNERS_FAIL is there. */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

__attribute__((constructor)) static void fail(int count, char **arguments)
{
    const char *path = getenv("RUNNERS_FAIL");
    if (count > 1 && strcmp(arguments[1], "--runner") == 0 && path != NULL &&
        access(path, F_OK) == 0) {
        _exit(1);
    }
}
