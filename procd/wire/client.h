/*
 * procd as its clients see it. Every call is thread-safe and blocks its thread. Connections to
 * procd are kept in a small pool and remade after a restart of procd.
 *
 * A foreground command has a lease, a socket shared with the runner that owns the command's process
 * tree (procd itself is out of the picture once the runner has the job). Closing the lease kills
 * the tree; the runner reports the end over it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/daemons.h"
#include "procd/wire/words.h"

struct pollfd;

/*
 * Remembers where procd listens, by a descriptor that stays open: a process that may not reach the
 * path any more may still connect if the socket is its own. (And a path may be longer than
 * sun_path.) 0, or -1 with errno. Call once, before threads.
 */
int procd_client_init(const char *socket_path);

/* Asks procd whether it is alive, waiting at most `timeout_ms`. *can_start (may be NULL) is false
 * while runners die as they start. */
enum procd_result procd_ping(bool *can_start, int timeout_ms);

/* Whether a connection to procd is open, so that it has not died. False where that is unknown. */
bool procd_is_connected(void);

/* A daemon, for nginx the master with its workers. -1: unknown, or it does not run. */
struct daemon_status {
    char name[16];
    int64_t restarts;
    int64_t pid;
    int64_t descriptors;
    int64_t threads;
    int64_t rss_kb;
};

/* The state of the whole server as procd sees it. -1: unknown. */
struct procd_status {
    int64_t uptime_ms; /* of the supervisor, so of the server */
    int64_t running;   /* background jobs, those included that are being started */
    int64_t runners;   /* processes of procd that have or had a command, or wait for one: */
    int64_t idle_runners;
    int64_t runner_failures; /* that have died as they started, in a row; 0: they do not */
    int64_t disk_free;       /* bytes of the file system that holds the state directory */
    int64_t disk_total;
    struct daemon_status daemons[DAEMON_COUNT];
    size_t daemon_count;
};

/* Asks procd for all of this, waiting at most `timeout_ms`. */
enum procd_result procd_status(struct procd_status *status, int timeout_ms);

/* A process of a command that has a socket open. Its texts are borrowed. */
struct socket_owner {
    uint32_t inode; /* of the socket */
    pid_t pid;
    const char *name;   /* of its program */
    const char *job_id; /* of the background job that it belongs to; NULL: a foreground command's */
};

typedef void socket_owner_function(void *context, const struct socket_owner *owner);
#define SOCKET_OWNERS_MAX ((size_t)4096)

/* Calls `each` for those of `count` sockets, at most SOCKET_OWNERS_MAX and no two the same, that a
 * process of a command has open, once for each. What belongs to no command is left out. */
enum procd_result procd_socket_owners(const uint32_t *inodes, size_t count,
                                      socket_owner_function *each, void *context);

/* ---- foreground ---- */

struct foreground {
    /* Readable when the command has ended (or its runner died). Close it to end the tree, or shut
     * down its sending side and wait until it is readable: then the tree is gone. */
    int lease;
    int out;   /* read end of the command's stdout, non-blocking, CLOEXEC */
    int err;   /* the same for stderr; -1 when that goes where stdout goes */
    int watch; /* of pipe_order_watch() for both, if the command is ordered; otherwise -1 */
    pid_t pid;
    bool ended;        /* the ending has been read from the lease */
    uint64_t grace_ms; /* what the tree has to end by itself when the lease is closed */
};

#define FOREGROUND_NONE                                                                            \
    {                                                                                              \
        .lease = -1, .out = -1, .err = -1, .watch = -1                                             \
    }

/*
 * Starts a foreground command and returns when it runs, or certainly does not. On PROCD_DONE the
 * caller owns the descriptors. When procd dies before a runner has the command, which then has not
 * started, the next procd is waited for and asked, for at most 5 s.
 */
enum procd_result procd_run(const struct command *command, struct foreground *foreground,
                            struct spawn_error *spawn_error);

/*
 * Reads the ending from a lease that poll(2) reported readable. 1 when it is there, 0 when there is
 * nothing yet. A lost runner is an ending too.
 */
int foreground_ending(int lease, struct ending *ending);

/* To call instead of closing a lease whose ending was read, was not lost and left no children: the
 * runner waits there for the next command. *lease becomes -1. Thread-safe. */
void foreground_keep_runner(int *lease);

/* Orders the runner to kill the tree, as kill_process does; the end is reported over the lease all
 * the same. 0, or -1 with errno. */
int foreground_kill(int lease);

/* Whether the ending waits in a lease, which leaves it there. Then *ending is it. */
bool foreground_peek_ending(int lease, struct ending *ending);

/* To call before the lease is closed: the tree gets SIGTERM, and is killed only when `grace_ms` are
 * over. If the order cannot be sent, the close kills at once. */
void foreground_leave(int lease, uint64_t grace_ms);

/* ---- background ---- */

/* A process that a job which has ended has left running. */
struct left_process {
    pid_t pid;
    const char *name; /* of its program; borrowed as the texts below */
};
#define LEFT_PROCESSES_MAX 64

struct job {
    char id[JOB_ID_SIZE];
    pid_t pid;
    enum job_status status;
    /* Borrowed, valid during the call that hands the job out; "" from procd_start. */
    const char *command;
    const char *cwd;
    uint64_t started_at; /* ns since the epoch */
    uint64_t age_key;    /* greater than that of a job that was started before */
    bool has_position;   /* of the log; what follows is 0 without */
    struct job_position position;
    int cols, rows; /* of its terminal, 0 without. Then the position is one in bytes alone. */

    /* Meaningless while it runs. */
    uint64_t ended_at; /* ns since the epoch */
    struct ending ending;
    struct left_process left[LEFT_PROCESSES_MAX]; /* by procd_get() and a list with `left` */
    size_t left_count;
};

typedef void job_function(void *context, const struct job *job);

/* Starts a background job; its record is on disk when this returns PROCD_DONE. */
enum procd_result procd_start(const struct command *command, struct job *job,
                              struct spawn_error *spawn_error);

/* Calls `each` for every job, oldest first; with what each has left running if `left`. When that
 * fails `each` may have been called for some. */
enum procd_result procd_list(bool left, job_function *each, void *context);

/* Calls `each` for this job. */
enum procd_result procd_get(const char *id, job_function *each, void *context);

/*
 * Waits for the end of a job, at most `timeout_ms` (-1: for ever), and calls `each` for the job as
 * it is then. PROCD_INTERRUPTED when one of `others`, which are polled meanwhile, was ready first.
 * When procd dies the next one is asked.
 */
enum procd_result procd_wait(const char *id, int64_t timeout_ms, const struct pollfd *others,
                             size_t count, job_function *each, void *context);

/* How to end a job. */
struct kill_order {
    int signal;        /* SIGKILL: the whole tree, at once. Any other goes to the process group */
    bool has_grace;    /* and then, the whole tree gets SIGKILL */
    uint64_t grace_ms; /* after this time */
    bool left;         /* with SIGKILL: if the job has ended, what it has left running */
};

/*
 * Ends a job's whole tree and returns when it is dead, or, without SIGKILL and grace, sends the
 * signal and returns. PROCD_DONE for the one caller that ended it, and for signals;
 * PROCD_NOT_RUNNING, with *status, when the job had ended or another caller was first.
 */
enum procd_result procd_kill(const char *id, const struct kill_order *order,
                             enum job_status *status);

/* Forgets a job that has ended, and removes its files. PROCD_NOT_RUNNING with JOB_RUNNING when it
 * runs. */
enum procd_result procd_delete(const char *id, enum job_status *status);

/*
 * Writes to a job's standard input what its pipe takes now, in whole UTF-8 characters: *written
 * bytes. With `eof` the input is closed when all of it was taken. A terminal takes bytes, and for
 * `eof` its end-of-file character; PROCD_LINE_TOO_LONG when it would cut a line.
 */
enum procd_result procd_write(const char *id, const void *data, size_t length, bool eof,
                              size_t *written, enum job_status *status);
#define PROCD_WRITE_MAX ((size_t)1 << 20) /* the most of one call */

/*
 * Opens a job's directory: *directory_fd (owned by the caller, CLOEXEC) holds the log segments and,
 * once the job has ended and all its output is in the log, the exit record. See
 * procd/log/job_files.h.
 */
enum procd_result procd_open_job(const char *id, int *directory_fd);

/* ---- terminals ---- */

/* Sets the size of a job's terminal. PROCD_NO_STDIN when it has none. */
enum procd_result procd_resize(const char *id, int cols, int rows, enum job_status *status);

/*
 * Opens a job's directory as procd_open_job() does, and a connection to its runner: *runner_fd
 * (owned by the caller, CLOEXEC, non-blocking, SOCK_SEQPACKET) takes WRITE, RESIZE and KILL as
 * protocol.h has them, answers, and says ENDED. One process needs one for each job: a runner hangs
 * up on the oldest of many. PROCD_NOT_RUNNING, with the directory and *runner_fd -1, when the job
 * has ended or its runner cannot be reached now; *status is JOB_RUNNING then.
 */
enum procd_result procd_attach(const char *id, int *directory_fd, int *runner_fd,
                               enum job_status *status);
