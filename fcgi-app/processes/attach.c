/*
 * GET /attach: a terminal, which the terminal daemon carries (terminal/attach.c).
 */
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/socket.h"
#include "fcgi-app/processes/process_id.h"

static void handle_attach(struct request *request, const struct json_body *body)
{
    (void)body;
    socket_answer(request, "@nginx_sandbox_attach");
}

static const struct json_member attach_members[] = {
    PROCESS_ID_MEMBER,
    {JSON_MEMBER("offset", TEXT, "Where in the output to begin; without it near the end.")},
    {JSON_MEMBER("mode", TEXT, "view: what the client sends is not typed.")},
};
const struct endpoint attach_endpoint = {
    API_ROW(attach),
    .about = "Attaches to the terminal of a process over a WebSocket.",
    MEMBERS(attach_members),
    .handle = handle_attach,
};
