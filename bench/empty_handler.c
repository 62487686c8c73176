/*
 * The floor under small requests: fcgi-app's own FastCGI server with a handler that does nothing
 * but answer. Its listening socket on descriptor 0, as fcgi-app's.
 */
#include <signal.h>
#include <stdio.h>

#include "common/logger.h"
#include "fcgi-app/http/acceptor.h"
#include "fcgi-app/http/fcgi.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/workers.h"

static void answer(struct request *request, bool refuse)
{
    static const char text[] = "{\"status\":\"ok\"}";
    if (request_begin(request, 200, "application/json", "Content-Length: 15\r\n") == 0) {
        (void)request_write(request, text, sizeof(text) - 1);
    }
    (void)request_finish(request, !refuse);
}

int main(void)
{
    logger_open("empty_handler");
    sigset_t signals;
    int caught;
    (void)sigfillset(&signals);
    (void)sigprocmask(SIG_SETMASK, &signals, NULL);
    if (acceptor_open() < 0 || fcgi_init(answer, NULL) < 0 || workers_start() < 0 ||
        acceptor_start() < 0) {
        perror("empty_handler");
        return 1;
    }
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    return sigwait(&signals, &caught);
}
