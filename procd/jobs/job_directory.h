/*
 * The directories of the jobs, RUN/state/jobs/<id>, and how to reach a job's runner through its
 * own. Single-threaded, as procd is.
 */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <sys/statvfs.h>
#include <sys/un.h>

#include "procd/wire/words.h"

/* Opens RUN/state/jobs below `run_directory`, made if need be. 0, or -1 with errno. */
int job_directories_open(const char *run_directory);

/* How much room the file system of the jobs has. 0, or -1 with errno. */
int job_directories_room(struct statvfs *room);

/*
 * All entries; job_directory_is_name() says which are jobs. The caller closes it. NULL with errno.
 */
DIR *job_directories_list(void);
bool job_directory_is_name(const char *name);

/*
 * Makes the directory of a new job: its *id, and a descriptor with the lock that marks the job as
 * owned. The lock goes to the runner with the descriptor. -1 with errno.
 */
int job_directory_create(char id[JOB_ID_SIZE]);

/* A new descriptor (CLOEXEC) of a job's directory, or -1 with errno. */
int job_directory_open(const char *id);

/* Whether nobody holds the directory's lock: its runner is dead or has never been. */
bool job_directory_is_free(int directory);

/* Removes a job's directory and all its files: it is gone when this returns, its space is free soon
 * after. */
void job_directory_remove(const char *id);

/* A socket (CLOEXEC, non-blocking) for the job's own, not connected, and its address: by way of
 * /proc, since sun_path holds 108 bytes and a path may be longer. -1 with errno. */
int job_directory_socket(int directory, struct sockaddr_un *address);

/* A connection (CLOEXEC, non-blocking) to the job's runner, or -1 with errno. */
int job_directory_connect(int directory);
