/*
 * bind_port, unbind_port and port_status: the target file is the binding. link(2) makes it whole or
 * not at all, and for one of several requests only. nginx reads it for each connection, so nothing
 * has to be announced.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/io.h"
#include "common/tree.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/ports/bound_port.h"
#include "fcgi-app/ports/port_file.h"
#include "fcgi-app/ports/port_number.h"

#define PORT_SIZE   8   /* five digits, a newline and a NUL */
#define CLAIM_TRIES 100 /* against a client that binds and unbinds all the time */

static int port_directory = -1;
static unsigned own_port;

void bound_port_init(int directory_fd, unsigned proxy_port)
{
    port_directory = directory_fd;
    own_port = proxy_port;
}

/* ---- the target file ---- */

/* What is bound, as its digits. 0, or -1 with errno. ENOENT: nothing is bound. EBADMSG: the file is
 * not ours (a client can write here, by way of /proc/self/fd); to nginx, too, nothing is bound
 * then. */
static int read_target(char port[static PORT_SIZE])
{
    cleanup_fd int fd = io_open_regular(port_directory, PORT_TARGET_FILE, O_RDONLY);
    if (fd < 0) {
        return -1;
    }
    ssize_t length = io_read_full(fd, port, PORT_SIZE - 1);
    if (length < 0) {
        return -1;
    }
    port[length] = '\0';
    port[strcspn(port, "\n")] = '\0';
    if (port_parse(port) == 0) {
        errno = EBADMSG;
        return -1;
    }
    return 0;
}

/* Writes the file that is to become the target. */
static int write_claim(const char *name, unsigned port)
{
    char text[PORT_SIZE];
    int length = snprintf(text, sizeof(text), "%u\n", port);
    return port_file_write(port_directory, name, text, (size_t)length);
}

/* Makes a claim the target. As claim(). */
static int link_claim(const char *name, char current[static PORT_SIZE])
{
    for (int attempt = 0; attempt < CLAIM_TRIES; attempt++) {
        if (linkat(port_directory, name, port_directory, PORT_TARGET_FILE, 0) == 0) {
            return 0;
        }
        if (errno != EEXIST) {
            return -1;
        }
        if (read_target(current) == 0) {
            return 1;
        }
        if (errno != ENOENT) { /* unbound meanwhile: try again */
            return -1;
        }
    }
    return -1;
}

/* 0: `port` is bound now. 1: another one is, in `current`. -1 with errno. */
static int claim(unsigned port, char current[static PORT_SIZE])
{
    char name[IO_RANDOM_NAME_SIZE];
    if (io_random_name(name, ".claim-") != 0) {
        return -1;
    }
    int result = write_claim(name, port) == 0 ? link_claim(name, current) : -1;
    int number = errno;
    (void)unlinkat(port_directory, name, 0);
    errno = number;
    return result;
}

/* ---- the endpoints ---- */

static const char *own_port_text(char text[static PORT_SIZE])
{
    (void)snprintf(text, PORT_SIZE, "%u", own_port);
    return text;
}

static void handle_bind_port(struct request *request, const struct json_body *body)
{
    const char *text = json_text(body, "port");
    unsigned port = port_parse(text);
    if (port == 0) {
        answer_failure(request, 400, ERROR_invalid_request,
                       "Invalid port: a number from 1 to 65535 is expected");
        return;
    }
    if (port == own_port) {
        answer_failure(request, 400, ERROR_invalid_request,
                       "Port %u is the proxy's own: its connections would go round in a loop",
                       port);
        return;
    }
    char current[PORT_SIZE], proxy_port[PORT_SIZE];
    switch (claim(port, current)) {
    case 0:
        answer_fields(
            request, 200,
            FIELDS(FLAG_FIELD("success", true), TEXT_FIELD("message", "Port binding configured"),
                   TEXT_FIELD("port", text), TEXT_FIELD("proxy_port", own_port_text(proxy_port))));
        break;
    case 1:
        answer_fields(request, 409,
                      FIELDS(FLAG_FIELD("success", false),
                             TEXT_FIELD("error", "Port already bound"),
                             TEXT_FIELD("error_code", api_error_code(ERROR_in_use)),
                             TEXT_FIELD("current_port", current)));
        break;
    default:
        answer_failure(request, 500, api_error_of_errno(errno), "The port could not be bound: %s",
                       error_text(errno));
    }
}

static void handle_unbind_port(struct request *request, const struct json_body *body)
{
    (void)body;
    /* Whatever is there in the target's place: unbinding removes it. */
    if (tree_remove(port_directory, PORT_TARGET_FILE) != 0) {
        answer_failure(request, 500, api_error_of_errno(errno), "The port could not be unbound: %s",
                       error_text(errno));
        return;
    }
    answer_fields(
        request, 200,
        FIELDS(FLAG_FIELD("success", true), TEXT_FIELD("message", "Port binding removed")));
}

static void handle_port_status(struct request *request, const struct json_body *body)
{
    (void)body;
    char port[PORT_SIZE] = "", proxy_port[PORT_SIZE];
    /* A file that is not ours binds nothing. */
    if (read_target(port) != 0 && errno != ENOENT && errno != EBADMSG && errno != ELOOP) {
        answer_failure(request, 500, api_error_of_errno(errno), "The binding cannot be read: %s",
                       error_text(errno));
        return;
    }
    answer_fields(request, 200,
                  FIELDS(FLAG_FIELD("success", true),
                         TEXT_FIELD("port", port_parse(port) == 0 ? NULL : port),
                         TEXT_FIELD("proxy_port", own_port_text(proxy_port))));
}

static const struct json_member port_member[] = {
    {JSON_MEMBER("port", TEXT_OR_INT, "The port that a command listens on, 1 to 65535."),
     .required = true, .missing = "Port is required"},
};
const struct endpoint bind_port_endpoint = {
    API_ROW(bind_port),         .about = "Forwards the connections to PROXY_PORT to a port.",
    MEMBERS(port_member),       .flags = JSON_ANSWER_FAILURE,
    .handle = handle_bind_port,
};
const struct endpoint unbind_port_endpoint = {
    API_ROW(unbind_port),
    .about = "Ends the forwarding.",
    .flags = JSON_MAY_BE_EMPTY | JSON_ANSWER_FAILURE,
    .handle = handle_unbind_port,
};
const struct endpoint port_status_endpoint = {
    API_ROW(port_status),
    .about = "Says which port is bound.",
    .handle = handle_port_status,
};
