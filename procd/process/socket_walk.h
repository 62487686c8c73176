/*
 * Finds the processes below runners that have sockets open, by their lists of descriptors in /proc.
 * A walk over many processes takes its time: it is made in steps.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "procd/process/process_table.h"

/* A socket that the descriptor `fd` of `pid`, a process below `runner`, is open on. Called for each
 * such descriptor; false when no more are wanted. */
typedef bool socket_function(uint32_t inode, pid_t pid, int fd, pid_t runner);

struct socket_walk {
    struct process_view view;
    struct pid_list runners;
    size_t next_runner;
    struct pid_list pids; /* below the runner before that: parents before their children */
    size_t next_pid;
    DIR *descriptors; /* of the process before that; NULL when the next one's come next */
    bool is_over;
};

/* Begins a walk below the runners, which it takes over. 0, or -1 with errno: it holds nothing. */
int socket_walk_begin(struct socket_walk *walk, struct pid_list *runners);

/* A piece of it, which takes about a millisecond at most. 1 when more is left, 0 at the end, -1
 * with errno. A process that we may not look at has no sockets; one that forks or ends meanwhile
 * may be missed.
 * Another user's descriptors are read as that user, if we are root: without CAP_SYS_PTRACE, which
 * containers do not have, nobody else may. */
int socket_walk_step(struct socket_walk *walk, socket_function *found);

void socket_walk_clear(struct socket_walk *walk);

/* Whether the descriptor is open on that socket. */
bool socket_is_open(uint32_t inode, pid_t pid, int fd);
