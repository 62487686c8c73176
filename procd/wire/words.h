/*
 * The words that procd, its runners and its clients share: how a command starts and ends, what it
 * may use, and where a job's log stands.
 *
 * Thread-safe.
 */
#pragma once

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>

#include "procd/wire/limits.h"

struct incoming;
struct message;

#define JOB_ID_SIZE 37 /* a UUID in text, with its NUL */

/* What to run. Borrowed strings without NUL inside. `sh -c cmd`, or the program argv[0] with these
 * arguments, looked for in its PATH; env entries are "NAME=value" and are added to procd's own
 * environment (the last of a name wins); cwd NULL is procd's own. */
struct command {
    const char *cmd;         /* NULL if there is an argv */
    const char *const *argv; /* `argc` of them */
    size_t argc;
    const char *request_id; /* for logs; NULL: none */
    const char *cwd;
    const char *const *env;
    size_t env_count;
    uint64_t timeout_ms;            /* then its tree is ended; 0: never */
    uint64_t grace_ms;              /* between SIGTERM and SIGKILL at the timeout */
    uint64_t hangup_grace_ms;       /* the same when the lease is closed; 0: SIGKILL at once */
    uint64_t partial_ms;            /* of splits_lines */
    uint64_t limits[CGROUP_LIMITS]; /* of its cgroup; 0: the operator's */
    int input;          /* of procd_run: standard input (borrowed); below 3: /dev/null */
    bool wait_tree;     /* of procd_start: the job ends when all that it has started has */
    bool splits_lines;  /* of procd_start: a line is logged unfinished, after partial_ms */
    bool keeps_stdin;   /* of procd_start: standard input stays open for procd_write */
    bool merges_stderr; /* stderr goes where stdout goes */
    bool beneath;       /* of procd_run: writes only beneath cwd (runner/beneath.h) */
    bool ordered;       /* the order between the two matters (pipe_order.h) */
    int cols, rows;     /* of procd_start: the size of its terminal; 0: it has none */
    const char *term;   /* "TERM=name", unless env says otherwise; or NULL */
};

enum procd_result {
    PROCD_DONE,               /* the request was carried out */
    PROCD_NOT_FOUND,          /* no job has this id */
    PROCD_NOT_RUNNING,        /* the job has ended already, with the status that is returned */
    PROCD_NOT_STARTED,        /* the command could not be started; spawn_error says why */
    PROCD_UNREACHABLE,        /* nothing was delivered: there is no procd */
    PROCD_LOST,               /* procd died with the request, which may have been carried out */
    PROCD_RUNNER_LOST,        /* the command's runner died: it may have begun; its tree is ended */
    PROCD_NO_STDIN,           /* the job's standard input is not open */
    PROCD_TOO_MANY,           /* as many jobs run as the settings allow */
    PROCD_TOO_MANY_TERMINALS, /* the same of jobs with a terminal */
    PROCD_LINE_TOO_LONG,      /* the terminal would have cut a line: nothing was written */
    PROCD_INTERRUPTED,        /* one of the caller's own descriptors became ready first */
};

/* Where starting a command failed, and the errno it failed with. */
enum spawn_stage {
    SPAWN_PREPARE,  /* the server lacks pipes, memory or processes */
    SPAWN_CHDIR,    /* cwd is not a directory that the command may enter */
    SPAWN_EXEC,     /* the kernel refused to execute: E2BIG is an environment or argument too long;
                       ENOENT, EACCES and others are about the program of an argv */
    SPAWN_CONFINE,  /* the command cannot be made its user, or be given its limits */
    SPAWN_TERMINAL, /* there is no terminal for it; ENOSPC: the kernel has no more */
    SPAWN_LIMIT = 16, /* and the numbers of enum cgroup_limit: this limit cannot be put in force;
                         EOPNOTSUPP where the kernel offers none */
    SPAWN_STAGE_END = SPAWN_LIMIT + CGROUP_LIMITS,
};

struct spawn_error {
    enum spawn_stage stage;
    int error; /* errno */
};

/* Sends FAILED over a socket: a command was not started. Or STARTED, with `count` descriptors
 * (borrowed). 0, or -1 with errno. */
int spawn_send_failure(int socket, enum spawn_stage stage, int error);
int spawn_send_started(int socket, pid_t pid, const int *descriptors, size_t count);

/* Reads an opened FAILED. */
struct spawn_error spawn_error_of(const struct incoming *message);

enum job_status { JOB_RUNNING, JOB_COMPLETED, JOB_FAILED, JOB_KILLED };

/* The same of a number in a message; JOB_FAILED if it is no status. */
enum job_status job_status_of(int64_t number);

/* "running", "completed", "failed" or "killed". */
const char *job_status_name(enum job_status status);

/* What ended a command. */
enum end_reason {
    END_UNKNOWN, /* it runs */
    END_EXIT,    /* its shell exited */
    END_SIGNAL,  /* a signal that was not sent by kill_process */
    END_KILLED,  /* kill_process */
    END_TIMEOUT, /* its timeout */
    END_OOM,     /* the kernel, because its cgroup was out of memory */
    END_LOST,    /* its runner died; the rest of its end is unknown */
};

/* The same of a number in a message; END_LOST if it is no reason, or END_UNKNOWN. */
enum end_reason end_reason_of(int64_t number);

/* "exit", "signal", "killed", "timeout", "oom" or "lost"; NULL while it runs. */
const char *end_reason_name(enum end_reason reason);

/* How a command ended, and what its shell and what that has waited for have used. */
struct ending {
    bool lost;  /* the runner died, and nothing else here is known */
    int code;   /* exit code, -1 after a signal */
    int signal; /* number of the signal that ended it, 0 otherwise */
    enum end_reason reason;
    bool left_children;   /* of a foreground command: descendants live on and may hold the pipes */
    uint64_t duration_ms; /* of a foreground command */
    uint64_t cpu_user_ms;
    uint64_t cpu_system_ms;
    uint64_t max_rss_kb;
};

/* Appends the six fields of any ending, and reads them: -1, END_LOST and zeros for what is missing.
 */
void ending_describe(const struct ending *ending, struct message *message);
struct ending ending_of(const struct incoming *message);

/* An end in a log: the reason's name, the code, the signal's name or "-", and two numbers. */
#define ENDING_FORMAT                                                                              \
    "ended: reason=%s code=%d signal=%s duration_ms=%" PRIu64 " max_rss_kb=%" PRIu64

/* How far the log of a job reaches on the disk. */
struct job_position {
    uint64_t first_offset;  /* where the oldest line on the disk begins, */
    uint64_t first_line;    /* and its number; those of the next event if there is none */
    uint64_t next_offset;   /* where the next event will begin, */
    uint64_t next_line;     /* and its number: so many lines there were in all */
    uint64_t lines_dropped; /* of these, not in the log: by retention and by full disks */
};

/* Appends its five fields, and reads them: a number that is missing is larger than any. */
void job_position_describe(const struct job_position *position, struct message *message);
struct job_position job_position_of(const struct incoming *message);
