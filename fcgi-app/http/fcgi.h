/*
 * The FastCGI server: a thread for each connection of nginx, made on demand.
 */
#ifndef FCGI_APP_HTTP_FCGI_H
#define FCGI_APP_HTTP_FCGI_H

#include <stdbool.h>
#include <stdint.h>

struct request;

/*
 * Takes over the listening socket on descriptor 0 (which becomes /dev/null). Must run with SIGTERM
 * and SIGINT blocked, before any thread; it ignores SIGPIPE. 0, or -1 with errno.
 */
int fcgi_open(void);

/*
 * Starts to serve: calls `handle` for each request, in the thread of its connection. More than
 * `requests_max` requests at once are answered 503, and those that may last when they are somewhat
 * fewer. 0, or -1 with errno when no thread could be
 * made.
 */
int fcgi_start(unsigned requests_max, void (*handle)(struct request *request));

/* How many requests are being served, and how many connections wait to be accepted (-1: not known).
 * Thread-safe. */
unsigned fcgi_requests(void);
int64_t fcgi_backlog(void);

/*
 * The end of a request that was detached: its connection `fd` (taken over) serves on in a thread of
 * its own, or is closed if not `reuse`.
 */
void fcgi_take_back(int fd, bool reuse);

/*
 * Tells all requests to end (request_stopping) and waits until they have, at most `timeout_ms`. The
 * process must exit then. 0 when all have ended, -1 when the time was up.
 */
int fcgi_stop(int timeout_ms);

#endif
