#include "launcher/start/ready.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/io.h"
#include "common/log_output.h"
#include "common/logger.h"
#include "launcher/base/file.h"
#include "launcher/render/listen_address.h"
#include "launcher/start/listener.h"

#define PATIENCE_SECONDS 10
/* Between two questions: a start is quick, or something is wrong and nginx writes a line each time.
 */
#define PAUSE_MS       10
#define LATER_PAUSE_MS 250
#define QUICK_TRIES    50

/* The status of GET /health, or 0 without an answer. */
static int ask_health(const struct listen_address *address)
{
    static const char request[] =
        "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    cleanup_fd int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        connect(fd, &address->any, address->size) < 0 ||
        send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request)) {
        return 0;
    }
    char answer[64] = "";
    int status = 0;
    ssize_t got = io_read_full(fd, answer, sizeof("HTTP/1.1 200") - 1);
    /* NOLINTNEXTLINE(cert-err34-c): a number of three digits */
    return got > 0 && sscanf(answer, "HTTP/1.1 %3d", &status) == 1 ? status : 0;
}

/* The last status of /health: 200, or the one when time ran out. */
static int wait_for_health(const struct listen_address *address)
{
    int64_t deadline = clock_monotonic_ms() + PATIENCE_SECONDS * 1000L;
    int status;
    for (int tries = 1; (status = ask_health(address)) != 200 && clock_monotonic_ms() < deadline;
         tries++) {
        long pause_ms = tries < QUICK_TRIES ? PAUSE_MS : LATER_PAUSE_MS;
        nanosleep(&(struct timespec){.tv_nsec = pause_ms * 1000000L}, NULL);
    }
    return status;
}

/* Prints the addresses with commas between them; TCP ones with `scheme` before them. */
static void print_addresses(FILE *line, const struct listen_addresses *addresses,
                            const char *scheme)
{
    for (size_t i = 0; i < addresses->count; i++) {
        char text[LISTEN_TEXT_SIZE];
        bool is_unix = addresses->address[i].any.sa_family == AF_UNIX;
        listen_address_format(&addresses->address[i], text);
        (void)fprintf(line, "%s%s%s", i == 0 ? "" : ", ", is_unix ? "" : scheme, text);
    }
}

/* Prints one line by one write, which does not wait for a reader. */
static void print_ready(const struct settings *settings, const struct listen_addresses *listen,
                        const struct listen_addresses *proxy_listen)
{
    char *text = NULL;
    size_t length = 0;
    FILE *line = open_memstream(&text, &length);
    if (line == NULL) {
        log_line("the line about the start: %m");
        return;
    }
    (void)fprintf(line, "nginx-sandbox: ready on ");
    if (listen->all) {
        (void)fprintf(line, "http://127.0.0.1:%u and every other address",
                      (unsigned)settings->port);
    } else {
        print_addresses(line, listen, "http://");
    }
    (void)fprintf(line, " (TCP proxy on ");
    if (proxy_listen->all) {
        (void)fprintf(line, "port %u", (unsigned)settings->proxy_port);
    } else {
        print_addresses(line, proxy_listen, "");
    }
    (void)fprintf(line, ")\n");
    if (fclose(line) == 0) {
        (void)log_output_write(STDOUT_FILENO, text, length); /* it may have no reader */
    }
    free(text);
}

/* The child. Returns its exit status. */
static int watch(const struct settings *settings, const char *run_directory, pid_t server)
{
    struct listen_addresses listen;
    struct listen_addresses proxy_listen;
    bool ipv6 = listener_has_ipv6();
    /* The launcher has read them already: they are right. */
    (void)listen_addresses_read(&listen, NULL, LISTEN_VARIABLE, (unsigned)settings->port, ipv6);
    (void)listen_addresses_read(&proxy_listen, NULL, PROXY_LISTEN_VARIABLE,
                                (unsigned)settings->proxy_port, ipv6);
    const struct listen_address asked = listen_address_reachable(&listen.address[0]);
    int status = wait_for_health(&asked);
    if (status == 200) {
        print_ready(settings, &listen, &proxy_listen);
        return 0;
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
    (void)signal(SIGPIPE, SIG_IGN); /* the line may have no reader */
    closefrom(STDERR_FILENO + 1);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != server) {
        _exit(1);
    }
    _exit(watch(settings, run_directory, server));
}
