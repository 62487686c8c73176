/*
 * Requests to ports that wait until somebody listens: nginx asks before it passes such a request on
 * (nginx/snippets/port-named.conf). A request that waits has no thread. One thread looks which
 * ports listen, and only while somebody waits.
 */
#pragma once

struct request;
struct settings;

/* Remembers SANDBOX_PORT_WAIT and SANDBOX_MAX_HELD. Call once, before threads. */
void hold_init(const struct settings *settings);

/* Makes the thread. 0, or -1 with errno. Call once, before the first request. */
int hold_start(void);

/*
 * Answers nginx's question about a port, now or later, by a header. 204 with "X-Sandbox-Held:
 * ADDRESS:PORT": that is where somebody listens. 403 with a JSON error: nobody does, or it may not
 * be reached. The request must have a long-running place.
 */
void hold_request(struct request *request);
