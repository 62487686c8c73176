/*
 * libfcgi, wrapped: the only file that knows it. A connection of nginx carries one request after
 * the other, and libfcgi sees each as the first of a connection.
 *
 * What libfcgi (2.4.2 to 2.4.7) wants from its user, and where that is done:
 * - EINTR is never retried: all signals are blocked before the first thread is made (main.c).
 * - FCGX_Init installs handlers for SIGPIPE, SIGTERM and SIGUSR1: ours come after it.
 * - Its accept(2) has no SOCK_CLOEXEC and gives up on EMFILE: acceptor.c accepts. FCGX_Accept_r
 *   takes a connection that is there when ipcFd and keepConnection are set before.
 * - FCGX_FFlush reports a write error once, FCGX_PutStr never: FCGX_GetError keeps it.
 * - Unread standard input would be taken for the next request: it is drained, or the connection
 *   closed.
 * - It reads 8 KiB at a time and copies them: of a body it is asked for nothing but what it has
 * read with the parameters. body_records.h reads the rest, which libfcgi then never sees.
 * - It trusts what comes in: it is given only what record_filter.h lets pass.
 * - Records are at most 8 KiB, copied: large pieces go out by sendmsg(2) in records of our own
 *   between two flushes. FCGX_Finish_r then writes the end of the stream as usual.
 */
#include <fcgiapp.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#include "api/endpoints.h"
#include "common/clock.h"
#include "common/io.h"
#include "common/logger.h"
#include "fcgi-app/http/answer_begin.h"
#include "fcgi-app/http/body_records.h"
#include "fcgi-app/http/fcgi.h"
#include "fcgi-app/http/file_records.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/outlet.h"
#include "fcgi-app/http/record_filter.h"
#include "fcgi-app/http/request.h"

/* From here on a piece of an answer is sent where it lies, instead of being copied by libfcgi. */
#define DIRECT_MIN ((size_t)8192)

/* Records that go out by one sendmsg(2). */
#define RECORDS_AT_ONCE 16

/* How long an unwanted body is read before the connection is given up instead, and how long its
 * client may pause: on a busy machine a client may have to wait for its turn. All of the body must
 * be read: nginx keeps a connection that has taken the whole body, and would send the next request
 * to one that is just being closed. */
#define DRAIN_MS 5000

#define LENGTH_UNKNOWN UINT64_MAX /* as in request.h */

struct request {
    FCGX_Request fcgi;
    const struct api_endpoint *endpoint;
    uint64_t body_length; /* as announced, or LENGTH_UNKNOWN */
    uint64_t body_read;
    enum { BODY_UNFINISHED, BODY_ENDED } body;
    enum {
        ANSWER_NONE,
        ANSWER_BEGUN,
        ANSWER_CUT,      /* by request_abort() */
        ANSWER_DETACHED, /* an outlet has it */
    } answer;
    bool gone;        /* the client left, or the connection was dropped */
    const char *note; /* a header line of the answer, or NULL */
    struct measured measured;
};

static void (*serve_request)(struct request *request, bool refuse);
static void (*give_connection_back)(int fd, bool reuse);

/* Of the connection that this thread serves. */
static _Thread_local struct record_filter filter;

/* ---- the question ---- */

/* A request asks for some twenty, most of which are not there: the first character tells that
 * sooner than FCGX_GetParam() does. */
const char *request_param(const struct request *request, const char *name)
{
    size_t length = strlen(name);
    for (char *const *entry = request->fcgi.envp; *entry != NULL; entry++) {
        if (**entry == *name && strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') {
            return *entry + length + 1;
        }
    }
    return "";
}

const char *request_method(const struct request *request)
{
    return request_param(request, "REQUEST_METHOD");
}

const char *request_path(const struct request *request)
{
    return request_param(request, "SCRIPT_NAME");
}

const char *request_query(const struct request *request)
{
    return request_param(request, "QUERY_STRING");
}

bool request_only_reads(const struct request *request)
{
    const char *method = request_method(request);
    return request->endpoint == NULL || request->endpoint->effect == READS ||
           strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

void request_set_endpoint(struct request *request, const struct api_endpoint *endpoint)
{
    request->endpoint = endpoint;
    /* guard's question has no path, and is no client's. */
    bool is_guard = endpoint == NULL && *request_path(request) == '\0';
    request->measured = metrics_begin(is_guard           ? METRICS_NONE
                                      : endpoint == NULL ? API_COUNT
                                                         : (unsigned)(endpoint - api_endpoints));
}

const char *request_id(const struct request *request)
{
    const char *id = request_param(request, "REQUEST_ID");
    return *id == '\0' ? "-" : id;
}

/* What libfcgi has read of the body with the parameters. The bytes, or -1; 0: the rest comes from
 * the connection itself. */
static ssize_t take_held(struct request *request, void *data, size_t length)
{
    uint64_t held = filter.body_size - request->body_read;
    if (held == 0) {
        return 0;
    }
    int count = FCGX_GetStr(data, (int)(held < length ? held : length), request->fcgi.in);
    return count > 0 ? count : -1;
}

/* Counts the result of a read of the body, and whether it is the end. */
static ssize_t count_body(struct request *request, ssize_t count)
{
    if (count > 0) {
        request->body_read += (uint64_t)count;
        return count;
    }
    bool whole =
        request->body_length == LENGTH_UNKNOWN || request->body_length == request->body_read;
    if (count < 0 || FCGX_GetError(request->fcgi.in) != 0 || !whole) {
        request->gone = true;
        return -1;
    }
    request->body = BODY_ENDED;
    return 0;
}

ssize_t request_read(struct request *request, void *data, size_t length)
{
    if (length == 0) {
        return 0;
    }
    ssize_t count = take_held(request, data, length);
    if (count == 0) {
        count = body_records_read(request->fcgi.ipcFd, &filter, data, length);
    }
    return count_body(request, count);
}

ssize_t request_read_parts(struct request *request, char *buffer, size_t size,
                           struct body_parts *parts)
{
    ssize_t count = take_held(request, buffer, size);
    if (count > 0) {
        *parts = (struct body_parts){.count = 1, .part = {{buffer, (size_t)count}}};
    } else if (count == 0) {
        count = body_records_read_parts(request->fcgi.ipcFd, &filter, buffer, size, parts);
    }
    return count_body(request, count);
}

int request_fd(const struct request *request)
{
    return request->fcgi.ipcFd;
}

bool request_gone(struct request *request)
{
    struct pollfd connection = {.fd = request->fcgi.ipcFd, .events = POLLRDHUP};
    if (!request->gone && poll(&connection, 1, 0) > 0) {
        request->gone = true;
    }
    return request->gone;
}

uint64_t request_body_length(const struct request *request)
{
    return request->body_length;
}

bool request_has_body(const struct request *request)
{
    return request->body_length == LENGTH_UNKNOWN
               ? request_param(request, "HTTP_TRANSFER_ENCODING")[0] != '\0'
               : request->body_length > 0;
}

/* ---- the answer ---- */

/* libfcgi must not end an answer properly that was cut. */
static int drop_connection(struct request *request)
{
    (void)shutdown(request->fcgi.ipcFd, SHUT_RDWR);
    request->gone = true;
    return -1;
}

static int write_bytes(struct request *request, const void *data, size_t length);

void request_note(struct request *request, const char *header)
{
    request->note = header;
}

int request_begin(struct request *request, int status, const char *content_type,
                  const char *headers)
{
    char begin[ANSWER_BEGIN_SIZE];
    size_t rest = headers == NULL ? 0 : strlen(headers);
    const char *end = answer_begin_render(begin, status, content_type);
    if (end == NULL) {
        return drop_connection(request); /* a content type that long is a bug */
    }
    request->answer = ANSWER_BEGUN;
    request->measured.status = status;
    size_t noted = request->note == NULL ? 0 : strlen(request->note);
    if (write_bytes(request, begin, (size_t)(end - begin)) < 0 ||
        (noted > 0 && write_bytes(request, request->note, noted) < 0) ||
        (rest > 0 && write_bytes(request, headers, rest) < 0)) {
        return -1;
    }
    return write_bytes(request, "\r\n", 2);
}

/* Sends iovecs whole. They are used up. */
static int send_all(int fd, struct iovec *iov, size_t count)
{
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
    while (message.msg_iovlen > 0) {
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return -1;
        }
        for (size_t left = sent > 0 ? (size_t)sent : 0; left > 0 && message.msg_iovlen > 0;) {
            size_t step = left < message.msg_iov->iov_len ? left : message.msg_iov->iov_len;
            message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + step;
            message.msg_iov->iov_len -= step;
            left -= step;
            if (message.msg_iov->iov_len == 0) {
                message.msg_iov++;
                message.msg_iovlen--;
            }
        }
    }
    return 0;
}

/* Up to RECORDS_AT_ONCE records of standard output in one sendmsg(2). The bytes sent, or -1. */
static ssize_t send_records(const struct request *request, const char *data, size_t length)
{
    unsigned char headers[RECORDS_AT_ONCE][RECORD_HEADER_SIZE];
    struct iovec iov[2 * RECORDS_AT_ONCE];
    size_t done = 0;
    size_t records = 0;
    for (; records < RECORDS_AT_ONCE && done < length; records++) {
        size_t size = length - done < RECORD_MAX ? length - done : RECORD_MAX;
        record_header(headers[records], RECORD_STDOUT, request->fcgi.requestId, size);
        iov[2 * records] = (struct iovec){headers[records], RECORD_HEADER_SIZE};
        iov[2 * records + 1] = (struct iovec){(void *)(uintptr_t)(data + done), size};
        done += size;
    }
    return send_all(request->fcgi.ipcFd, iov, 2 * records) < 0 ? -1 : (ssize_t)done;
}

static int write_direct(struct request *request, const char *data, size_t length)
{
    if (request_flush(request) < 0) {
        return -1;
    }
    while (length > 0) {
        ssize_t sent = send_records(request, data, length);
        if (sent < 0) {
            return drop_connection(request);
        }
        data += sent;
        length -= (size_t)sent;
    }
    return 0;
}

static int write_bytes(struct request *request, const void *data, size_t length)
{
    if (request->gone) {
        return -1;
    }
    if (length >= DIRECT_MIN) {
        return write_direct(request, data, length);
    }
    (void)FCGX_PutStr(data, (int)length, request->fcgi.out);
    return FCGX_GetError(request->fcgi.out) != 0 ? drop_connection(request) : 0;
}

int request_write(struct request *request, const void *data, size_t length)
{
    if (write_bytes(request, data, length) < 0) {
        return -1;
    }
    metrics_sent(&request->measured, length);
    return 0;
}

int request_write_file(struct request *request, int file, off_t offset, uint64_t length)
{
    if (request_flush(request) < 0) {
        return -1;
    }
    uint64_t sent;
    int result = file_records_send(request->fcgi.ipcFd, request->fcgi.requestId, file, offset,
                                   length, &sent);
    metrics_sent(&request->measured, sent);
    metrics_transferred(TRANSFER_OUT, sent);
    if (result < 0) {
        request_abort(request);
    }
    return result;
}

int request_flush(struct request *request)
{
    if (request->gone) {
        return -1;
    }
    (void)FCGX_FFlush(request->fcgi.out);
    return FCGX_GetError(request->fcgi.out) != 0 ? drop_connection(request) : 0;
}

void request_abort(struct request *request)
{
    request->answer = ANSWER_CUT;
    (void)drop_connection(request);
}

/* ---- one request after the other ---- */

/*
 * libfcgi's read(2), in the place of its own: a symbol of the program comes before that of a
 * library. What is refused looks like the end of the connection.
 */
int OS_Read(int fd, char *buffer, size_t length);
int OS_Read(int fd, char *buffer, size_t length)
{
    ssize_t count = filter.stage == STAGE_REFUSED ? 0 : io_read_some(fd, buffer, length);
    if (count > 0 && !record_filter_pass(&filter, (const unsigned char *)buffer, (size_t)count)) {
        log_at(LOG_WARNING, "a connection was dropped: its FastCGI is not a web server's");
        count = 0;
    }
    return (int)count;
}

/*
 * Reads the rest of the body, so that it is not taken for the next request. Returns whether the end
 * was reached; if not, the connection must be closed. The answer comes after the body if it can. If
 * nginx had all of the answer first, it would have told the client that the connection is kept, and
 * would throw the next request away with the rest of this one (ngx_http_finalize_connection(),
 * reading_body).
 */
static bool finish_body(struct request *request)
{
    char scrap[8192];
    if (request->body == BODY_ENDED) {
        return true;
    }
    /* A client that is slow with an unwanted body must not hold the thread. Without a body its end
     * is here already. */
    static const struct timeval patience = {.tv_sec = DRAIN_MS / 1000};
    static const struct timeval no_limit = {.tv_sec = 0};
    int64_t deadline = clock_monotonic_ms() + DRAIN_MS;
    int fd = request->fcgi.ipcFd;
    bool announced = request_has_body(request);
    if (announced) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    }
    while (request->body != BODY_ENDED && clock_monotonic_ms() < deadline) {
        if (request_read(request, scrap, sizeof(scrap)) < 0) {
            return false;
        }
    }
    if (announced) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &no_limit, sizeof(no_limit));
    }
    return request->body == BODY_ENDED;
}

int request_detach(struct request *request, struct outlet *outlet)
{
    if (request->gone || !finish_body(request) || request_flush(request) < 0) {
        return -1;
    }
    request->answer = ANSWER_DETACHED;
    outlet_init(outlet, request->fcgi.ipcFd, request->fcgi.requestId, give_connection_back);
    outlet->measured = request->measured;
    return 0;
}

static void read_length(struct request *request)
{
    const char *text = request_param(request, "CONTENT_LENGTH");
    char *end;
    errno = 0;
    unsigned long long length = strtoull(text, &end, 10);
    request->body_length =
        end == text || *end != '\0' || errno != 0 ? LENGTH_UNKNOWN : (uint64_t)length;
}

bool request_is_answered(const struct request *request)
{
    return request->answer != ANSWER_NONE;
}

bool request_finish(struct request *request, bool keep)
{
    if (request->answer == ANSWER_DETACHED) {
        FCGX_Free(&request->fcgi, 0); /* and do not close */
        request->fcgi.ipcFd = -1;
        return false;
    }
    if (!keep || !finish_body(request)) {
        request->fcgi.keepConnection = 0;
    }
    metrics_end(&request->measured); /* before the client sees the end, who may look at once */
    FCGX_Finish_r(&request->fcgi);
    return true;
}

/*
 * Serves the next request of a connection, which has its first bytes. Whether the connection is
 * kept. Libfcgi closes it at its end and fails to accept from -1. It takes parameters that were cut
 * for whole ones.
 */
static bool serve_next(int fd, bool refuse)
{
    struct request request = {.gone = false};
    filter = (struct record_filter){0};
    (void)FCGX_InitRequest(&request.fcgi, -1, 0);
    request.fcgi.ipcFd = fd;
    request.fcgi.keepConnection = 1;
    if (FCGX_Accept_r(&request.fcgi) == 0 && FCGX_GetError(request.fcgi.in) == 0) {
        if (filter.request_id == 0) {
            log_line("this libfcgi does not read by OS_Read(): what it reads would go unchecked");
        } else {
            read_length(&request);
            serve_request(&request, refuse);
        }
    }
    bool kept =
        request.fcgi.ipcFd >= 0 && request.fcgi.keepConnection != 0 && request.body == BODY_ENDED;
    FCGX_Free(&request.fcgi, !kept);
    return kept;
}

bool fcgi_serve_request(int fd)
{
    return serve_next(fd, false);
}

void fcgi_refuse_request(int fd)
{
    static const struct timeval patience = {.tv_sec = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (serve_next(fd, true)) {
        (void)close(fd);
    }
}

int fcgi_init(void (*serve)(struct request *request, bool refuse),
              void (*give_back)(int fd, bool reuse))
{
    serve_request = serve;
    give_connection_back = give_back;
    if (FCGX_Init() != 0) {
        errno = ENOMEM;
        return -1;
    }
    return signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -1 : 0;
}
