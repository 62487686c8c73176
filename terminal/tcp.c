/*
 * /tcp/N: one TCP connection to a port of the sandbox. nginx asks fcgi-app first where somebody
 * listens, and whether clients may reach it, as for /port/N (nginx/snippets/socket-named.conf): so
 * the address is all that is known here.
 *
 * {"type":"eof"} as a text says, in either direction, that no more bytes come.
 */
#include "terminal/tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "terminal/asked.h"
#include "terminal/bytes.h"
#include "terminal/loop.h"
#include "terminal/order.h"
#include "terminal/scratch.h"
#include "terminal/service.h"
#include "terminal/session.h"

struct tcp {
    struct watched watched; /* the connection to the port */
    struct loop_garbage garbage;
    struct session *session;
    struct bytes out; /* for the port */
    unsigned port;
    bool is_connected;
    bool session_ended;
    bool port_ended;
};

#define TCP_OF(pointer) ((struct tcp *)((char *)(pointer)-offsetof(struct tcp, watched)))

static const char end_text[] = "{\"type\":\"eof\"}";

/* Watches for what can be done, and ends it when both directions have ended. */
static void watch_port(struct tcp *tcp)
{
    bool waits = bytes_length(&tcp->out) > 0;
    uint32_t events = waits || !tcp->is_connected ? EPOLLOUT : 0;
    if (tcp->is_connected && !tcp->port_ended && !session_is_full(tcp->session)) {
        events |= EPOLLIN;
    }
    if (tcp->session_ended && tcp->port_ended && !waits) {
        session_close(tcp->session, WS_NORMAL, "");
    } else if (loop_want(&tcp->watched, events) < 0) {
        log_line("epoll_ctl: %m");
        session_close(tcp->session, WS_INTERNAL, "");
    }
}

static void port_failed(struct tcp *tcp)
{
    session_close(tcp->session, TCP_RESET, "The application has closed the connection");
}

/* ---- to the port ---- */

static void end_port_input(struct tcp *tcp)
{
    if (tcp->session_ended && bytes_length(&tcp->out) == 0) {
        (void)shutdown(tcp->watched.fd, SHUT_WR); /* fails if it has gone, which is seen */
    }
}

/* Sends what waits. */
static void flush_port(struct tcp *tcp)
{
    ssize_t sent = TEMP_FAILURE_RETRY(send(tcp->watched.fd, tcp->out.data + tcp->out.begin,
                                           bytes_length(&tcp->out), MSG_NOSIGNAL));
    if (sent < 0 && errno != EAGAIN) {
        port_failed(tcp);
        return;
    }
    bytes_drop(&tcp->out, sent < 0 ? 0 : (size_t)sent);
    if (bytes_length(&tcp->out) == 0) {
        end_port_input(tcp);
        session_resume(tcp->session);
    }
}

/* Where messages end means nothing. */
static void tcp_bytes(struct session *session, const unsigned char *bytes, size_t length,
                      bool is_end)
{
    struct tcp *tcp = session_context(session);
    (void)is_end;
    if (length == 0) {
        return;
    }
    if (tcp->session_ended) {
        session_close(session, WS_NOT_ALLOWED, "Bytes after the end");
        return;
    }
    ssize_t sent = TEMP_FAILURE_RETRY(send(tcp->watched.fd, bytes, length, MSG_NOSIGNAL));
    if (sent < 0 && errno != EAGAIN) {
        port_failed(tcp);
        return;
    }
    size_t taken = sent < 0 ? 0 : (size_t)sent;
    if (taken < length) {
        if (bytes_add(&tcp->out, bytes + taken, length - taken) < 0) {
            session_close(session, WS_INTERNAL, "Out of memory");
            return;
        }
        session_pause(session);
        watch_port(tcp);
    }
}

static void tcp_text(struct session *session, const char *text, size_t length)
{
    struct tcp *tcp = session_context(session);
    cleanup_(order_freep) cJSON *order = order_parse(text, length);
    if (!order_is(order, "eof")) {
        session_close(session, WS_NOT_ALLOWED, "The only text is {\"type\":\"eof\"}");
        return;
    }
    tcp->session_ended = true;
    end_port_input(tcp);
    watch_port(tcp);
}

/* ---- from the port ---- */

static void read_port(struct tcp *tcp)
{
    ssize_t got = TEMP_FAILURE_RETRY(recv(tcp->watched.fd, scratch, SCRATCH_SIZE, 0));
    if (got > 0) {
        session_say(tcp->session, WS_BINARY, scratch, (size_t)got);
    } else if (got == 0) {
        tcp->port_ended = true;
        session_say(tcp->session, WS_TEXT, end_text, sizeof(end_text) - 1);
    } else if (errno != EAGAIN) {
        port_failed(tcp);
    }
}

/* connect(2) is done. */
static void tcp_is_connected(struct tcp *tcp)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(tcp->watched.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0) {
        session_refuse(tcp->session, 503, ERROR_unavailable, "",
                       "The application on port %u has gone; nothing was done, repeat the request",
                       tcp->port);
        return;
    }
    tcp->is_connected = true;
    session_accept(tcp->session);
}

static void tcp_ready(struct watched *watched, uint32_t events)
{
    struct tcp *tcp = TCP_OF(watched);
    if (!tcp->is_connected) {
        tcp_is_connected(tcp);
    } else {
        if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0 && bytes_length(&tcp->out) > 0) {
            flush_port(tcp);
        }
        if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !tcp->port_ended &&
            watched->fd >= 0 && !session_is_full(tcp->session)) {
            read_port(tcp);
        }
    }
    if (watched->fd >= 0) {
        watch_port(tcp);
    }
}

static void tcp_room(struct session *session)
{
    watch_port(session_context(session));
}

/* ---- the connection ---- */

/* 127.0.0.1:PORT or [::1]:PORT, as fcgi-app names it. Its size, or 0. */
static socklen_t parse_target(const char *text, struct sockaddr_storage *address, unsigned *port)
{
    static const char four[] = "127.0.0.1:";
    static const char six[] = "[::1]:";
    bool is_four = strncmp(text, four, sizeof(four) - 1) == 0;
    if (!is_four && strncmp(text, six, sizeof(six) - 1) != 0) {
        return 0;
    }
    char *end;
    const char *digits = text + (is_four ? sizeof(four) : sizeof(six)) - 1;
    unsigned long number = strtoul(digits, &end, 10);
    if (number == 0 || number > UINT16_MAX || *end != '\0') {
        return 0;
    }
    *port = (unsigned)number;
    *address = (struct sockaddr_storage){0};
    if (is_four) {
        *(struct sockaddr_in *)address = (struct sockaddr_in){
            .sin_family = AF_INET,
            .sin_port = htons((uint16_t)number),
            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        return sizeof(struct sockaddr_in);
    }
    *(struct sockaddr_in6 *)address = (struct sockaddr_in6){
        .sin6_family = AF_INET6,
        .sin6_port = htons((uint16_t)number),
        .sin6_addr = IN6ADDR_LOOPBACK_INIT,
    };
    return sizeof(struct sockaddr_in6);
}

/* A connection that has begun, or -1 with errno. */
static int connect_target(const struct sockaddr_storage *address, socklen_t size)
{
    const int on = 1;
    cleanup_fd int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0) {
        return -1;
    }
    if (connect(fd, (const struct sockaddr *)address, size) < 0 && errno != EINPROGRESS) {
        return -1;
    }
    return steal_fd(&fd);
}

static void tcp_open(struct session *session, const struct asked *asked)
{
    struct sockaddr_storage address;
    unsigned port = 0;
    socklen_t size = parse_target(asked_value(asked, "TARGET"), &address, &port);
    if (size == 0) {
        session_refuse(session, 404, ERROR_not_found, "", "Not found");
        return;
    }
    struct tcp *tcp = calloc(1, sizeof(*tcp));
    if (tcp == NULL) {
        session_refuse(session, 503, ERROR_unavailable, "", "Out of memory");
        return;
    }
    *tcp = (struct tcp){.watched = {.fd = connect_target(&address, size), .ready = tcp_ready},
                        .session = session,
                        .port = port};
    session_set_context(session, tcp);
    if (tcp->watched.fd < 0 || loop_want(&tcp->watched, EPOLLOUT) < 0) {
        session_refuse(session, 503, ERROR_unavailable, "", "Port %u cannot be reached: %s", port,
                       strerror(errno)); /* NOLINT(concurrency-mt-unsafe): one thread */
    }
}

static void tcp_end(struct session *session)
{
    struct tcp *tcp = session_context(session);
    loop_close(&tcp->watched);
    bytes_clear(&tcp->out);
    loop_free(&tcp->garbage, tcp);
}

const struct service tcp_service = {
    .path = "/tcp/",
    .open = tcp_open,
    .bytes = tcp_bytes,
    .text = tcp_text,
    .room = tcp_room,
    .end = tcp_end,
};
