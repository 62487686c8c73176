#include "fcgi-app/ports/held_answer.h"

#include <stdio.h>

#include "fcgi-app/ports/port_table.h"

#define HEADER      "X-Sandbox-Held: "
#define LISTED_MOST 64 /* ports that an error names */

bool held_answer_found(const struct held_question *question, const struct listening_list *list,
                       char line[HELD_ANSWER_SIZE])
{
    const struct listening_socket *end;
    const struct listening_socket *at = listening_find(list, question->port, &end);
    const char *address = NULL;
    for (; at != NULL && at < end; at++) {
        if (listening_at_loopback4(at)) {
            address = "127.0.0.1";
            break;
        }
        if (listening_at_loopback6(at)) {
            address = "[::1]";
        }
    }
    if (address != NULL) {
        (void)snprintf(line, HELD_ANSWER_SIZE, HEADER "%s:%u\r\n", address, question->port);
    }
    return address != NULL;
}

/* Appends the ports that a client could reach. */
static char *list_ports(const struct listening_list *list, char *out)
{
    unsigned last = 0;
    size_t count = 0;
    for (size_t i = 0; i < list->count && count < LISTED_MOST; i++) {
        const struct listening_socket *one = &list->sockets[i];
        if (one->port == last || port_is_own(one->port) ||
            !(listening_at_loopback4(one) || listening_at_loopback6(one))) {
            continue;
        }
        last = one->port;
        out += sprintf(out, "%s%u", count++ == 0 ? "" : ",", last);
    }
    return out;
}

void held_answer_nobody(const struct held_question *question, const struct listening_list *list,
                        long long waited_ms, char line[HELD_ANSWER_SIZE])
{
    char *out = line;
    out += sprintf(out,
                   HEADER "{\"error\":\"Nothing listens on port %u, after %lld ms\","
                          "\"error_code\":\"%s\",\"port\":%u,\"listening\":[",
                   question->port, waited_ms, api_error_code(ERROR_not_listening), question->port);
    out = list_ports(list, out);
    (void)sprintf(out, "]}\r\n");
}

void held_answer_foreign(const struct held_question *question, char line[HELD_ANSWER_SIZE])
{
    (void)snprintf(line, HELD_ANSWER_SIZE,
                   HEADER "{\"error\":\"Port %u may not be reached: no command of this sandbox "
                          "listens there, but another program\",\"error_code\":\"%s\"}\r\n",
                   question->port, api_error_code(ERROR_forbidden));
}

void held_answer_error(enum api_error error, const char *message, char line[HELD_ANSWER_SIZE])
{
    (void)snprintf(line, HELD_ANSWER_SIZE, HEADER "{\"error\":\"%s\",\"error_code\":\"%s\"}\r\n",
                   message, api_error_code(error));
}
