#include "procd/daemon/connection.h"

#include <stdlib.h>

#include "common/analyzer.h"
#include "common/cleanup.h"

static LIST_HEAD(, client) clients;

int client_add(int fd, void (*ready)(struct watch *watch))
{
    cleanup_free struct client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        return -1;
    }
    client->watch = (struct watch){.fd = fd, .ready = ready};
    if (message_send_plain(fd, MESSAGE_DONE) < 0 || loop_add(&client->watch) < 0) {
        return -1;
    }
    LIST_INSERT_HEAD(&clients, client, entry);
    (void)steal_pointer(client);
    return 0;
}

ANALYZER_OFF("-Wanalyzer-use-after-free") /* in client_drop_all(): what is dropped is in no list */
void client_drop(struct client *client)
{
    loop_close(&client->watch);
    orders_forget(&client->order);
    if (client->starting != NULL) {
        client->starting->client = NULL;
    }
    LIST_REMOVE(client, entry);
    free(client);
}

void client_drop_all(void)
{
    while (!LIST_EMPTY(&clients)) {
        client_drop(LIST_FIRST(&clients));
    }
}
ANALYZER_ON

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
