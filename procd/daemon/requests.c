/*
 * One handler for each request, in a table. A handler returns false when the client is to be
 * dropped.
 */
#include "procd/daemon/requests.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "procd/daemon/pool.h"
#include "procd/daemon/registry.h"
#include "procd/daemon/retention.h"
#include "procd/daemon/status.h"
#include "procd/jobs/job_directory.h"
#include "procd/wire/words.h"

#define CLIENT_OF_ORDER(order_)                                                                    \
    ((struct client *)(void *)((char *)(order_)-offsetof(struct client, order)))
#define CLIENT_OF_LOOKUP(lookup_)                                                                  \
    ((struct client *)(void *)((char *)(lookup_)-offsetof(struct client, lookup)))

static struct {
    const char *run_directory;
    size_t jobs_max;
    size_t terminals_max;
} requests;

void requests_init(const char *run_directory, size_t jobs_max, size_t terminals_max)
{
    requests.run_directory = run_directory;
    requests.jobs_max = jobs_max;
    requests.terminals_max = terminals_max;
}

static bool answer_not_running(struct client *client, enum job_status status)
{
    return client_answer_number(client, MESSAGE_NOT_RUNNING, FIELD_STATUS, status);
}

static bool answer_failure(struct client *client, enum spawn_stage stage, int error)
{
    return spawn_send_failure(client->watch.fd, stage, error) == 0;
}

/* ---- the requests ---- */

static bool handle_ping(struct client *client, struct incoming *request)
{
    (void)request;
    return client_answer_number(client, MESSAGE_DONE, FIELD_RUNNER_FAILURES,
                                (int64_t)pool_failures());
}

/* Logs that there is no runner for a request. errno stays. */
static void log_no_runner(struct incoming *request)
{
    int error = errno;
    bool is_open = request->fields != NULL || message_open(request) == 0;
    const char *request_id = is_open ? message_text(request, FIELD_REQUEST_ID) : NULL;
    errno = error;
    log_request(LOG_ERR, request_id, "no runner for a command: %m");
    errno = error;
}

/* The hot path: what the client sent goes on unread. */
static bool handle_run(struct client *client, struct incoming *request)
{
    (void)client;
    if (pool_run(request) < 0) {
        log_no_runner(request);
        cleanup_fd int lease = message_take_descriptor(request, 0);
        if (lease >= 0) { /* the client's end may be closed */
            (void)spawn_send_failure(lease, SPAWN_PREPARE, errno);
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
    return client_answer(client, &message);
}

/* What START has come to, as the runner's reply says, though the job may be over by now; without a
 * reply the runner has died, and a job that has begun has a record (job_record.h). False when the
 * client, if there is one, is to be dropped. */
static bool finish_start(struct client *client, struct starting *starting,
                         const struct incoming *reply)
{
    pid_t pid = 0;
    int begun = 0;
    struct spawn_error error = {.stage = SPAWN_PREPARE, .error = ECHILD};
    if (reply == NULL) {
        begun = registry_adopt_silent(&starting->job, &pid);
    } else if (reply->type == MESSAGE_STARTED) {
        registry_adopt(&starting->job);
        begun = 1;
        pid = (pid_t)message_number(reply, FIELD_PID, 0);
    } else {
        error = spawn_error_of(reply);
    }
    if (begun == 0) {
        registry_give_up(&starting->job);
    }
    if (begun < 0 || client == NULL) {
        return false;
    }
    return begun > 0 ? answer_started(client, starting, pid)
                     : answer_failure(client, error.stage, error.error);
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
    if (message_open(request) < 0) {
        return false;
    }
    bool has_terminal = message_number(request, FIELD_COLS, 0) != 0;
    if (requests.jobs_max != 0 && registry_running() >= requests.jobs_max) {
        return client_answer_plain(client, MESSAGE_TOO_MANY);
    }
    if (has_terminal && requests.terminals_max != 0 &&
        registry_terminals() >= requests.terminals_max) {
        return client_answer_number(client, MESSAGE_TOO_MANY, FIELD_COLS, 1);
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
    message_add_number(&order, FIELD_AGE_KEY, (int64_t)registered_job_new_age_key());
    if (pool_start_job(&order, directory, request, start_answered, starting) < 0) {
        log_no_runner(request);
        int error = errno;
        job_directory_remove(id);
        return answer_failure(client, SPAWN_PREPARE, error);
    }
    registry_expect(&starting->job, id, has_terminal);
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
    registry_describe((uint64_t)message_number(request, FIELD_AGE_KEY, 0),
                      message_number(request, FIELD_LEFT, 0) != 0, &message);
    return client_answer(client, &message);
}

static bool answer_job(struct client *client, struct registered_job *job)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_JOBS);
    registry_describe_job(job, true, &message);
    return client_answer(client, &message);
}

/* False for a result that only the end of its connection tells the client, too. */
static bool answer_order(struct client *client, enum order_result result,
                         struct registered_job *job, size_t written)
{
    enum order_kind kind = client->order.kind;
    switch (result) {
    case ORDER_NOT_RUNNING: return answer_not_running(client, job->ending.status);
    case ORDER_NO_STDIN: return client_answer_plain(client, MESSAGE_NO_STDIN);
    case ORDER_LINE_TOO_LONG: return client_answer_plain(client, MESSAGE_LINE_TOO_LONG);
    case ORDER_UNKNOWN: return false;
    case ORDER_DONE: break;
    }
    return kind == ORDER_WAIT ? answer_job(client, job)
           : kind == ORDER_WRITE
               ? client_answer_number(client, MESSAGE_WROTE, FIELD_WRITTEN, (int64_t)written)
               : client_answer_plain(client, MESSAGE_DONE);
}

static void order_done(struct order *order, enum order_result result, struct registered_job *job,
                       size_t written)
{
    struct client *client = CLIENT_OF_ORDER(order);
    if (!answer_order(client, result, job, written)) {
        client_drop(client);
    }
}

/* Gives the client's order, whose message is ready. When this returns true the client may have been
 * dropped. */
static bool give_order(struct client *client, struct registered_job *job, enum order_kind kind)
{
    client->order.kind = kind;
    client->order.done = order_done;
    bool is_whole = !client->order.message.failed; /* otherwise memory is out */
    if (is_whole && registry_order(job, &client->order)) {
        return true;
    }
    message_clear(&client->order.message);
    return is_whole && (kind == ORDER_WAIT ? answer_job(client, job)
                                           : answer_not_running(client, job->ending.status));
}

/* Passes a number on to the runner, if the client has given it. */
static void pass_number(struct client *client, const struct incoming *request, enum field_tag tag)
{
    int64_t number = message_number(request, tag, -1);
    if (number >= 0) {
        message_add_number(&client->order.message, tag, number);
    }
}

static bool handle_kill(struct client *client, struct incoming *request, struct registered_job *job)
{
    int64_t signal = message_number(request, FIELD_SIGNAL, 0);
    int64_t grace_ms = message_number(request, FIELD_GRACE_MS, -1);
    bool left = message_number(request, FIELD_LEFT, 0) != 0 && job->state == REGISTERED_ENDED;
    message_init(&client->order.message, MESSAGE_KILL);
    pass_number(client, request, FIELD_SIGNAL);
    pass_number(client, request, FIELD_GRACE_MS);
    client->order.grace_ms = grace_ms < 0 ? 0 : grace_ms;
    return give_order(client, job,
                      left                         ? ORDER_LEFT
                      : signal > 0 && grace_ms < 0 ? ORDER_SIGNAL
                                                   : ORDER_KILL);
}

static bool handle_write(struct client *client, struct incoming *request,
                         struct registered_job *job)
{
    size_t length = 0;
    const char *data = message_bytes(request, FIELD_DATA, &length);
    if (data == NULL) {
        return false;
    }
    client->order.serial = orders_new_serial();
    message_init(&client->order.message, MESSAGE_WRITE);
    message_add_bytes(&client->order.message, FIELD_DATA, data, length);
    message_add_number(&client->order.message, FIELD_SERIAL, (int64_t)client->order.serial);
    pass_number(client, request, FIELD_EOF);
    return give_order(client, job, ORDER_WRITE);
}

static bool handle_resize(struct client *client, struct incoming *request,
                          struct registered_job *job)
{
    if (!job->record.has_terminal) {
        return client_answer_plain(client, MESSAGE_NO_STDIN);
    }
    client->order.serial = orders_new_serial();
    message_init(&client->order.message, MESSAGE_RESIZE);
    message_add_number(&client->order.message, FIELD_SERIAL, (int64_t)client->order.serial);
    pass_number(client, request, FIELD_COLS);
    pass_number(client, request, FIELD_ROWS);
    return give_order(client, job, ORDER_WRITE);
}

static bool handle_wait(struct client *client, struct incoming *request, struct registered_job *job)
{
    (void)request;
    message_init(&client->order.message, MESSAGE_WAIT);
    return give_order(client, job, ORDER_WAIT);
}

static bool handle_get(struct client *client, struct incoming *request, struct registered_job *job)
{
    (void)request;
    return answer_job(client, job);
}

static bool handle_delete(struct client *client, struct incoming *request,
                          struct registered_job *job)
{
    (void)request;
    if (job->state != REGISTERED_ENDED) {
        return answer_not_running(client, JOB_RUNNING);
    }
    retention_remove(job);
    return client_answer_plain(client, MESSAGE_DONE);
}

/* The job's directory, or -1 when that was logged. */
static int open_directory_of(const struct registered_job *job)
{
    int directory = job_directory_open(job->record.id);
    if (directory < 0) {
        log_request(LOG_ERR, job->record.request_id, "job %s: cannot open its directory: %m",
                    job->record.id);
    }
    return directory;
}

/* A connection of the client's own to the runner. One that ends, or has just begun, cannot be
 * reached: then the client finds in the directory what has become of the job, or asks again. */
static bool handle_attach(struct client *client, struct incoming *request,
                          struct registered_job *job)
{
    (void)request;
    int descriptors[] = {open_directory_of(job), -1};
    cleanup_fd int directory = descriptors[0];
    if (directory < 0) {
        return false;
    }
    cleanup_fd int runner = job->state == REGISTERED_ENDED ? -1 : job_directory_connect(directory);
    cleanup_message struct message message;
    descriptors[1] = runner;
    message_init(&message, runner < 0 ? MESSAGE_NOT_RUNNING : MESSAGE_DONE);
    message_add_number(&message, FIELD_STATUS, job->ending.status);
    return message_send(client->watch.fd, &message, descriptors, runner < 0 ? 1 : 2) == 0;
}

static bool handle_open(struct client *client, struct incoming *request, struct registered_job *job)
{
    (void)request;
    cleanup_fd int directory = open_directory_of(job);
    if (directory < 0) {
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
    status_describe(requests.run_directory, &message);
    return client_answer(client, &message);
}

/* Whether the answer could be sent. */
static bool answer_sockets(struct client *client)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_SOCKETS);
    socket_owners_describe(&client->lookup, &message);
    socket_owners_forget(&client->lookup);
    return client_answer(client, &message);
}

static void sockets_known(struct socket_lookup *lookup, bool is_whole)
{
    struct client *client = CLIENT_OF_LOOKUP(lookup);
    if (!is_whole || !answer_sockets(client)) {
        client_drop(client);
    }
}

static bool handle_sockets(struct client *client, struct incoming *request)
{
    client->lookup.done = sockets_known;
    int known = message_open(request) < 0 ? -1 : socket_owners_look(&client->lookup, request);
    return known == 0 || (known > 0 && answer_sockets(client));
}

/* Requests of the server as a whole, and those about a job that is there. */
static const struct {
    bool (*handle)(struct client *client, struct incoming *request);
    bool (*handle_job)(struct client *client, struct incoming *request, struct registered_job *job);
} handlers[] = {
    [MESSAGE_PING] = {.handle = handle_ping},
    [MESSAGE_RUN] = {.handle = handle_run},
    [MESSAGE_START] = {.handle = handle_start},
    [MESSAGE_LIST] = {.handle = handle_list},
    [MESSAGE_STATUS] = {.handle = handle_status},
    [MESSAGE_SOCKETS] = {.handle = handle_sockets},
    [MESSAGE_GET] = {.handle_job = handle_get},
    [MESSAGE_WAIT] = {.handle_job = handle_wait},
    [MESSAGE_KILL] = {.handle_job = handle_kill},
    [MESSAGE_DELETE] = {.handle_job = handle_delete},
    [MESSAGE_WRITE] = {.handle_job = handle_write},
    [MESSAGE_RESIZE] = {.handle_job = handle_resize},
    [MESSAGE_ATTACH] = {.handle_job = handle_attach},
    [MESSAGE_OPEN] = {.handle_job = handle_open},
};

bool requests_handle(struct client *client, struct incoming *request)
{
    if (request->type >= sizeof(handlers) / sizeof(handlers[0])) {
        return false;
    }
    if (handlers[request->type].handle != NULL) {
        return handlers[request->type].handle(client, request);
    }
    if (handlers[request->type].handle_job == NULL) {
        return false;
    }
    const char *id = message_open(request) < 0 ? NULL : message_text(request, FIELD_ID);
    struct registered_job *job = id == NULL ? NULL : registry_find(id);
    return job == NULL ? client_answer_plain(client, MESSAGE_NOT_FOUND)
                       : handlers[request->type].handle_job(client, request, job);
}
