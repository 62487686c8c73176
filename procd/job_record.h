/*
 * The record and the exit record of a background job (job_files.h): written by its runner, read by
 * procd. Both appear whole or not at all, by rename.
 */
#ifndef PROCD_JOB_RECORD_H
#define PROCD_JOB_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "procd/client.h"

/* A longer command is shown cut in lists, so that a thousand finished jobs stay small. */
#define COMMAND_SHOWN_MAX ((size_t)65536)

struct job_record {
    char id[JOB_ID_SIZE];
    pid_t pid;
    uint64_t started_at; /* ns since the epoch */
    char *command;       /* owned; release with job_record_clear */
};

struct job_exit {
    enum job_status status;
    int code;   /* -1 after a signal */
    int signal; /* 0 if none */
    bool lost;  /* the runner died; status is JOB_FAILED and the rest is not known */
    uint64_t ended_at;
    uint64_t cpu_user_ms;
    uint64_t cpu_system_ms;
    uint64_t max_rss_kb;
};

/* `cmd` as it is shown: cut at the end of a character when it is too long. NULL when memory is out.
 */
char *command_shown(const char *cmd);

/* All of them: 0, or -1 with errno (ENOENT when there is no such file, EBADMSG for a damaged one).
 */
int job_record_write(int directory, const struct job_record *record);
int job_record_read(int directory, struct job_record *record);
void job_record_clear(struct job_record *record);

/* Claims the room for the exit record, so that a full disk does not hide the end of a job. */
int job_exit_reserve(int directory);
int job_exit_write(int directory, const struct job_exit *ending);
int job_exit_read(int directory, struct job_exit *ending);

#endif
