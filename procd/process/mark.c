/*
 * The limit is always set one lower than it was, so a server that runs inside a command of another
 * server marks its own commands as well.
 */
#include "procd/process/mark.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "procd/process/process_table.h"

#define MARK_FIRST ((rlim_t)1 << 40)
#define LINE       "\nMax file locks"

int mark_self(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_LOCKS, &limit) < 0) {
        return -1;
    }
    limit.rlim_cur = limit.rlim_cur > MARK_FIRST ? MARK_FIRST : limit.rlim_cur - 1;
    limit.rlim_max = limit.rlim_cur;
    return setrlimit(RLIMIT_LOCKS, &limit);
}

/* The soft limit, by /proc/<pid>/limits, which every process may read. False when it cannot be
 * read. */
static bool read_limit(pid_t pid, rlim_t *limit)
{
    char text[4096];
    const char *line =
        process_file_read(pid, "limits", text, sizeof(text)) ? strstr(text, LINE) : NULL;
    if (line == NULL) {
        return false;
    }
    char *end;
    unsigned long long number = strtoull(line + strlen(LINE), &end, 10);
    *limit = end == line + strlen(LINE) ? RLIM_INFINITY : (rlim_t)number; /* "unlimited" */
    return true;
}

bool mark_is_on(pid_t pid, pid_t ancestor)
{
    rlim_t limit;
    rlim_t above;
    return read_limit(pid, &limit) && read_limit(ancestor, &above) && limit < above;
}
