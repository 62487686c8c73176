/*
 * Waiting for /health.
 */
#include "launcher/start/ready.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/descriptor.h"
#include "common/io.h"
#include "common/logger.h"
#include "launcher/base/file.h"

#define PATIENCE_SECONDS 10
/* Between two questions: a start is quick, or something is wrong and nginx writes a line each time.
 */
#define PAUSE_MS       10
#define LATER_PAUSE_MS 250
#define QUICK_TRIES    50

/* The status of GET /health, or 0 if there is no answer yet. */
static int ask_health(unsigned port)
{
    static const char request[] =
        "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request)) {
        return 0;
    }
    char answer[64] = "";
    int status = 0;
    ssize_t got = io_read_full(fd, answer, sizeof("HTTP/1.1 200") - 1);
    /* NOLINTNEXTLINE(cert-err34-c): a number of three digits */
    return got > 0 && sscanf(answer, "HTTP/1.1 %3d", &status) == 1 ? status : 0;
}

/* The last status of /health: 200, or what it was when patience ended. */
static int wait_for_health(unsigned port)
{
    int64_t deadline = clock_monotonic_ms() + PATIENCE_SECONDS * 1000L;
    int status;
    for (int tries = 1; (status = ask_health(port)) != 200 && clock_monotonic_ms() < deadline;
         tries++) {
        long pause_ms = tries < QUICK_TRIES ? PAUSE_MS : LATER_PAUSE_MS;
        nanosleep(&(struct timespec){.tv_nsec = pause_ms * 1000000L}, NULL);
    }
    return status;
}

/* The child. Returns its exit status. */
static int watch(const struct settings *settings, const char *run_directory, pid_t server)
{
    int status = wait_for_health((unsigned)settings->port);
    if (status == 200) {
        (void)printf("nginx-sandbox: ready on http://127.0.0.1:%u (TCP proxy on port %u)\n",
                     (unsigned)settings->port, (unsigned)settings->proxy_port);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    if (status == 0) {
        log_line("not ready after %d seconds: /health gives no answer", PATIENCE_SECONDS);
    } else {
        log_line("not ready after %d seconds: /health answers %d", PATIENCE_SECONDS, status);
    }
    char path[PATH_MAX + 10];
    (void)snprintf(path, sizeof(path), "%s/failed", run_directory);
    if (file_write(AT_FDCWD, path, 0600, "", 0) < 0) {
        log_line("%s: %m", path);
    }
    (void)kill(server, SIGTERM);
    return 1;
}

pid_t ready_announce(const struct settings *settings, const char *run_directory)
{
    pid_t server = getpid();
    pid_t child = fork();
    if (child < 0) {
        log_line("fork: %m");
    }
    if (child != 0) {
        return child;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* nobody may read the line */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != server ||
        descriptor_close_inherited() < 0) {
        _exit(1);
    }
    _exit(watch(settings, run_directory, server));
}
