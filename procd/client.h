/*
 * procd as fcgi-app sees it: the only part of procd/ that fcgi-app links. Every call is thread-safe
 * and blocks its thread; connections to procd are kept in a small pool and remade when procd was
 * restarted.
 *
 * A foreground command has a lease, a socket shared with the runner that owns the command's process
 * tree (procd itself is out of the picture once the runner has the job). Closing the lease kills
 * the tree; the runner reports the end over it.
 */
#ifndef PROCD_CLIENT_H
#define PROCD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCD_SOCKET_NAME "procd.sock" /* where procd listens, in the run directory */

#define JOB_ID_SIZE 37 /* a UUID in text, with its NUL */

/* What to run. Borrowed strings without NUL inside. `sh -c cmd`; env entries are "NAME=value" and
 * are added to procd's own environment (the last of a name wins); cwd NULL is procd's own. */
struct command {
    const char *cmd;
    const char *cwd;
    const char *const *env;
    size_t env_count;
};

enum procd_result {
    PROCD_DONE,        /* it was carried out */
    PROCD_NOT_FOUND,   /* no job has this id */
    PROCD_NOT_RUNNING, /* the job has ended already; its status is told */
    PROCD_NOT_STARTED, /* the command could not be started; spawn_error says why */
    PROCD_UNREACHABLE, /* nothing was delivered: procd is not there */
    PROCD_LOST,        /* procd (or the runner) died with the request: it may have been done */
};

/* Where starting a command failed, and the errno it failed with. */
enum spawn_stage {
    SPAWN_PREPARE, /* pipes, memory, processes: the server's trouble */
    SPAWN_CHDIR,   /* cwd is no directory that the command may enter */
    SPAWN_EXEC,    /* the kernel refused to execute: E2BIG is an environment or argument too long */
};

struct spawn_error {
    enum spawn_stage stage;
    int error; /* errno */
};

enum job_status { JOB_RUNNING, JOB_COMPLETED, JOB_FAILED, JOB_KILLED };

/* "running", "completed", "failed" or "killed". */
const char *job_status_name(enum job_status status);

/* Remembers where procd listens (copied). 0, or -1 with errno. Call once, before threads. */
int procd_client_init(const char *socket_path);

/* Asks procd whether it is alive, waiting at most `timeout_ms`. */
enum procd_result procd_ping(int timeout_ms);

/* ---- foreground ---- */

struct foreground {
    /* Readable when the command has ended (or its runner died); close it to kill the tree. */
    int lease;
    int out; /* read end of the command's stdout, blocking, CLOEXEC */
    int err; /* the same for stderr */
    pid_t pid;
};

/*
 * Starts a foreground command and returns when it runs, or when it is known that it does not. On
 * PROCD_DONE the caller owns the three descriptors. A procd that dies before a runner has the job
 * is waited for and asked again (the command has certainly not started then), for at most 5 s.
 */
enum procd_result procd_run(const struct command *command, struct foreground *foreground,
                            struct spawn_error *spawn_error);

struct ending {
    bool lost;  /* the runner died: nothing else here is known */
    int code;   /* exit code, -1 after a signal */
    int signal; /* number of the signal that ended it, 0 otherwise */

    /* For the record: measured and sent with every ending, not part of any answer yet. */
    bool left_children; /* descendants live on and may hold the pipes */
    uint64_t duration_ms;
    uint64_t cpu_user_ms;
    uint64_t cpu_system_ms;
    uint64_t max_rss_kb;
};

/*
 * Reads the ending from a lease that poll(2) reported readable. 1 when it is there, 0 when there is
 * nothing yet. A lost runner is an ending too.
 */
int foreground_ending(int lease, struct ending *ending);

/* ---- background ---- */

struct job {
    char id[JOB_ID_SIZE];
    pid_t pid;
    enum job_status status;
    /* Borrowed, valid during the call that hands the job out; NULL from procd_start. */
    const char *command;

    /* For the record: kept on disk and sent with every job, not part of any answer yet. */
    uint64_t started_at; /* ns since the epoch */
    uint64_t ended_at;   /* the same; 0 while it runs */
    int exit_code;       /* -1 after a signal; meaningless while it runs */
    int signal;          /* 0 if none */
};

/* Starts a background job; its record is on disk when this returns PROCD_DONE. */
enum procd_result procd_start(const struct command *command, struct job *job,
                              struct spawn_error *spawn_error);

/* Calls `each` for every job, oldest first, unless procd cannot be asked. */
enum procd_result procd_list(void (*each)(void *context, const struct job *job), void *context);

/*
 * Kills a job's whole tree and returns when it is dead. PROCD_DONE for the one caller that killed
 * it; PROCD_NOT_RUNNING, with *status, when it had ended or another caller was first.
 */
enum procd_result procd_kill(const char *id, enum job_status *status);

/*
 * Opens a job's directory: *directory_fd (owned by the caller, CLOEXEC) holds the log segments and,
 * once the job has ended and all its output is in the log, the exit record. See procd/job_files.h.
 */
enum procd_result procd_open_job(const char *id, int *directory_fd);

#endif
