/*
 * GET /tcp/N: a connection to a port, which the terminal daemon carries (terminal/tcp.c).
 */
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/socket.h"

static void handle_tcp(struct request *request, const struct json_body *body)
{
    (void)body;
    socket_answer(request, "@nginx_sandbox_tcp");
}

const struct endpoint tcp_endpoint = {
    API_ROW(tcp),
    .about = "Carries a TCP connection to a port of the sandbox over a WebSocket.",
    .handle = handle_tcp,
};
