/*
 * The record and the exit record of a background job (job_files.h): written by its runner, read by
 * procd. Both appear whole or not at all, by rename.
 *
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/logger.h"
#include "procd/log/terminal_size.h"
#include "procd/wire/protocol.h"
#include "procd/wire/words.h"

/* A longer command is shown cut in lists, so that a thousand finished jobs stay small. */
#define COMMAND_SHOWN_MAX ((size_t)65536)

struct job_record {
    char id[JOB_ID_SIZE];
    pid_t pid;
    uint64_t started_at; /* ns since the epoch */
    uint64_t age_key;    /* ns since the boot at the start; no two have the same */
    char *command;       /* owned, as is cwd; release with job_record_clear */
    char *cwd;
    char request_id[REQUEST_ID_SIZE]; /* of what started it, for logs; "" if it is unknown */
    bool has_terminal;                /* and with it a byte log; job_files.h */
    struct terminal_size size;        /* of that at its beginning */
};

struct job_exit {
    enum job_status status;
    struct ending how;       /* END_LOST: status is JOB_FAILED, the rest is unknown */
    uint64_t ended_at;       /* ns since the epoch */
    uint64_t ended_boot_ns;  /* ns since the boot */
    pid_t runner;            /* stays for what the job has left running; 0: there is none */
    uint64_t runner_started; /* struct process_stat */
};

/*
 * A record that is on the disk but lacks its pid and its final name. The shell's process publishes
 * it before it begins, so either there is a record, or nothing has run.
 */
struct job_record_draft {
    int directory; /* borrowed */
    int fd;        /* owned; release with job_record_draft_close */
    off_t pid_at;  /* in the file */
};

/* `text`, a command or a directory, as it is shown: cut at the end of a character when it is too
 * long. NULL when memory is out. */
char *command_shown(const char *text);

/* Appends the fields of an ending; reads them, with safe values for those that are missing. */
void job_exit_describe(const struct job_exit *ending, struct message *message);
struct job_exit job_exit_of(const struct incoming *message);

/*
 * All of them: 0, or -1 with errno: ENOENT when there is no such file, EBADMSG for a damaged one,
 * EPROTONOSUPPORT for one of a version that is not ours. A record that names another job than `id`
 * is a damaged one, since ids are names of directories, and so is one that lacks a member.
 */
int job_record_draft(int directory, const struct job_record *record,
                     struct job_record_draft *draft); /* the pid comes with its publication */
int job_record_read(int directory, const char *id, struct job_record *record);
void job_record_clear(struct job_record *record);
void job_record_draft_close(struct job_record_draft *draft);

/* Makes the draft the record of process `pid`. System calls only: a child that borrows its parent's
 * memory may do it. 0, or -1 with errno. */
int job_record_publish(const struct job_record_draft *draft, pid_t pid);

/* Claims the room for the exit record, so that a full disk does not hide the end of a job. */
int job_exit_reserve(int directory);
int job_exit_write(int directory, const struct job_exit *ending);
int job_exit_read(int directory, struct job_exit *ending);
