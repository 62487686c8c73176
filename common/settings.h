/*
 * The configuration that the daemons share: every variable that is a number, a size or a time, and
 * a few others, with its default, its range and its parser. (launcher/ has what only the launcher
 * reads: the secret, paths, prefixes, the listener for metrics.) Sizes are bytes with a suffix k, m
 * or g, times are seconds or have a suffix ms, s, m, h or d. The daemons inherit the environment of
 * the launcher without the secrets, and each reads here what concerns it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The ranges of a command's cgroup limits, also for requests; 0 is no limit. Less memory leaves no
 * room beside the command's runner, which is in the same cgroup. */
#define MEMORY_MAX_LEAST UINT64_C(4194304)
#define PIDS_MAX_MOST    (UINT64_C(1) << 22)
#define CPU_MAX_MOST     UINT64_C(100000)

/* nginx's own default, which holds without a setting. */
#define KEEPALIVE_MS UINT64_C(75000)

/* One member for each variable; common/settings.c has its default and range. Sizes are in bytes,
 * times in ms. Texts are borrowed from the variables. */
struct settings {
    uint64_t port;       /* PORT */
    uint64_t proxy_port; /* PROXY_PORT, which is not PORT */

    /* LOG_LEVEL: the least severe level (logger.h) that is logged. */
    int log_level;

    /* SANDBOX_PUBLIC_PORTS: whether /share_port may let everybody in. */
    bool public_ports;

    /* What is kept. */
    uint64_t log_max;          /* SANDBOX_LOG_MAX: on disk for each job's log */
    uint64_t keep_finished;    /* SANDBOX_KEEP_FINISHED: finished jobs */
    uint64_t keep_finished_ms; /* SANDBOX_KEEP_FINISHED_FOR: each of them; 0 is for ever */

    /* How much at once: a request beyond it is refused. 0 is no limit where it may be 0. */
    uint64_t max_connections; /* SANDBOX_MAX_CONNECTIONS: requests and streams together */
    uint64_t max_runs;        /* SANDBOX_MAX_RUNS: foreground commands */
    uint64_t max_jobs;        /* SANDBOX_MAX_JOBS: running background jobs */
    uint64_t max_attached;    /* SANDBOX_MAX_ATTACHED: WebSockets to terminals */
    uint64_t max_terminals;   /* SANDBOX_MAX_TERMINALS: those of them that have a terminal */
    uint64_t max_streams;     /* SANDBOX_MAX_STREAMS: followed logs, ports, files */
    uint64_t max_transfers;   /* SANDBOX_MAX_TRANSFERS: of files, up and down */
    uint64_t max_body;        /* SANDBOX_MAX_BODY: of a request */
    uint64_t max_upload;      /* SANDBOX_MAX_UPLOAD: of a file that is put */
    uint64_t max_uploads;     /* SANDBOX_MAX_UPLOADS: unfinished, by /uploads */
    uint64_t min_free;        /* SANDBOX_MIN_FREE: of a disk that files are put on */
    uint64_t max_output;      /* SANDBOX_MAX_OUTPUT: stdout and stderr in an answer of /run */
    uint64_t max_held;        /* SANDBOX_MAX_HELD: requests that wait for a port */
    uint64_t max_failed_auth; /* SANDBOX_MAX_FAILED_AUTH: wrong tokens a second from one address */

    /* How long. 0 is no limit where it may be 0. */
    uint64_t max_timeout_ms;       /* SANDBOX_MAX_TIMEOUT: of any command */
    uint64_t max_link_lifetime_ms; /* SANDBOX_MAX_LINK_LIFETIME: of any link; 0: none is made */
    uint64_t reader_timeout_ms;    /* SANDBOX_READER_TIMEOUT: a client that reads nothing */
    uint64_t http_keepalive_ms;    /* SANDBOX_HTTP_KEEPALIVE: an idle connection; 0: none is kept */
    uint64_t stream_keepalive_ms;  /* SANDBOX_STREAM_KEEPALIVE: silence before a comment */
    uint64_t upload_lifetime_ms;   /* SANDBOX_UPLOAD_LIFETIME: an unfinished upload without news */
    uint64_t port_wait_ms;         /* SANDBOX_PORT_WAIT: a request, until somebody listens */
    uint64_t stop_grace_ms;        /* SANDBOX_STOP_GRACE: between SIGTERM and SIGKILL at a stop of
                                      the server; 0 is SIGKILL at once */

    /* The user of commands and file operations, and what each command may use. 0 leaves a limit as
     * it was inherited. */
    const char *user;      /* SANDBOX_USER: "name", "name:group" or numbers; NULL: our own user */
    const char *home;      /* SANDBOX_HOME: of a user that has none; NULL: there is no such */
    uint64_t allow_setuid; /* SANDBOX_ALLOW_SETUID: 1 lets commands gain rights */
    uint64_t limit_nofile; /* SANDBOX_LIMIT_NOFILE, setrlimit(2) */
    uint64_t limit_nproc;  /* SANDBOX_LIMIT_NPROC */
    uint64_t limit_fsize;  /* SANDBOX_LIMIT_FSIZE */
    uint64_t limit_cpu_ms; /* SANDBOX_LIMIT_CPU */
    uint64_t limit_as;     /* SANDBOX_LIMIT_AS */

    /* SANDBOX_CGROUP: "auto", "off", or the absolute path of a cgroup v2 directory. */
    const char *cgroup;

    /* Limits of each command with all its children: the default, and the most that a request may
     * ask for. 0 is none. */
    uint64_t memory_max; /* SANDBOX_MEMORY_MAX */
    uint64_t pids_max;   /* SANDBOX_PIDS_MAX */
    uint64_t cpu_max;    /* SANDBOX_CPU_MAX, in percent of one CPU */
};

struct variables;

/*
 * Reads the variables `from` (NULL: the environment) into *settings; an unset or empty variable
 * takes its default. 0, or -1 after one line to standard error that names the variable and what is
 * wrong with it. Not thread-safe (getenv): call at start.
 */
int settings_read(struct settings *settings, const struct variables *from);

/* Reads the environment at the start of a program: an error is logged, and LOG_LEVEL holds from
 * then on. */
int settings_take(struct settings *settings);

/*
 * Takes the server's own variables, PORT, PROXY_PORT and SANDBOX_*, out of the environment, so that
 * no command sees them. Texts that have been read stay valid.
 */
void settings_leave_environment(void);
