/*
 * One handler for each request, in a table. Nothing here waits: an answer that does not fit into a
 * client's socket, like a message that is none, ends that client and nothing else.
 */
#include "procd/daemon/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/analyzer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "procd/daemon/loop.h"
#include "procd/daemon/pool.h"
#include "procd/daemon/registry.h"
#include "procd/daemon/status.h"
#include "procd/jobs/job_directory.h"
#include "procd/wire/protocol.h"
#include "procd/wire/words.h"

#define ACCEPT_PAUSE_MS 100 /* when there is no descriptor for another client */

struct client;

/* A background job between START and its runner's answer. */
struct starting {
    struct expected_job job;
    struct client *client; /* NULL when it has gone */
    uint64_t started_at;   /* ns since the epoch */
};

struct client {
    struct watch watch;   /* first: a watch is its client */
    struct client *next;  /* of all */
    struct client **link; /* what points here */
    struct starting *starting;
    struct order order;
};

#define CLIENT_OF_ORDER(order_)                                                                    \
    ((struct client *)(void *)((char *)(order_)-offsetof(struct client, order)))

static char packet[MESSAGE_PACKET_MAX];
static struct client *clients;
static const char *run_directory;
static size_t jobs_max; /* running at once; 0: any number */

static void client_add(struct client *client)
{
    client->next = clients;
    client->link = &clients;
    if (clients != NULL) {
        clients->link = &client->next;
    }
    clients = client;
}

ANALYZER_OFF("-Wanalyzer-use-after-free") /* in server_close(): what is dropped is in no list */
static void client_drop(struct client *client)
{
    loop_close(&client->watch);
    registry_forget(&client->order);
    if (client->starting != NULL) {
        client->starting->client = NULL;
    }
    *client->link = client->next;
    if (client->next != NULL) {
        client->next->link = client->link;
    }
    free(client);
}
ANALYZER_ON

/* Every handler answers by one of these; false means that the client is to be dropped. */

static bool answer(struct client *client, struct message *message)
{
    return message_send(client->watch.fd, message, NULL, 0) == 0;
}

static bool answer_plain(struct client *client, enum message_type type)
{
    return message_send_plain(client->watch.fd, type) == 0;
}

static bool answer_not_running(struct client *client, enum job_status status)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_NOT_RUNNING);
    message_add_number(&message, FIELD_STATUS, status);
    return answer(client, &message);
}

static bool answer_failure(struct client *client, enum spawn_stage stage, int error)
{
    return spawn_send_failure(client->watch.fd, stage, error) == 0;
}

/* For the log; NULL if it has none. */
static const char *request_id_of(struct incoming *request)
{
    return message_open(request) < 0 ? NULL : message_text(request, FIELD_REQUEST_ID);
}

/* ---- the requests ---- */

static bool handle_ping(struct client *client, struct incoming *request)
{
    cleanup_message struct message message;
    (void)request;
    message_init(&message, MESSAGE_DONE);
    message_add_number(&message, FIELD_RUNNER_FAILURES, (int64_t)pool_failures());
    return answer(client, &message);
}

/* The hot path: what the client sent goes on unread. */
static bool handle_run(struct client *client, struct incoming *request)
{
    (void)client;
    if (pool_run(request) < 0) {
        int error = errno;
        cleanup_fd int lease = message_take_descriptor(request, 0);
        const char *request_id = request_id_of(request);
        errno = error;
        log_request(LOG_ERR, request_id, "no runner for a command: %m");
        if (lease >= 0) {
            /* or it has gone, like its client */
            (void)spawn_send_failure(lease, SPAWN_PREPARE, error);
        }
    }
    return true;
}

static bool answer_started(struct client *client, const struct starting *starting, pid_t pid)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_STARTED);
    message_add_text(&message, FIELD_ID, starting->job.id);
    message_add_number(&message, FIELD_PID, pid);
    message_add_number(&message, FIELD_STARTED_AT, (int64_t)starting->started_at);
    return answer(client, &message);
}

/* The runner is gone, or was not understood. What it has begun has a record (job_record.h). */
static bool finish_silent_start(struct client *client, struct starting *starting)
{
    pid_t pid = 0;
    int begun = registry_adopt_silent(&starting->job, &pid);
    if (begun == 0) {
        registry_give_up(&starting->job);
        return client == NULL || answer_failure(client, SPAWN_PREPARE, ECHILD);
    }
    return begun > 0 && (client == NULL || answer_started(client, starting, pid));
}

/* Tells the client what its START has come to: the runner's word is enough, the job may be over.
 * False when the client is to be dropped, if there is one. */
static bool finish_start(struct client *client, struct starting *starting,
                         const struct incoming *reply)
{
    if (reply == NULL) {
        return finish_silent_start(client, starting);
    }
    if (reply->type == MESSAGE_STARTED) {
        registry_adopt(&starting->job);
        return client == NULL ||
               answer_started(client, starting, (pid_t)message_number(reply, FIELD_PID, 0));
    }
    registry_give_up(&starting->job);
    return client == NULL ||
           answer_failure(client,
                          (enum spawn_stage)message_number(reply, FIELD_STAGE, SPAWN_PREPARE),
                          (int)message_number(reply, FIELD_ERROR, EIO));
}

static void start_answered(void *context, const struct incoming *reply)
{
    cleanup_free struct starting *starting = context;
    struct client *client = starting->client;
    if (client != NULL) {
        client->starting = NULL;
    }
    if (!finish_start(client, starting, reply) && client != NULL) {
        client_drop(client);
    }
}

static bool handle_start(struct client *client, struct incoming *request)
{
    char id[JOB_ID_SIZE];
    if (jobs_max != 0 && registry_running() >= jobs_max) {
        return answer_plain(client, MESSAGE_TOO_MANY);
    }
    cleanup_free struct starting *starting = calloc(1, sizeof(*starting));
    cleanup_message struct message order;
    message_init(&order, MESSAGE_JOB);
    cleanup_fd int directory = starting == NULL ? -1 : job_directory_create(id);
    if (directory < 0) {
        return answer_failure(client, SPAWN_PREPARE, errno);
    }
    message_add_text(&order, FIELD_ID, id);
    starting->started_at = clock_date_ns();
    message_add_number(&order, FIELD_STARTED_AT, (int64_t)starting->started_at);
    message_add_number(&order, FIELD_AGE_KEY, (int64_t)registry_new_age_key());
    if (pool_start_job(&order, directory, request, start_answered, starting) < 0) {
        int error = errno;
        const char *request_id = request_id_of(request);
        errno = error;
        log_request(LOG_ERR, request_id, "no runner for a job: %m");
        job_directory_remove(id);
        return answer_failure(client, SPAWN_PREPARE, error);
    }
    registry_expect(&starting->job, id);
    starting->client = client;
    client->starting = steal_pointer(starting);
    return true;
}

static bool handle_list(struct client *client, struct incoming *request)
{
    if (message_open(request) < 0) {
        return false;
    }
    cleanup_message struct message message;
    message_init(&message, MESSAGE_JOBS);
    int64_t key = message_number(request, FIELD_AGE_KEY, -1);
    uint64_t date = (uint64_t)message_number(request, FIELD_STARTED_AT, 0);
    registry_describe(key >= 0 ? (uint64_t)key : registry_age_key_of(date),
                      message_number(request, FIELD_LEFT, 0) != 0, &message);
    return answer(client, &message);
}

/* The job that a request names. */
static struct registered_job *requested_job(struct incoming *request)
{
    const char *id = message_open(request) < 0 ? NULL : message_text(request, FIELD_ID);
    return id == NULL ? NULL : registry_find(id);
}

static bool answer_job(struct client *client, struct registered_job *job)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_JOBS);
    registry_describe_job(job, true, &message);
    return answer(client, &message);
}

static bool answer_written(struct client *client, size_t written)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_WROTE);
    message_add_number(&message, FIELD_WRITTEN, (int64_t)written);
    return answer(client, &message);
}

static bool answer_done_order(struct client *client, enum order_kind kind,
                              struct registered_job *job, size_t written)
{
    switch (kind) {
    case ORDER_WAIT:
        return answer_job(client, job);
    case ORDER_WRITE:
        return answer_written(client, written);
    case ORDER_KILL:
    case ORDER_SIGNAL:
    case ORDER_LEFT:
        break;
    }
    return answer_plain(client, MESSAGE_DONE);
}

static void order_done(struct order *order, enum order_result result, struct registered_job *job,
                       size_t written)
{
    struct client *client = CLIENT_OF_ORDER(order);
    bool alive = false;
    switch (result) {
    case ORDER_DONE:
        alive = answer_done_order(client, order->kind, job, written);
        break;
    case ORDER_NOT_RUNNING:
        alive = answer_not_running(client, registry_status(job));
        break;
    case ORDER_NO_STDIN:
        alive = answer_plain(client, MESSAGE_NO_STDIN);
        break;
    case ORDER_UNKNOWN:
        break; /* the client learns it by the end of its connection */
    }
    if (!alive) {
        client_drop(client);
    }
}

/* Gives the client's order, whose message is ready. It may be dropped when this returns true. */
static bool give_order(struct client *client, struct registered_job *job, enum order_kind kind)
{
    client->order.kind = kind;
    client->order.done = order_done;
    if (client->order.message.failed) {
        message_clear(&client->order.message);
        return false; /* out of memory */
    }
    if (registry_order(job, &client->order)) {
        return true;
    }
    message_clear(&client->order.message);
    return kind == ORDER_WAIT ? answer_job(client, job)
                              : answer_not_running(client, registry_status(job));
}

/* Passes a number on to the runner, if the client has given it. */
static void pass_number(struct client *client, const struct incoming *request, enum field_tag tag)
{
    int64_t number = message_number(request, tag, -1);
    if (number >= 0) {
        message_add_number(&client->order.message, tag, number);
    }
}

/* Of a job that has ended. */
static bool kill_left(struct client *client, struct registered_job *job)
{
    client->order.kind = ORDER_LEFT;
    client->order.done = order_done;
    message_init(&client->order.message, MESSAGE_KILL); /* which nobody gets */
    return registry_order_left(job, &client->order) ||
           answer_not_running(client, registry_status(job));
}

static bool handle_kill(struct client *client, struct incoming *request)
{
    struct registered_job *job = requested_job(request);
    if (job == NULL) {
        return answer_plain(client, MESSAGE_NOT_FOUND);
    }
    if (message_number(request, FIELD_LEFT, 0) != 0 && registry_status(job) != JOB_RUNNING) {
        return kill_left(client, job);
    }
    message_init(&client->order.message, MESSAGE_KILL);
    pass_number(client, request, FIELD_SIGNAL);
    pass_number(client, request, FIELD_GRACE_MS);
    bool is_signal = message_number(request, FIELD_SIGNAL, 0) > 0 &&
                     message_number(request, FIELD_GRACE_MS, -1) < 0;
    client->order.grace_ms = message_number(request, FIELD_GRACE_MS, 0);
    return give_order(client, job, is_signal ? ORDER_SIGNAL : ORDER_KILL);
}

static bool handle_write(struct client *client, struct incoming *request)
{
    size_t length = 0;
    struct registered_job *job = requested_job(request);
    const char *data = job == NULL ? NULL : message_bytes(request, FIELD_DATA, &length);
    if (data == NULL) {
        return job == NULL && answer_plain(client, MESSAGE_NOT_FOUND);
    }
    message_init(&client->order.message, MESSAGE_WRITE);
    message_add_bytes(&client->order.message, FIELD_DATA, data, length);
    pass_number(client, request, FIELD_EOF);
    client->order.serial = registry_new_serial();
    message_add_number(&client->order.message, FIELD_SERIAL, (int64_t)client->order.serial);
    return give_order(client, job, ORDER_WRITE);
}

static bool handle_wait(struct client *client, struct incoming *request)
{
    struct registered_job *job = requested_job(request);
    return job == NULL ? answer_plain(client, MESSAGE_NOT_FOUND)
                       : give_order(client, job, ORDER_WAIT);
}

static bool handle_get(struct client *client, struct incoming *request)
{
    struct registered_job *job = requested_job(request);
    return job == NULL ? answer_plain(client, MESSAGE_NOT_FOUND) : answer_job(client, job);
}

static bool handle_delete(struct client *client, struct incoming *request)
{
    struct registered_job *job = requested_job(request);
    if (job == NULL) {
        return answer_plain(client, MESSAGE_NOT_FOUND);
    }
    if (registry_status(job) == JOB_RUNNING) {
        return answer_not_running(client, JOB_RUNNING);
    }
    registry_delete(job);
    return answer_plain(client, MESSAGE_DONE);
}

static bool handle_open(struct client *client, struct incoming *request)
{
    const struct registered_job *job = requested_job(request);
    if (job == NULL) {
        return answer_plain(client, MESSAGE_NOT_FOUND);
    }
    cleanup_fd int directory = job_directory_open(registry_id(job));
    if (directory < 0) {
        log_request(LOG_ERR, registry_request_id(job), "job %s: cannot open its directory: %m",
                    registry_id(job));
        return false;
    }
    cleanup_message struct message message;
    message_init(&message, MESSAGE_DONE);
    return message_send(client->watch.fd, &message, &directory, 1) == 0;
}

static bool handle_status(struct client *client, struct incoming *request)
{
    (void)request;
    cleanup_message struct message message;
    message_init(&message, MESSAGE_STATUS);
    status_describe(run_directory, &message);
    return answer(client, &message);
}

static bool (*const handlers[])(struct client *client, struct incoming *request) = {
    [MESSAGE_PING] = handle_ping, [MESSAGE_RUN] = handle_run,       [MESSAGE_START] = handle_start,
    [MESSAGE_LIST] = handle_list, [MESSAGE_GET] = handle_get,       [MESSAGE_WAIT] = handle_wait,
    [MESSAGE_KILL] = handle_kill, [MESSAGE_DELETE] = handle_delete, [MESSAGE_WRITE] = handle_write,
    [MESSAGE_OPEN] = handle_open, [MESSAGE_STATUS] = handle_status,
};

#define HANDLER_COUNT (sizeof(handlers) / sizeof(handlers[0]))

/* ---- the connections ---- */

static void hear_client(struct watch *watch)
{
    struct client *client = (struct client *)watch;
    cleanup_incoming struct incoming request = {0};
    int received = message_receive(watch->fd, packet, sizeof(packet), &request, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) {
        return;
    }
    if (received < 0 && errno == EPROTONOSUPPORT) {
        log_at(LOG_WARNING,
               "a client speaks another version of procd's protocol: restart fcgi-app");
    }
    bool waits = client->starting != NULL || client->order.job != NULL;
    bool known = received == 1 && request.type < HANDLER_COUNT && handlers[request.type] != NULL;
    /* One question at a time: who asks another before the answer is no client of ours. */
    if (!known || waits || !handlers[request.type](client, &request)) {
        client_drop(client);
    }
}

static void accept_client(struct watch *watch);
static void accept_again(struct timer *timer);
static struct watch listener = {.fd = -1, .ready = accept_client};
static struct timer accept_timer = {.due = accept_again};
static bool refused; /* the last client; that was told */

static void accept_again(struct timer *timer)
{
    (void)timer;
    if (loop_add(&listener) < 0) {
        log_line("cannot listen: %m");
        loop_stop(); /* the supervisor starts another */
    }
}

/* Without descriptors the listener would be ready for ever: it is left alone for a while. */
static void pause_accepting(void)
{
    if (!refused) {
        log_line("cannot accept: %m");
        refused = true;
    }
    loop_remove(&listener);
    accept_timer.at = clock_monotonic_ms() + ACCEPT_PAUSE_MS;
}

static void accept_client(struct watch *watch)
{
    cleanup_fd int fd =
        (int)TEMP_FAILURE_RETRY(accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            pause_accepting();
        }
        return; /* anything else is a client that did not stay */
    }
    refused = false;
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        return;
    }
    client->watch = (struct watch){.fd = fd, .ready = hear_client};
    if (message_send_plain(fd, MESSAGE_DONE) < 0 || loop_add(&client->watch) < 0) {
        free(client);
        return;
    }
    (void)steal_fd(&fd);
    client_add(client);
}

int server_open(int fd, const char *directory, size_t running_max)
{
    run_directory = directory;
    jobs_max = running_max;
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
        return -1;
    }
    loop_add_timer(&accept_timer);
    listener.fd = fd;
    return loop_add(&listener);
}

void server_close(void)
{
    while (clients != NULL) {
        client_drop(clients);
    }
    loop_close(&listener);
}
