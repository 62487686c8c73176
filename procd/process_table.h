/*
 * What /proc tells about who is whose child.
 */
#ifndef PROCD_PROCESS_TABLE_H
#define PROCD_PROCESS_TABLE_H

#include <stddef.h>
#include <sys/types.h>

struct pid_list {
    pid_t *pids;
    size_t count;
    size_t capacity;
};

void pid_list_clear(struct pid_list *list);

/*
 * Appends the children of `parent` as they are now; a process that forks or ends meanwhile may be
 * missing. 0, or -1 with errno when memory or /proc is out.
 */
int process_children(pid_t parent, struct pid_list *list);

/* The parent of a process, 0 when there is no such process. */
pid_t process_parent(pid_t pid);

#endif
