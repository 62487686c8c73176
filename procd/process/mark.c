/*
 * The limit is always set one lower than it was, so a server that runs inside a command of another
 * server marks its own commands as well.
 */
#include "procd/process/mark.h"

#include <sys/resource.h>

#include "procd/process/process_table.h"

#define MARK_FIRST ((rlim_t)1 << 40)

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

/* The soft limit, which every process may read; INT64_MAX when there is none, -1 when it cannot be
 * read. */
static int64_t read_limit(pid_t pid)
{
    return process_file_number(pid, "limits", "\nMax file locks");
}

bool mark_is_on(pid_t pid, pid_t ancestor)
{
    int64_t limit = read_limit(pid);
    return limit >= 0 && limit < read_limit(ancestor);
}
