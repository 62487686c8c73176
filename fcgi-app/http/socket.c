#include "fcgi-app/http/socket.h"

#include <stdio.h>

#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/request.h"

void socket_answer(struct request *request, const char *location)
{
    char header[64];
    if (*request_param(request, "WS_ASKED") == '\0') {
        answer_error_with(request, 426, ERROR_invalid_request,
                          "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", 0,
                          "This is a WebSocket: a request with Upgrade: websocket is expected");
        return;
    }
    (void)snprintf(header, sizeof(header), "X-Accel-Redirect: %s\r\n", location);
    if (request_begin(request, 200, NULL, header) == 0) {
        (void)request_flush(request); /* what fails is seen when it ends */
    }
}
