/*
 * It serves one request after the other, so that one of them is the first.
 */
#include "launcher/pool/claim_service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/log_drops.h"
#include "common/logger.h"
#include "common/run_files.h"
#include "common/scgi_request.h"
#include "launcher/base/file.h"
#include "launcher/base/subcommand.h"
#include "launcher/pool/claim.h"

#define REQUEST_MOST     16384 /* bytes: nginx's own bound for a header, twice */
#define PATIENCE_SECONDS 5     /* with nginx, which has the whole request before it connects */

struct service {
    const char *run;
    const char *path; /* of the claim */
    struct claim claim;
    bool claimed;
    bool published; /* nginx knows it, too */
};

/* Puts RUN/claimed in place, for nginx's workers: the group of our socket, if it has one. */
static int put_in_place(int directory, const struct claim *claim)
{
    static const char draft[] = RUN_CLAIMED ".new";
    char text[sizeof(claim->salt.text) + sizeof(claim->digest.sha256) + GRANT_KEY_SIZE];
    struct stat socket;
    if (fstatat(directory, RUN_CLAIM_SOCKET, &socket, AT_SYMLINK_NOFOLLOW) < 0 ||
        (unlinkat(directory, draft, 0) < 0 && errno != ENOENT)) {
        return -1;
    }
    int length = snprintf(text, sizeof(text), "%s %s %s", claim->salt.text, claim->digest.sha256,
                          claim->digest.grant_key);
    mode_t mode = socket.st_mode & 0640;
    if (file_write(directory, draft, 0600, text, (size_t)length) < 0 ||
        fchownat(directory, draft, (uid_t)-1, socket.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(directory, draft, mode, 0) < 0) {
        return -1;
    }
    return renameat(directory, draft, directory, RUN_CLAIMED);
}

/* If it fails nginx continues to ask here, and each request tries it again. */
static void publish(struct service *service)
{
    cleanup_fd int directory = open(service->run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    service->published = directory >= 0 && put_in_place(directory, &service->claim) == 0;
    if (!service->published) {
        log_line("%s/" RUN_CLAIMED ": %m", service->run);
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
    if (!service->published) {
        publish(service);
    }
    return secret_matches(&service->claim.salt, &service->claim.digest, token) ? 200 : 401;
}

/* Reads until the request is whole. The value of its header, in `text`, or NULL. */
static const char *read_request(int fd, char text[REQUEST_MOST + 1])
{
    size_t length = 0;
    while (length < REQUEST_MOST) {
        ssize_t got = io_read_some(fd, text + length, REQUEST_MOST - length);
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

static void claim_serve(struct service *service, int fd)
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
    if (header != NULL && strncmp(header, scheme, strlen(scheme)) == 0) {
        const char *token = header + strlen(scheme);
        size_t length = strlen(token);
        status = length == 0 || length > SECRET_MOST ? 401 : decide(service, token);
    }
    explicit_bzero(text, sizeof(text));
    char answer[32];
    int length = snprintf(answer, sizeof(answer), "Status: %d\r\n\r\n", status);
    (void)io_write_all(fd, answer, (size_t)length); /* nginx may have left */
}

int claim_service(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "-r") != 0 || getenv(CLAIM_PATH_VARIABLE) == NULL) {
        return SUBCOMMAND_MISUSED;
    }
    closefrom(STDERR_FILENO + 1);
    (void)log_drops_open(argv[2]); /* without it the log itself says how many */
    struct service service = {.run = argv[2], .path = getenv(CLAIM_PATH_VARIABLE)};
    int found = claim_read(service.path, &service.claim);
    if (found < 0) {
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    if (found > 0) { /* an earlier process may have died between the claim and this */
        service.claimed = true;
        publish(&service);
    }
    for (;;) {
        cleanup_fd int fd = accept4(STDIN_FILENO, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            claim_serve(&service, fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            log_line("accept: %m");
            return 1;
        }
    }
}
