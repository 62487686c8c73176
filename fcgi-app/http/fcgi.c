/*
 * libfcgi, wrapped: the only file that knows it. One thread serves one connection of nginx, which
 * carries one request after the other.
 *
 * What libfcgi (2.4.2 to 2.4.7) wants from its user, and where it is done:
 * - EINTR is never retried: all signals are blocked before the first thread is made (main.c).
 * - FCGX_Init installs handlers for SIGPIPE, SIGTERM and SIGUSR1: ours come after it.
 * - Its accept(2) has no SOCK_CLOEXEC and gives up on EMFILE: we accept ourselves. FCGX_Accept_r
 *   takes a connection that is there when ipcFd and keepConnection are set before.
 * - A write error is told once by FCGX_FFlush and never by FCGX_PutStr: FCGX_GetError keeps it.
 * - Unread standard input would be taken for the next request: it is drained, or the connection
 *   closed.
 * - It trusts what comes in: it is given only what record_filter.h lets pass.
 * - Records are at most 8 KiB, copied: large pieces go out by sendmsg(2) in records of our own
 *   between two flushes. FCGX_Finish_r then writes the end of the stream as usual.
 */
#include <fcgiapp.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "api/statuses.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/io.h"
#include "common/logger.h"
#include "fcgi-app/endpoints.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/backlog.h"
#include "fcgi-app/http/fcgi.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/outlet.h"
#include "fcgi-app/http/record_filter.h"
#include "fcgi-app/http/request.h"

/* Only touched pages of a stack cost memory; the deepest handlers need about 30 KiB. */
#define STACK_SIZE ((size_t)256 * 1024)

/* Threads that wait for a connection: this many to begin with, and that many stay. */
#define ACCEPTORS_FIRST 4
#define ACCEPTORS_MAX   16U

#define ACCEPT_BACKOFF_MS 100

/* From here on a piece of an answer is sent where it lies, instead of being copied by libfcgi. */
#define DIRECT_MIN ((size_t)8192)

/* Records that go out by one sendmsg(2). */
#define RECORDS_AT_ONCE 16

/* Of all requests at once one in so many is none that may last, and at least so many. */
#define SHORT_ONE_IN 16
#define SHORT_LEAST  2

/* Beyond all others there is room for so many who ask for the health or the metrics, and they take
 * no place from the others: clients that are slow with requests that should be short must not make
 * the server look dead. */
#define WATCHERS_PLACES 4

/* What libfcgi is asked for at once: it counts in int. */
#define READ_MAX ((size_t)65536)

/* For how long a body that nobody wants is read before the connection is given up instead, and how
 * long its client may pause. All that is there must go: nginx keeps a connection that has taken the
 * whole body, and would send the next request to one that is just being closed. */
#define DRAIN_MS 5000
#define PAUSE_MS 1000

#define LENGTH_UNKNOWN UINT64_MAX

struct request {
    FCGX_Request fcgi;
    uint64_t body_length; /* as announced, or LENGTH_UNKNOWN */
    uint64_t body_read;
    bool body_ended;
    bool begun;   /* an answer */
    bool failed;  /* the client left, or the connection was dropped */
    bool aborted; /* by request_abort() */
    bool detached;
    bool lasts;   /* is counted among those that may */
    bool watches; /* is counted apart from the others */
    struct measured measured;
};

static struct {
    int listener;
    int stop_fd;
    int spare; /* see refuse_with_spare() */
    unsigned requests_max;
    unsigned lasting_max; /* of these may last */
    void (*handle)(struct request *request);
    atomic_bool stopping;
    atomic_uint watchers; /* being served */
    atomic_uint others;   /* being served */
    atomic_uint lasting;  /* of these may last */
    pthread_mutex_t lock;
    unsigned acceptors; /* threads that wait for a connection, or will at once; under lock */
} server = {.listener = -1, .stop_fd = -1, .spare = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- the question ---- */

static const char *param(const struct request *request, const char *name)
{
    const char *value = FCGX_GetParam(name, request->fcgi.envp);
    return value == NULL ? "" : value;
}

const char *request_method(const struct request *request)
{
    return param(request, "REQUEST_METHOD");
}

const char *request_path(const struct request *request)
{
    return param(request, "SCRIPT_NAME");
}

const char *request_query(const struct request *request)
{
    return param(request, "QUERY_STRING");
}

const struct api_endpoint *request_endpoint(const struct request *request)
{
    unsigned number = endpoint_number(request_path(request));
    return number == API_COUNT ? NULL : &api_endpoints[number];
}

const char *request_last_event_id(const struct request *request)
{
    return param(request, "HTTP_LAST_EVENT_ID");
}

const char *request_content_encoding(const struct request *request)
{
    return param(request, "HTTP_CONTENT_ENCODING");
}

const char *request_id(const struct request *request)
{
    const char *id = param(request, "REQUEST_ID");
    return *id == '\0' ? "-" : id;
}

bool request_asks_for_all(const struct request *request)
{
    return *param(request, "HEALTH_FULL") != '\0';
}

ssize_t request_read(struct request *request, void *data, size_t length)
{
    int wanted = length > READ_MAX ? (int)READ_MAX : (int)length;
    int count = FCGX_GetStr(data, wanted, request->fcgi.in);
    request->body_read += (uint64_t)count;
    if (count > 0 || wanted == 0) {
        return count;
    }
    bool whole =
        request->body_length == LENGTH_UNKNOWN || request->body_length == request->body_read;
    if (FCGX_GetError(request->fcgi.in) != 0 || !whole) {
        request->failed = true;
        return -1;
    }
    request->body_ended = true;
    return 0;
}

int request_fd(const struct request *request)
{
    return request->fcgi.ipcFd;
}

bool request_gone(struct request *request)
{
    struct pollfd connection = {.fd = request->fcgi.ipcFd, .events = POLLRDHUP};
    if (!request->failed && poll(&connection, 1, 0) > 0) {
        request->failed = true;
    }
    return request->failed;
}

bool request_stopping(void)
{
    return atomic_load(&server.stopping);
}

int request_stop_fd(void)
{
    return server.stop_fd;
}

/* ---- the answer ---- */

/* libfcgi must not end an answer properly that was cut. */
static int drop_connection(struct request *request)
{
    (void)shutdown(request->fcgi.ipcFd, SHUT_RDWR);
    request->failed = true;
    return -1;
}

static int write_bytes(struct request *request, const void *data, size_t length);

int request_begin(struct request *request, int status, const char *content_type,
                  const char *headers)
{
    char begin[192];
    unsigned index = api_status_index(status);
    size_t rest = headers == NULL ? 0 : strlen(headers);
    int length = snprintf(
        begin, sizeof(begin), "%s%s%sStatus: %d %s\r\n",
        content_type == NULL ? "" : "Content-Type: ", content_type == NULL ? "" : content_type,
        content_type == NULL ? "" : "\r\n", status,
        index < API_STATUS_COUNT ? api_statuses[index].reason : "Error");
    if (length < 0 || length >= (int)sizeof(begin)) {
        return drop_connection(request); /* a content type that long is a bug */
    }
    request->begun = true;
    request->measured.status = status;
    if (write_bytes(request, begin, (size_t)length) < 0 ||
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
    if (request->failed) {
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

int request_flush(struct request *request)
{
    if (request->failed) {
        return -1;
    }
    (void)FCGX_FFlush(request->fcgi.out);
    return FCGX_GetError(request->fcgi.out) != 0 ? drop_connection(request) : 0;
}

void request_abort(struct request *request)
{
    request->aborted = true;
    (void)drop_connection(request);
}

/* ---- requests that are turned away ---- */

static bool has_body(const struct request *request)
{
    return request->body_length == LENGTH_UNKNOWN
               ? param(request, "HTTP_TRANSFER_ENCODING")[0] != '\0'
               : request->body_length > 0;
}

/*
 * 503 before the body is read. Where there is one, nginx makes the answer, which ends its
 * connection: nginx/snippets/server.conf says why, and has both locations.
 */
static void turn_away(struct request *request, const char *location, const char *message)
{
    char header[64];
    if (!has_body(request)) {
        answer_error(request, 503, ERROR_unavailable, "%s", message);
        return;
    }
    (void)snprintf(header, sizeof(header), "X-Accel-Redirect: %s\r\n", location);
    if (request_begin(request, 503, NULL, header) == 0) {
        (void)request_flush(request); /* what fails is seen when it ends */
    }
}

static void turn_away_from_full(struct request *request)
{
    turn_away(request, "@nginx_sandbox_full",
              "Too many requests at once (SANDBOX_MAX_CONNECTIONS, or the limit on threads or open "
              "files)");
}

bool request_may_last(struct request *request)
{
    request->lasts = true;
    if (atomic_fetch_add(&server.lasting, 1) >= server.lasting_max) {
        turn_away_from_full(request);
        return false;
    }
    return true;
}

/* ---- one request after the other ---- */

/* Of the connection that this thread serves. */
static _Thread_local struct record_filter filter;

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
 * Reads what nobody wanted of the body, so that it is not taken for the next request. Returns
 * whether the end is reached; if not, the connection must go. The answer comes after the body if it
 * can: when nginx has all of it before, it has told the client that the connection is kept, and
 * throws the next request away with the rest of this one (ngx_http_finalize_connection(),
 * reading_body).
 */
static bool drain_body(struct request *request)
{
    char scrap[8192];
    if (request->body_ended) {
        return true;
    }
    /* A client that takes its time over a body nobody reads must not hold the thread. Without a
     * body its end is here already. */
    static const struct timeval patience = {.tv_sec = PAUSE_MS / 1000};
    static const struct timeval no_limit = {.tv_sec = 0};
    int64_t deadline = clock_monotonic_ms() + DRAIN_MS;
    int fd = request->fcgi.ipcFd;
    bool announced = has_body(request);
    if (announced) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    }
    bool failed = false;
    while (!failed && !request->body_ended && clock_monotonic_ms() < deadline) {
        failed = request_read(request, scrap, sizeof(scrap)) < 0;
    }
    if (failed) {
        return false;
    }
    if (announced) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &no_limit, sizeof(no_limit));
    }
    return request->body_ended;
}

int request_detach(struct request *request, struct outlet *outlet)
{
    if (request->failed || !drain_body(request) || request_flush(request) < 0) {
        return -1;
    }
    request->detached = true;
    outlet_init(outlet, request->fcgi.ipcFd, request->fcgi.requestId);
    outlet->measured = request->measured;
    return 0;
}

static void read_length(struct request *request)
{
    const char *text = param(request, "CONTENT_LENGTH");
    char *end;
    errno = 0;
    unsigned long long length = strtoull(text, &end, 10);
    request->body_length =
        end == text || *end != '\0' || errno != 0 ? LENGTH_UNKNOWN : (uint64_t)length;
}

static void answer_request(struct request *request, bool refuse)
{
    if (refuse) {
        turn_away_from_full(request);
    } else if (request_stopping()) {
        turn_away(request, "@nginx_sandbox_away", "The server is stopping");
    } else {
        server.handle(request);
    }
    if (!request->begun && !request->aborted && !request->detached && !request_gone(request)) {
        log_request(LOG_ERR, request_id(request), "%s was not answered", request_path(request));
        answer_lost(request, "Internal error: the request may have been done");
    }
}

/* guard's question has no path, and is no client's. */
static struct measured begin_to_measure(const struct request *request)
{
    const char *path = request_path(request);
    return metrics_begin(*path == '\0' ? METRICS_NONE : endpoint_number(path));
}

/* Who asks how the server is; guard is one of them. */
static bool is_watching(const struct request *request)
{
    const char *path = request_path(request);
    return *path == '\0' || strcmp(path, "/health") == 0 || strcmp(path, "/metrics") == 0;
}

/* Counts the request. False when there was no place for it. */
static bool take_place(struct request *request)
{
    request->watches = is_watching(request);
    if (!request->watches) {
        return atomic_fetch_add(&server.others, 1) < server.requests_max;
    }
    unsigned watchers = atomic_fetch_add(&server.watchers, 1);
    return watchers + atomic_load(&server.others) < server.requests_max + WATCHERS_PLACES;
}

static void leave_place(const struct request *request)
{
    atomic_fetch_sub(&server.lasting, request->lasts);
    atomic_fetch_sub(request->watches ? &server.watchers : &server.others, 1);
}

static void serve_request(struct request *request, bool refuse)
{
    bool has_place = take_place(request);
    request->measured = begin_to_measure(request);
    read_length(request);
    log_request(LOG_DEBUG, request_id(request), "%s %s", request_method(request),
                request_path(request));
    answer_request(request, refuse || !has_place);
    if (request->detached) {
        FCGX_Free(&request->fcgi, 0); /* and do not close */
        request->fcgi.ipcFd = -1;
        return; /* counted until fcgi_take_back() */
    }
    if (refuse || !drain_body(request)) {
        request->fcgi.keepConnection = 0;
    }
    metrics_end(&request->measured); /* before the client sees the end, who may look at once */
    FCGX_Finish_r(&request->fcgi);
    leave_place(request);
}

/* Serves a connection until nginx closes it; takes `fd` over. `refuse`: one request, answered 503.
 */
static void serve_connection(int fd, bool refuse)
{
    struct request request = {.failed = false};
    filter = (struct record_filter){0};
    (void)FCGX_InitRequest(&request.fcgi, -1, 0);
    request.fcgi.ipcFd = fd;
    request.fcgi.keepConnection = 1;
    /* At the end of the connection libfcgi closes it and fails to accept from -1. It takes
     * parameters that were cut for whole ones. */
    while (request.fcgi.ipcFd >= 0 && FCGX_Accept_r(&request.fcgi) == 0 &&
           FCGX_GetError(request.fcgi.in) == 0) {
        if (filter.request_id == 0) {
            log_line("this libfcgi does not read by OS_Read(): what it reads would go unchecked");
            break;
        }
        request.body_read = 0;
        request.body_ended = request.begun = request.failed = request.aborted = false;
        request.detached = request.lasts = false;
        serve_request(&request, refuse);
    }
    FCGX_Free(&request.fcgi, 1);
}

/* ---- the threads ---- */

static void *serve_connections(void *unused);

/* A detached thread; 0, or an errno. */
static int make_thread(void *(*run)(void *argument), void *argument)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int error = pthread_attr_init(&attributes);
    if (error != 0) {
        return error;
    }
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    error = pthread_create(&thread, &attributes, run, argument);
    (void)pthread_attr_destroy(&attributes);
    return error;
}

/* Makes a thread that accepts; call with server.lock held. 0, or an errno. */
static int add_acceptor(void)
{
    int error = make_thread(serve_connections, NULL);
    server.acceptors += error == 0;
    return error;
}

/* The client gave up while it waited in the backlog, and may have asked elsewhere: its request is
 * not begun. */
static bool is_abandoned(int fd)
{
    struct pollfd connection = {.fd = fd, .events = POLLRDHUP};
    return poll(&connection, 1, 0) > 0;
}

/*
 * No descriptor is left for a connection: gives up the spare one, so that who waits is refused
 * instead of waiting for as long as other requests last. One thread at a time.
 */
static void refuse_with_spare(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const struct timeval patience = {.tv_sec = 1}; /* with one that sends no request */
    struct pollfd waiting = {.fd = server.listener, .events = POLLIN};
    pthread_mutex_lock(&lock);
    if (poll(&waiting, 1, ACCEPT_BACKOFF_MS) > 0) {
        close_fd(&server.spare);
        int fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
            serve_connection(fd, true);
        } else {
            (void)poll(NULL, 0, ACCEPT_BACKOFF_MS);
        }
        server.spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    pthread_mutex_unlock(&lock);
}

/* Waits for a connection, also while the process or the system has no descriptors left. */
static int accept_connection(void)
{
    for (bool told = false;;) {
        int fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && !is_abandoned(fd)) {
            return fd;
        }
        if (fd >= 0) {
            (void)close(fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) {
            continue;
        }
        if (!told) {
            log_at(LOG_WARNING, "accept: %m");
            told = true;
        }
        if (errno == EMFILE || errno == ENFILE) {
            refuse_with_spare();
        } else {
            (void)poll(NULL, 0, ACCEPT_BACKOFF_MS);
        }
    }
}

/* This thread has a connection. False when no other could be made to accept in its place. */
static bool leave_acceptors(void)
{
    bool replaced = true;
    pthread_mutex_lock(&server.lock);
    if (--server.acceptors == 0) {
        int error = add_acceptor();
        if (error != 0) {
            errno = error;
            log_at(LOG_WARNING, "cannot make a thread: %m");
            replaced = false;
        }
    }
    pthread_mutex_unlock(&server.lock);
    return replaced;
}

/* False when there are enough that wait. */
static bool join_acceptors(void)
{
    pthread_mutex_lock(&server.lock);
    bool join = server.acceptors < ACCEPTORS_MAX;
    server.acceptors += join;
    pthread_mutex_unlock(&server.lock);
    return join;
}

static void *serve_connections(void *unused)
{
    (void)unused;
    do {
        int fd = accept_connection();
        bool replaced = leave_acceptors();
        serve_connection(fd, !replaced);
    } while (join_acceptors());
    return NULL;
}

static void *serve_on(void *argument)
{
    serve_connection((int)(intptr_t)argument, false);
    return NULL;
}

void fcgi_take_back(int fd, bool reuse)
{
    atomic_fetch_sub(&server.lasting, 1); /* only such a request is detached */
    atomic_fetch_sub(&server.others, 1);
    if (!reuse || make_thread(serve_on, (void *)(intptr_t)fd) != 0) {
        (void)close(fd);
    }
}

/* ---- start and stop ---- */

static int take_listener(void)
{
    cleanup_fd int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    int listening = 0;
    socklen_t size = sizeof(listening);
    if (nothing < 0 || getsockopt(0, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0) {
        return -1;
    }
    if (!listening) {
        errno = ENOTSOCK;
        return -1;
    }
    cleanup_fd int listener = fcntl(0, F_DUPFD_CLOEXEC, 3);
    if (listener < 0 || io_set_nonblocking(listener, 0) < 0 || dup2(nothing, 0) < 0) {
        return -1;
    }
    server.listener = steal_fd(&listener);
    server.spare = steal_fd(&nothing);
    return 0;
}

static int raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return -1;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

int fcgi_open(void)
{
    if (take_listener() < 0 || raise_descriptor_limit() < 0) {
        return -1;
    }
    server.stop_fd = eventfd(0, EFD_CLOEXEC);
    if (server.stop_fd < 0) {
        return -1;
    }
    if (FCGX_Init() != 0) {
        errno = ENOMEM;
        return -1;
    }
    return signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -1 : 0;
}

int fcgi_start(unsigned requests_max, void (*handle)(struct request *request))
{
    unsigned kept_free = requests_max / SHORT_ONE_IN;
    kept_free = kept_free < SHORT_LEAST ? SHORT_LEAST : kept_free;
    server.requests_max = requests_max;
    server.lasting_max = requests_max > kept_free ? requests_max - kept_free : 1;
    server.handle = handle;
    int error = 0;
    pthread_mutex_lock(&server.lock);
    for (int i = 0; i < ACCEPTORS_FIRST && error == 0; i++) {
        error = add_acceptor();
    }
    bool any = server.acceptors > 0;
    pthread_mutex_unlock(&server.lock);
    errno = error;
    return any ? 0 : -1;
}

unsigned fcgi_requests(void)
{
    return atomic_load(&server.watchers) + atomic_load(&server.others);
}

int64_t fcgi_backlog(void)
{
    return backlog_length(server.listener);
}

int fcgi_stop(int timeout_ms)
{
    const int step_ms = 5;
    atomic_store(&server.stopping, true);
    if (eventfd_write(server.stop_fd, 1) < 0) {
        log_line("cannot tell the streams to stop: %m");
    }
    for (int waited = 0; fcgi_requests() > 0; waited += step_ms) {
        if (waited >= timeout_ms) {
            return -1;
        }
        (void)poll(NULL, 0, step_ms);
    }
    return 0;
}
