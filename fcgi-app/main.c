/*
 * fcgi-app: the HTTP API behind nginx. fcgi-app -r RUN, with its listening socket on descriptor 0.
 */
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/daemon_start.h"
#include "common/logger.h"
#include "common/notify.h"
#include "common/resource_limit.h"
#include "common/run_files.h"
#include "common/settings.h"
#include "common/start_directory.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/commands/pump.h"
#include "fcgi-app/commands/run.h"
#include "fcgi-app/commands/run_table.h"
#include "fcgi-app/dispatch.h"
#include "fcgi-app/endpoints.h"
#include "fcgi-app/files/raw_limits.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/files/share_file.h"
#include "fcgi-app/http/acceptor.h"
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/fcgi.h"
#include "fcgi-app/http/grant.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/http/places.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/http/stopping.h"
#include "fcgi-app/http/workers.h"
#include "fcgi-app/output/read_screen.h"
#include "fcgi-app/ports/bound_port.h"
#include "fcgi-app/ports/hold.h"
#include "fcgi-app/ports/port_number.h"
#include "fcgi-app/ports/port_table.h"
#include "fcgi-app/ports/port_watch.h"
#include "fcgi-app/ports/share_port.h"
#include "fcgi-app/ports/shares.h"
#include "fcgi-app/processes/start_terminal.h"
#include "fcgi-app/status/health.h"
#include "fcgi-app/streams/streams.h"
#include "fcgi-app/uploads/upload_cleaner.h"
#include "fcgi-app/uploads/upload_record.h"
#include "identity/identity.h"
#include "procd/wire/client.h"
#include "procd/wire/job_changes.h"

#define STOP_TIMEOUT_MS 1800

/* Few arenas: what counts is the memory of many threads. Below the threshold buffers come from
 * them, because mapping and unmapping for each command stops the other threads
 * (docs/benchmarks.md). */
#define MALLOC_ARENAS 4
#define MALLOC_MAPPED (1 << 20)

static void set_up_malloc(void)
{
    /* NOLINTBEGIN(concurrency-mt-unsafe): there is one thread yet */
    (void)mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    (void)mallopt(M_MMAP_THRESHOLD, MALLOC_MAPPED);
    (void)mallopt(M_TRIM_THRESHOLD, MALLOC_MAPPED);
    /* NOLINTEND(concurrency-mt-unsafe) */
}

static int open_directory(int run, const char *name)
{
    int fd = openat(run, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        log_line("%s: %m", name);
    }
    return fd;
}

/* The directories in the run directory that we use; all stay open for ever. */
struct directories {
    const char *run;
    int spool;
    int port;
    int uploads;
    char *start; /* the name of the directory that relative paths begin at */
    int state;   /* whose disk it is, for /health */
};

/* Opens them, and remembers procd's socket. 0, or -1 when that was logged. */
static int open_directories(const char *run, const struct settings *settings,
                            struct directories *directories)
{
    char socket_path[PATH_MAX];
    (void)snprintf(socket_path, sizeof(socket_path), "%s/" RUN_PROCD_SOCKET, run);
    if (procd_client_init(socket_path) < 0) {
        log_line("%s: %m", socket_path);
        return -1;
    }
    if (job_changes_open(run) < 0) {
        log_line("%s/" RUN_JOB_CHANGES ": %m", run);
        return -1;
    }
    if (run_table_open(run, settings->max_runs) < 0) {
        log_line("the table of commands: %m");
        return -1;
    }
    directories->start = start_directory_name(run);
    if (directories->start == NULL) {
        log_line("the working directory: %m");
        return -1;
    }
    cleanup_fd int fd = open_directory(AT_FDCWD, run);
    directories->run = run;
    directories->spool = open_directory(fd, RUN_SPOOL);
    directories->port = open_directory(fd, RUN_PORT);
    directories->uploads = open_directory(fd, RUN_UPLOADS);
    directories->state = open_directory(fd, RUN_STATE);
    return directories->spool < 0 || directories->port < 0 || directories->uploads < 0 ||
                   directories->state < 0
               ? -1
               : 0;
}

/* Which ports are the server's own, and which ones clients may reach. No threads run yet. */
static void ports_init(const struct settings *settings)
{
    const char *reached = getenv("SANDBOX_PORTS");          /* NOLINT(concurrency-mt-unsafe) */
    const char *metrics = getenv("SANDBOX_METRICS_LISTEN"); /* NOLINT(concurrency-mt-unsafe) */
    /* The launcher has checked that a number follows the last colon. */
    const char *colon = metrics == NULL ? NULL : strrchr(metrics, ':');
    port_table_init((const unsigned[OWN_PORTS]){(unsigned)settings->port,
                                                (unsigned)settings->proxy_port,
                                                colon == NULL ? 0 : port_parse(colon + 1)},
                    reached != NULL && strcmp(reached, "own") == 0);
}

static void set_up_parts(const struct directories *directories, const struct settings *settings)
{
    dispatch_init(endpoints);
    places_init((unsigned)settings->max_connections);
    spools_init(directories->spool);
    requested_path_init(directories->start);
    grant_init(settings->max_link_lifetime_ms);
    share_file_init(directories->start);
    json_init(settings->max_body, JSON_IN_MEMORY);
    sse_init(settings->stream_keepalive_ms);
    run_init(settings->max_output);
    command_init(settings);
    start_terminal_init(settings);
    pump_init(settings->stop_grace_ms);
    admission_init(settings->max_runs, settings->max_streams, settings->max_transfers);
    raw_limits_init(settings->max_upload, settings->min_free);
    upload_records_init(directories->uploads, settings->max_uploads, settings->upload_lifetime_ms);
    health_init(directories->state, directories->run);
    hold_init(settings);
    bound_port_init(directories->port, (unsigned)settings->proxy_port);
    ports_init(settings);
    shares_init(directories->port);
    share_port_init(settings->public_ports);
}

static void wait_for_signal(const sigset_t *signals)
{
    int signal;
    while (sigwait(signals, &signal) != 0) {
    }
}

/* Signals go to sigwait alone: libfcgi takes no interruption, and its threads inherit the mask. */
static void block_signals(sigset_t *awaited)
{
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    (void)sigemptyset(awaited);
    (void)sigaddset(awaited, SIGTERM);
    (void)sigaddset(awaited, SIGINT);
}

int main(int count, char **arguments)
{
    struct settings settings;
    int status;
    const char *run = daemon_start("fcgi-app", count, arguments, &settings, &status);
    if (run == NULL) {
        return status;
    }
    (void)umask(022); /* files and directories of clients have the mode that fs.h names */
    notify_open();
    resource_limits_lift(NULL);
    if (read_screen_init() < 0) {
        log_line("/proc/self/exe: %m");
        return EXIT_FAILURE;
    }
    struct directories directories;
    if (open_directories(run, &settings, &directories) < 0 || identity_take(&settings, run) < 0) {
        return EXIT_FAILURE;
    }
    sigset_t signals;
    block_signals(&signals);
    set_up_malloc();
    if (acceptor_open() < 0 || stopping_init() < 0 || fcgi_init(dispatch, dispatch_give_back) < 0) {
        log_line("descriptor 0 is no listening socket that can be served: %m");
        return EXIT_FAILURE;
    }
    set_up_parts(&directories, &settings);
    if (streams_start() < 0 || port_watch_start() < 0 || hold_start() < 0 ||
        upload_cleaner_start() < 0 || workers_start() < 0 || acceptor_start() < 0) {
        log_line("cannot start to serve: %m");
        return EXIT_FAILURE;
    }
    notify_ready();
    log_at(LOG_INFO, "serving");
    wait_for_signal(&signals);
    log_at(LOG_INFO, "stopping; open requests: %u", places_taken());
    stopping_begin();
    if (places_await_none(STOP_TIMEOUT_MS) < 0) {
        log_at(LOG_WARNING, "stopped with requests open");
    }
    upload_cleaner_stop();
    return EXIT_SUCCESS;
}
