/*
 * What a WebSocket carries. Each function is called for one client at a time, and may end it, by
 * which `end` is called.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct asked;
struct session;

struct service {
    const char *path; /* with a slash at its end: all paths below it, too */

    /* Begins: calls session_accept() or session_refuse(), now or later. `asked` is borrowed. */
    void (*open)(struct session *session, const struct asked *asked);

    /* Bytes of a binary message of the client's, which ends behind them, or goes on. */
    void (*bytes)(struct session *session, const unsigned char *bytes, size_t length, bool is_end);

    /* A whole text, UTF-8, with a NUL behind it. */
    void (*text)(struct session *session, const char *text, size_t length);

    /* All that was sent has been taken. */
    void (*room)(struct session *session);

    /* The client has gone: lets go of what session_context() is, if it is not NULL. Memory by
     * loop_free(), since its functions may be under way. */
    void (*end)(struct session *session);
};

/* The service of a path, among those up to a NULL; NULL: there is none. */
const struct service *service_find(const struct service *const *services, const char *path);
