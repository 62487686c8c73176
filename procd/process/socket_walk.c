#include "procd/process/socket_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/directory.h"

#define STEP_COST    400 /* of one step; a link that is read costs 1, about 2 us */
#define PROCESS_COST 10  /* a process and its children */

int socket_walk_begin(struct socket_walk *walk, struct pid_list *runners)
{
    *walk = (struct socket_walk){.runners = *runners};
    *runners = (struct pid_list){0};
    if (process_view_take(&walk->view) < 0) {
        socket_walk_clear(walk);
        return -1;
    }
    return 0;
}

void socket_walk_clear(struct socket_walk *walk)
{
    close_directory(&walk->descriptors);
    process_view_clear(&walk->view);
    pid_list_clear(&walk->runners);
    pid_list_clear(&walk->pids);
    *walk = (struct socket_walk){.is_over = true};
}

/* ---- as another user ---- */

/* Reads from now on with the file-system ids of the process, if it is another user's. The calls do
 * not say whether they fail; then nothing can be read. */
static void read_as(pid_t pid)
{
    char path[64];
    struct stat owner;
    (void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
    if (geteuid() == 0 && stat(path, &owner) == 0 && owner.st_uid != 0) {
        (void)setfsgid(owner.st_gid);
        (void)setfsuid(owner.st_uid);
    }
}

static void read_as_ourselves(void)
{
    if (geteuid() == 0) {
        (void)setfsuid(geteuid());
        (void)setfsgid(getegid());
    }
}

/* ---- descriptors ---- */

/* The number in "socket:[1234]", 0 for a link to anything else. */
static uint32_t socket_inode(int directory, const char *name)
{
    static const char prefix[] = "socket:[";
    char link[40];
    ssize_t length = readlinkat(directory, name, link, sizeof(link) - 1);
    link[length > 0 ? length : 0] = '\0';
    return strncmp(link, prefix, sizeof(prefix) - 1) == 0
               ? (uint32_t)strtoul(link + sizeof(prefix) - 1, NULL, 10)
               : 0;
}

bool socket_is_open(uint32_t inode, pid_t pid, int fd)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
    read_as(pid);
    bool is_open = socket_inode(AT_FDCWD, path) == inode;
    read_as_ourselves();
    return is_open;
}

/* Goes on with the descriptors that are open; closes the list at its end. */
static void read_descriptors(struct socket_walk *walk, int *cost, socket_function *found)
{
    pid_t pid = walk->pids.pids[walk->next_pid - 1];
    pid_t runner = walk->runners.pids[walk->next_runner - 1];
    const char *name = NULL;
    while (*cost < STEP_COST && (name = directory_next(walk->descriptors)) != NULL) {
        *cost += 1;
        uint32_t inode = socket_inode(dirfd(walk->descriptors), name);
        if (inode != 0 && !found(inode, pid, (int)strtol(name, NULL, 10), runner)) {
            walk->is_over = true;
            return;
        }
    }
    if (name == NULL && *cost < STEP_COST) {
        close_directory(&walk->descriptors); /* at its end, or that of the process */
        walk->descriptors = NULL;
    }
}

/* ---- the walk ---- */

/* Opens the descriptors of the next process below the runner. */
static int next_process(struct socket_walk *walk)
{
    char path[64];
    pid_t pid = walk->pids.pids[walk->next_pid++];
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    read_as(pid);
    walk->descriptors = opendir(path);
    int error = errno;
    read_as_ourselves();
    if (walk->descriptors == NULL && (error == ENOMEM || error == EMFILE || error == ENFILE)) {
        errno = error;
        return -1;
    }
    return process_view_children(&walk->view, pid, &walk->pids);
}

static int next_runner(struct socket_walk *walk)
{
    walk->next_pid = walk->pids.count = 0;
    return process_view_children(&walk->view, walk->runners.pids[walk->next_runner++], &walk->pids);
}

int socket_walk_step(struct socket_walk *walk, socket_function *found)
{
    int result = 0;
    for (int cost = 0; !walk->is_over && result == 0 && cost < STEP_COST;) {
        if (walk->descriptors != NULL) {
            read_as(walk->pids.pids[walk->next_pid - 1]);
            read_descriptors(walk, &cost, found);
            read_as_ourselves();
        } else if (walk->next_pid < walk->pids.count) {
            cost += PROCESS_COST;
            result = next_process(walk);
        } else if (walk->next_runner < walk->runners.count) {
            cost += PROCESS_COST;
            result = next_runner(walk);
        } else {
            walk->is_over = true;
        }
    }
    return result < 0 ? -1 : walk->is_over ? 0 : 1;
}
