/*
 * Reads many event streams at once and says how fast: N connections send the same request
 * (HTTP/1.0, so that the body comes without chunk headers) and count events by their empty lines.
 *
 *   stream_reader PORT COUNT METHOD PATH [BODY]     token in SANDBOX_SECRET
 *
 * "open" is printed when every stream has its first bytes, "idle" whenever nothing came for 500 ms,
 * and at the end of all streams one line: events, bytes, seconds from the first request to the last
 * byte. End of standard input ends it early.
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

#include "common/clock.h"
#include "common/io.h"

struct stream {
    int fd;
    char last;
    int seen;
};

static char request[1 << 16];
static size_t request_length;
static unsigned long events;
static unsigned long bytes;
static unsigned opened;

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void open_stream(struct stream *stream, unsigned port, int epoll)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    stream->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(stream->fd >= 0, "socket");
    must(connect(stream->fd, (struct sockaddr *)&address, sizeof(address)) == 0, "connect");
    must(io_write_all(stream->fd, request, request_length) == 0, "write");
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = stream}};
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, stream->fd, &event) == 0, "epoll_ctl");
}

/* An event ends with an empty line: count \n\n, also across reads. */
static void count_events(struct stream *stream, const char *data, size_t length)
{
    if (stream->last == '\n' && data[0] == '\n') {
        events++;
    }
    const char *end = data + length;
    for (const char *at = data; (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++) {
        if (at + 1 < end && at[1] == '\n') {
            events++;
        }
    }
    stream->last = end[-1];
    bytes += length;
}

/* One read. 1 while the stream goes on. */
static int read_stream(struct stream *stream)
{
    static char buffer[1 << 18];
    ssize_t count = io_read_some(stream->fd, buffer, sizeof(buffer));
    if (count <= 0) {
        close(stream->fd);
        return 0;
    }
    if (!stream->seen) {
        stream->seen = 1;
        opened++;
        must(strncmp(buffer + 8, " 200", 4) == 0 || !fprintf(stderr, "%.60s\n", buffer), "status");
    }
    count_events(stream, buffer, (size_t)count);
    return 1;
}

static void prepare(char **argv, int argc)
{
    const char *body = argc > 5 ? argv[5] : "";
    const char *secret = getenv("SANDBOX_SECRET");
    request_length = (size_t)snprintf(request, sizeof(request),
                                      "%s %s HTTP/1.0\r\nAuthorization: Bearer %s\r\n"
                                      "Content-Length: %zu\r\n\r\n%s",
                                      argv[3], argv[4], secret ? secret : "", strlen(body), body);
    must(request_length < sizeof(request), "request too long");
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: stream_reader PORT COUNT METHOD PATH [BODY]\n");
        return 2;
    }
    prepare(argv, argc);
    unsigned count = (unsigned)atoi(argv[2]);
    struct stream *streams = calloc(count, sizeof(*streams));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    must(streams != NULL && epoll >= 0, "epoll_create1");
    struct epoll_event input = {.events = EPOLLIN | EPOLLHUP};
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &input) == 0 || errno == EPERM, "stdin");
    int64_t start = clock_monotonic_ms();
    for (unsigned i = 0; i < count; i++) {
        open_stream(&streams[i], (unsigned)atoi(argv[1]), epoll);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    int announced = 0;
    for (unsigned live = count; live > 0;) {
        struct epoll_event ready[64];
        int n = epoll_wait(epoll, ready, 64, 500);
        must(n >= 0 || errno == EINTR, "epoll_wait");
        if (n == 0) {
            printf("idle %lu events %lu bytes\n", events, bytes);
        }
        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr == NULL) {
                return 0;
            }
            live -= !read_stream(ready[i].data.ptr);
        }
        if (!announced && opened == count) {
            announced = printf("open\n");
        }
    }
    printf("%lu %lu %.6f\n", events, bytes, (double)(clock_monotonic_ms() - start) / 1000);
    return 0;
}
