/*
 * One handler for each request, in a table. Nothing here waits: an answer that does not fit into a
 * client's socket, like a message that is none, ends that client and nothing else.
 */
#include "procd/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "procd/loop.h"
#include "procd/pool.h"
#include "procd/protocol.h"
#include "procd/registry.h"
#include "procd/spawn.h"

#define ACCEPT_PAUSE_MS 100 /* when there is no descriptor for another client */

struct client;

/* A background job between START and its runner's answer. */
struct starting {
    struct client *client; /* NULL when it has gone */
    char id[JOB_ID_SIZE];
};

struct client {
    struct watch watch;   /* first: a watch is its client */
    struct client *next;  /* of all */
    struct client **link; /* what points here */
    struct starting *starting;
    struct kill_waiter killing;
};

#define CLIENT_OF_KILLING(waiter)                                                                  \
    ((struct client *)(void *)((char *)(waiter)-offsetof(struct client, killing)))

static char packet[MESSAGE_PACKET_MAX];
static struct client *clients;

static void client_add(struct client *client)
{
    client->next = clients;
    client->link = &clients;
    if (clients != NULL) {
        clients->link = &client->next;
    }
    clients = client;
}

static void client_drop(struct client *client)
{
    loop_close(&client->watch);
    registry_forget(&client->killing);
    if (client->starting != NULL) {
        client->starting->client = NULL;
    }
    *client->link = client->next;
    if (client->next != NULL) {
        client->next->link = client->link;
    }
    free(client);
}

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

/* ---- the requests ---- */

static bool handle_ping(struct client *client, struct incoming *request)
{
    (void)request;
    return answer_plain(client, MESSAGE_DONE);
}

/* The hot path: what the client sent goes on unread. */
static bool handle_run(struct client *client, struct incoming *request)
{
    (void)client;
    if (pool_run(request) < 0) {
        int error = errno;
        cleanup_fd int lease = message_take_descriptor(request, 0);
        log_line("no runner for a command: %m");
        if (lease >= 0) {
            /* or it has gone, like its client */
            (void)spawn_send_failure(lease, SPAWN_PREPARE, error);
        }
    }
    return true;
}

static bool answer_started(struct client *client, const struct registered_job *job)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_STARTED);
    registry_describe_job(job, &message);
    return answer(client, &message);
}

/* Tells the client what its START has come to. */
static bool finish_start(struct client *client, const char *id, const struct incoming *reply)
{
    if (reply != NULL && reply->type == MESSAGE_STARTED) {
        const struct registered_job *job = registry_adopt(id);
        if (job != NULL) {
            return client == NULL || answer_started(client, job);
        }
        log_line("job %s: cannot read its record: %m", id);
        return client == NULL || answer_failure(client, SPAWN_PREPARE, errno);
    }
    registry_discard(id);
    if (client == NULL) {
        return true;
    }
    if (reply == NULL) {
        return answer_failure(client, SPAWN_PREPARE, ECHILD); /* the runner died */
    }
    return answer_failure(client,
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
    if (!finish_start(client, starting->id, reply)) {
        client_drop(client);
    }
}

static bool handle_start(struct client *client, struct incoming *request)
{
    cleanup_free struct starting *starting = calloc(1, sizeof(*starting));
    cleanup_message struct message order;
    uint64_t started_at;
    message_init(&order, MESSAGE_JOB);
    cleanup_fd int directory = starting == NULL ? -1 : registry_create(starting->id, &started_at);
    if (directory < 0) {
        return answer_failure(client, SPAWN_PREPARE, errno);
    }
    message_add_text(&order, FIELD_ID, starting->id);
    message_add_number(&order, FIELD_STARTED_AT, (int64_t)started_at);
    if (pool_start_job(&order, directory, request, start_answered, starting) < 0) {
        int error = errno;
        log_line("no runner for a job: %m");
        registry_discard(starting->id);
        return answer_failure(client, SPAWN_PREPARE, error);
    }
    starting->client = client;
    client->starting = steal_pointer(starting);
    return true;
}

static bool handle_list(struct client *client, struct incoming *request)
{
    (void)request;
    cleanup_message struct message message;
    message_init(&message, MESSAGE_JOBS);
    registry_describe(&message);
    return answer(client, &message);
}

/* The job that a request names. */
static struct registered_job *requested_job(struct incoming *request)
{
    const char *id = message_open(request) < 0 ? NULL : message_text(request, FIELD_ID);
    return id == NULL ? NULL : registry_find(id);
}

static void kill_ended(struct kill_waiter *waiter, bool by_this_order, enum job_status status)
{
    struct client *client = CLIENT_OF_KILLING(waiter);
    bool alive =
        by_this_order ? answer_plain(client, MESSAGE_DONE) : answer_not_running(client, status);
    if (!alive) {
        client_drop(client);
    }
}

static bool handle_kill(struct client *client, struct incoming *request)
{
    struct registered_job *job = requested_job(request);
    enum job_status status;
    if (job == NULL) {
        return answer_plain(client, MESSAGE_NOT_FOUND);
    }
    client->killing.ended = kill_ended;
    return registry_kill(job, &client->killing, &status) || answer_not_running(client, status);
}

static bool handle_open(struct client *client, struct incoming *request)
{
    const struct registered_job *job = requested_job(request);
    if (job == NULL) {
        return answer_plain(client, MESSAGE_NOT_FOUND);
    }
    cleanup_fd int directory = registry_open_directory(job);
    if (directory < 0) {
        log_line("cannot open a job's directory: %m");
        return false;
    }
    cleanup_message struct message message;
    message_init(&message, MESSAGE_DONE);
    return message_send(client->watch.fd, &message, &directory, 1) == 0;
}

static bool (*const handlers[])(struct client *client, struct incoming *request) = {
    [MESSAGE_PING] = handle_ping, [MESSAGE_RUN] = handle_run,   [MESSAGE_START] = handle_start,
    [MESSAGE_LIST] = handle_list, [MESSAGE_KILL] = handle_kill, [MESSAGE_OPEN] = handle_open,
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
    bool waits = client->starting != NULL || client->killing.job != NULL;
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
static int paused_listener = -1;

static void accept_again(struct timer *timer)
{
    (void)timer;
    listener.fd = steal_fd(&paused_listener);
    if (loop_add(&listener) < 0) {
        log_line("cannot listen: %m");
        loop_stop(); /* the supervisor starts another */
    }
}

/* Without descriptors the listener would be ready for ever: it is left alone for a while. */
static void pause_accepting(void)
{
    log_line("cannot accept: %m");
    paused_listener = fcntl(listener.fd, F_DUPFD_CLOEXEC, 0);
    if (paused_listener >= 0) {
        loop_close(&listener);
        accept_timer.at = clock_monotonic_ms() + ACCEPT_PAUSE_MS;
    }
}

static void accept_client(struct watch *watch)
{
    cleanup_fd int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            pause_accepting();
        }
        return; /* anything else is a client that did not stay */
    }
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

int server_open(int fd)
{
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
    close_fd(&paused_listener);
}
