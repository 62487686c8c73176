#include "procd/runner/terminal_orders.h"

#include "common/cleanup.h"
#include "common/logger.h"

/* `written` belongs to a WROTE alone. */
static void answer(struct job_peers *peers, int index, const struct incoming *order,
                   enum message_type type, size_t written)
{
    cleanup_message struct message message;
    message_init(&message, type);
    message_add_number(&message, FIELD_SERIAL, message_number(order, FIELD_SERIAL, 0));
    if (type == MESSAGE_WROTE) {
        message_add_number(&message, FIELD_WRITTEN, (int64_t)written);
    }
    if (message_send(peers->all[index], &message, NULL, 0) < 0) {
        close_fd(&peers->all[index]); /* so that it learns that no answer comes */
    }
}

void terminal_take_write(struct terminal *terminal, const struct incoming *order,
                         struct job_peers *peers, int index)
{
    static const enum message_type answers[] = {
        [TERMINAL_TOOK] = MESSAGE_WROTE,
        [TERMINAL_LINE_TOO_LONG] = MESSAGE_LINE_TOO_LONG,
        [TERMINAL_GONE] = MESSAGE_NO_STDIN,
    };
    size_t length = 0;
    size_t written = 0;
    const char *data = message_bytes(order, FIELD_DATA, &length);
    bool eof = message_number(order, FIELD_EOF, 0) != 0;
    enum terminal_input taken =
        data == NULL ? TERMINAL_GONE : terminal_write(terminal, data, length, eof, &written);
    peers->wants_room[index] = taken == TERMINAL_TOOK && written < length;
    answer(peers, index, order, answers[taken], written);
}

void terminal_take_resize(struct terminal *terminal, const struct incoming *order,
                          struct job_peers *peers, int index)
{
    struct terminal_size size;
    if (terminal->master < 0 || !terminal_size_of(order, &size)) {
        answer(peers, index, order, MESSAGE_NO_STDIN, 0);
        return;
    }
    if (terminal_resize(terminal, &size) < 0) {
        log_at(LOG_WARNING, "runner: the size of a terminal: %m");
    }
    answer(peers, index, order, MESSAGE_WROTE, 0);
}

void terminal_offer_room(struct terminal *terminal, struct job_peers *peers)
{
    if (!terminal_has_room(terminal)) {
        return;
    }
    for (int i = 0; i < JOB_PEERS_MAX; i++) {
        if (peers->wants_room[i] && peers->all[i] >= 0 &&
            message_send_plain(peers->all[i], MESSAGE_ROOM) < 0) {
            close_fd(&peers->all[i]);
        }
        peers->wants_room[i] = false;
    }
}
