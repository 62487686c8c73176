#include "procd/daemon/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"

#define ACCEPT_PAUSE_MS 100 /* when there is no descriptor for another client */

static LIST_HEAD(, client) clients; /* only the loop knows them otherwise: they would be leaked */
static request_function *handle_request;

void client_drop(struct client *client)
{
    loop_close(&client->watch);
    orders_forget(&client->order);
    socket_owners_forget(&client->lookup);
    if (client->starting != NULL) {
        client->starting->client = NULL;
    }
    LIST_REMOVE(client, entry);
    free(client);
}

bool client_answer(struct client *client, struct message *message)
{
    return message_send(client->watch.fd, message, NULL, 0) == 0;
}

bool client_answer_number(struct client *client, enum message_type type, enum field_tag tag,
                          int64_t number)
{
    cleanup_message struct message message;
    message_init(&message, type);
    message_add_number(&message, tag, number);
    return client_answer(client, &message);
}

bool client_answer_plain(struct client *client, enum message_type type)
{
    return message_send_plain(client->watch.fd, type) == 0;
}

static void hear_client(struct watch *watch)
{
    static char packet[MESSAGE_PACKET_MAX];
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
    /* One request at a time: a client that sends another before the answer is none of ours. */
    bool waits = client->starting != NULL || client->order.job != NULL || client->lookup.waits;
    if (received != 1 || waits || !handle_request(client, &request)) {
        client_drop(client);
    }
}

static void accept_client(struct watch *watch);
static void accept_again(void);
static struct watch listener = {.fd = -1, .ready = accept_client};
static struct timer accept_timer = {.due = accept_again};
static bool refused; /* the last client, which has been logged */

static void accept_again(void)
{
    if (loop_add(&listener) < 0) {
        log_line("cannot listen: %m");
        loop_stop(); /* the supervisor starts another */
    }
}

/* Without a free descriptor the listener would stay ready: it is left alone for a while. */
static void pause_accepting(void)
{
    if (!refused) {
        log_line("cannot accept: %m");
        refused = true;
    }
    loop_remove(&listener);
    loop_call_at(&accept_timer, clock_monotonic_ms() + ACCEPT_PAUSE_MS);
}

static void accept_client(struct watch *watch)
{
    cleanup_fd int fd =
        (int)TEMP_FAILURE_RETRY(accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            pause_accepting();
        }
        return; /* with any other error the client has gone */
    }
    refused = false;
    cleanup_free struct client *client = calloc(1, sizeof(*client));
    if (client == NULL || message_send_plain(fd, MESSAGE_DONE) < 0) {
        return;
    }
    client->watch = (struct watch){.fd = fd, .ready = hear_client};
    if (loop_add(&client->watch) == 0) {
        LIST_INSERT_HEAD(&clients, client, entry);
        (void)steal_pointer(client);
        (void)steal_fd(&fd);
    }
}

int server_open(int fd, request_function *handle)
{
    handle_request = handle;
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
        return -1;
    }
    listener.fd = fd;
    return loop_add(&listener);
}
