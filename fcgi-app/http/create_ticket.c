/*
 * POST /create_ticket: a grant for one WebSocket, for clients that cannot send the token with it,
 * as browsers cannot. It is the last thing that is in no log: a subprotocol.
 */
#include <ctype.h>
#include <string.h>

#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/grant.h"
#include "fcgi-app/http/json_body.h"

/* Whether what follows is a query, or nothing, that nginx sees as it is here. */
static bool is_plain_query(const char *text)
{
    if (*text != '\0' && *text != '?') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (!isgraph((unsigned char)*text) || strchr("\"\\#", *text) != NULL) {
            return false;
        }
    }
    return true;
}

/* Whether each parameter is one that /attach has, and is written as it reads it: whoever means to
 * let somebody view must not let them type by a name that is written otherwise. */
static bool is_attach_query(const char *text)
{
    static const char *const names[] = {"id=", "offset=", "mode=", NULL};
    if (!is_plain_query(text) || strchr(text, '%') != NULL) {
        return false;
    }
    while (*text != '\0') {
        text++; /* a question mark, or an ampersand */
        int i = 0;
        while (names[i] != NULL && strncmp(text, names[i], strlen(names[i])) != 0) {
            i++;
        }
        if (names[i] == NULL) {
            return false;
        }
        text += strcspn(text, "&");
    }
    return true;
}

/* Whether it is the path of a WebSocket, and its query, as a client will send them. */
static bool is_socket_path(const char *path)
{
    static const char attach[] = "/attach", tcp[] = "/tcp/";
    if (strlen(path) > GRANT_TARGET_MOST) {
        return false;
    }
    if (strncmp(path, attach, sizeof(attach) - 1) == 0) {
        return is_attach_query(path + sizeof(attach) - 1);
    }
    if (strncmp(path, tcp, sizeof(tcp) - 1) != 0) {
        return false;
    }
    const char *port = path + sizeof(tcp) - 1;
    size_t digits = strspn(port, "0123456789");
    return digits > 0 && is_plain_query(port + digits);
}

static void handle_create_ticket(struct request *request, const struct json_body *body)
{
    const char *path = json_text(body, "path");
    if (!is_socket_path(path)) {
        answer_error(
            request, 400, ERROR_invalid_request,
            "path must be /attach with id, offset and mode, or /tcp/<port>, with the query "
            "that will be asked for");
        return;
    }
    uint64_t expires_ms = grant_expiry(request, body, GRANT_TICKET_MS);
    if (expires_ms != 0) {
        const struct grant grant = {
            .kind = "ticket", .method = "GET", .target = path, .expires_ms = expires_ms};
        grant_answer(request, &grant, GRANT_TICKET);
    }
}

static const struct json_member ticket_members[] = {
    {.name = "path",
     .kind = JSON_TEXT,
     .required = true,
     .missing = "path is required",
     .about = "The path and the query of the WebSocket, as /attach?id=..."},
    {JSON_MEMBER("expires_in_ms", COUNT, "How long the ticket is valid; a minute by default.")},
};
const struct endpoint create_ticket_endpoint = {
    API_ROW(create_ticket),
    .about = "Makes a ticket, which lets a client without the token open a WebSocket.",
    MEMBERS(ticket_members),
    .handle = handle_create_ticket,
};
