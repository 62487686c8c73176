/*
 * One request after the other, so that there is one that is first.
 */
#include "launcher/pool/claim_service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "common/io.h"
#include "common/logger.h"
#include "launcher/base/subcommand.h"
#include "launcher/machine/installation.h"
#include "launcher/pool/claim.h"
#include "launcher/pool/scgi_request.h"
#include "launcher/render/render.h"

#define REQUEST_MOST     16384 /* bytes: nginx's own bound for a header, twice */
#define PATIENCE_SECONDS 5     /* with nginx, which has the whole request before it connects */

struct service {
    const char *run;
    const char *path; /* of the claim */
    struct claim claim;
    bool claimed;
};

/* nginx compares by secure_link from now on, after a reload. */
static void put_in_force(const struct service *service)
{
    char path[PATH_MAX + 64];
    (void)snprintf(path, sizeof(path), "%s/nginx", service->run);
    cleanup_fd int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct secrets secrets = {.count = 1, .digests = {service->claim.digest}};
    const struct rendered_sandbox sandbox = {
        .name = DEFAULT_SANDBOX, .run = service->run, .secrets = &secrets};
    const struct rendering rendering = {.directory = directory,
                                        .path = path,
                                        .sandboxes = &sandbox,
                                        .count = 1,
                                        .salt = &service->claim.salt};
    if (directory < 0) {
        log_line("%s: %m", path);
        return;
    }
    if (render_secrets(&rendering) < 0) {
        return;
    }
    /* As s6-svc -h does. Without a service of ours another nginx is reloaded by who runs it. */
    (void)snprintf(path, sizeof(path), "%s/service/nginx/supervise/control", service->run);
    cleanup_fd int control = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if ((control < 0 || write(control, "h", 1) != 1) && errno != ENOENT) {
        log_line("%s: %m", path);
    }
}

/* The status for this token. */
static int decide(struct service *service, const char *token)
{
    if (!service->claimed) {
        struct claim claim;
        if (secret_make_salt(&claim.salt) < 0) {
            return 500;
        }
        secret_digest(&claim.salt, token, &claim.digest);
        int made = claim_write(service->path, &claim);
        if (made < 0 || claim_read(service->path, &service->claim) != 1) {
            return 500;
        }
        service->claimed = true;
    }
    return secret_matches(&service->claim.salt, &service->claim.digest, token) ? 200 : 401;
}

/* Reads until the request is whole. The header's value in `text`, or NULL. */
static const char *read_request(int fd, char text[REQUEST_MOST + 1])
{
    size_t length = 0;
    while (length < REQUEST_MOST) {
        ssize_t got = read(fd, text + length, REQUEST_MOST - length);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return NULL;
        }
        length += (size_t)got;
        text[length] = '\0';
        const char *value = scgi_header(text, length, "AUTHORIZATION");
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}

static void serve(struct service *service, int fd)
{
    static char text[REQUEST_MOST + 1];
    static const char scheme[] = "Bearer ";
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0) {
        log_line("setsockopt: %m");
        return;
    }
    const char *header = read_request(fd, text);
    int status = 401;
    bool claimed = service->claimed;
    if (header != NULL && strncmp(header, scheme, strlen(scheme)) == 0) {
        const char *token = header + strlen(scheme);
        size_t length = strlen(token);
        status = length == 0 || length > SECRET_MOST ? 401 : decide(service, token);
    }
    explicit_bzero(text, sizeof(text));
    char answer[32];
    int length = snprintf(answer, sizeof(answer), "Status: %d\r\n\r\n", status);
    (void)io_write_all(fd, answer, (size_t)length); /* whoever has gone has gone */
    if (service->claimed && !claimed) {
        put_in_force(service);
    }
}

int claim_service(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "-r") != 0 || getenv(CLAIM_PATH_VARIABLE) == NULL) {
        return subcommand_misused(argv[0]);
    }
    descriptor_close_inherited();
    struct service service = {.run = argv[2], .path = getenv(CLAIM_PATH_VARIABLE)};
    int found = claim_read(service.path, &service.claim);
    if (found < 0) {
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    if (found > 0) { /* an earlier one may have died between the claim and this */
        service.claimed = true;
        put_in_force(&service);
    }
    for (;;) {
        cleanup_fd int fd = accept4(STDIN_FILENO, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            serve(&service, fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            log_line("accept: %m");
            return 1;
        }
    }
}
