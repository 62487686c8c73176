/*
 * Clients of WebSockets that only read: COUNT of them ask for the same path, one after the other,
 * and count the bytes of binary messages. Those of /tcp/ say that they send nothing.
 *
 *   viewers PORT COUNT PATH           token in SANDBOX_SECRET
 *   viewers PORT 1 PATH KEYS          types so many keys once an R has come, each after the last
 *                                     one's echo; prints the ns that each has taken, and ends
 *
 * "open" is printed when all are. When all have been closed there is one more line: the bytes of
 * the one who got the fewest, the bytes of all, the seconds since "open". End of standard input
 * ends it early.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/keys.h"
#include "common/clock.h"
#include "common/io.h"
#include "terminal/websocket/ws_frame.h"

struct viewer {
    int fd;
    unsigned long bytes;
    unsigned char last; /* of the bytes */
    struct ws_reader reader;
};

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void write_request(int fd, const char *path)
{
    char request[4096];
    const char *secret = getenv("SANDBOX_SECRET");
    int length = snprintf(request, sizeof(request),
                          "GET %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n"
                          "Connection: upgrade\r\nUpgrade: websocket\r\n"
                          "Sec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
                          path, secret ? secret : "");
    must(length < (int)sizeof(request), "request too long");
    must(io_write_all(fd, request, (size_t)length) == 0, "write");
}

/* Byte by byte: what comes behind it is frames. */
static void read_head(int fd)
{
    char head[4096] = "";
    for (size_t at = 0; at < 4 || memcmp(head + at - 4, "\r\n\r\n", 4) != 0; at++) {
        must(at < sizeof(head) - 1 && io_read_some(fd, head + at, 1) == 1, "head");
    }
    must(strncmp(head + 8, " 101", 4) == 0 || !fprintf(stderr, "%s\n", head), "status");
}

/* Of a few bytes. A mask of zeros changes none. */
static void send_frame(const struct viewer *viewer, enum ws_opcode opcode, const char *payload,
                       size_t length)
{
    const unsigned char mask[4] = {0};
    unsigned char frame[WS_HEAD_MOST + 64];
    size_t head = ws_head(frame, opcode, length, mask);
    memcpy(frame + head, payload, length);
    must(io_write_all(viewer->fd, frame, head + length) == 0, "write");
}

static void open_viewer(struct viewer *viewer, unsigned port, const char *path)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    viewer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(viewer->fd >= 0, "socket");
    must(connect(viewer->fd, (struct sockaddr *)&address, sizeof(address)) == 0, "connect");
    write_request(viewer->fd, path);
    read_head(viewer->fd);
    ws_reader_init(&viewer->reader, false);
    if (strncmp(path, "/tcp/", 5) == 0) {
        static const char end[] = "{\"type\":\"eof\"}";
        send_frame(viewer, WS_TEXT, end, sizeof(end) - 1);
    }
}

/* One read. Whether the viewer goes on: not behind a close frame. */
static bool read_frames(struct viewer *viewer)
{
    static unsigned char buffer[1 << 18];
    struct ws_event event = {.kind = WS_DATA};
    ssize_t count = io_read_some(viewer->fd, buffer, sizeof(buffer));
    must(count > 0, "the end of a connection without a close frame");
    for (size_t at = 0; at < (size_t)count && event.kind != WS_CLOSED;) {
        at += ws_read(&viewer->reader, buffer + at, (size_t)count - at, &event);
        must(event.kind != WS_REFUSED, "frames");
        if (event.kind == WS_DATA && !event.is_text && event.length > 0) {
            viewer->bytes += event.length;
            viewer->last = event.bytes[event.length - 1];
        }
    }
    return event.kind != WS_CLOSED;
}

static void type_key(void *context)
{
    const char key = KEY;
    send_frame(context, WS_BINARY, &key, 1);
}

static void read_echo(void *context)
{
    struct viewer *viewer = context;
    unsigned long before = viewer->bytes;
    while (viewer->bytes == before) {
        must(read_frames(viewer), "the end of a terminal");
    }
}

static void type_keys(struct viewer *viewer, unsigned count)
{
    while (viewer->last != KEYS_READY) {
        read_echo(viewer);
    }
    keys_measure(count, type_key, read_echo, viewer);
}

/* Until all have been closed. */
static void read_all(struct viewer *viewers, unsigned count, int epoll)
{
    int64_t start = clock_monotonic_ms();
    for (unsigned live = count; live > 0;) {
        struct epoll_event ready[64];
        int n = epoll_wait(epoll, ready, 64, -1);
        must(n >= 0 || errno == EINTR, "epoll_wait");
        for (int i = 0; i < n; i++) {
            struct viewer *viewer = ready[i].data.ptr;
            if (viewer == NULL) {
                exit(0);
            }
            if (!read_frames(viewer)) {
                close(viewer->fd);
                live--;
            }
        }
    }
    unsigned long least = viewers[0].bytes;
    unsigned long all = 0;
    for (unsigned i = 0; i < count; i++) {
        least = viewers[i].bytes < least ? viewers[i].bytes : least;
        all += viewers[i].bytes;
    }
    printf("%lu %lu %.6f\n", least, all, (double)(clock_monotonic_ms() - start) / 1000);
}

static void allow_descriptors(void)
{
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: viewers PORT COUNT PATH [KEYS]\n");
        return 2;
    }
    allow_descriptors();
    unsigned count = (unsigned)atoi(argv[2]);
    struct viewer *viewers = calloc(count, sizeof(*viewers));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    must(viewers != NULL && epoll >= 0, "epoll_create1");
    struct epoll_event input = {.events = EPOLLIN | EPOLLHUP};
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &input) == 0 || errno == EPERM, "stdin");
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (unsigned i = 0; i < count; i++) {
        open_viewer(&viewers[i], (unsigned)atoi(argv[1]), argv[3]);
        struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = &viewers[i]}};
        must(epoll_ctl(epoll, EPOLL_CTL_ADD, viewers[i].fd, &event) == 0, "epoll_ctl");
    }
    if (argc > 4) {
        type_keys(&viewers[0], (unsigned)atoi(argv[4]));
        return 0;
    }
    printf("open\n");
    read_all(viewers, count, epoll);
    return 0;
}
