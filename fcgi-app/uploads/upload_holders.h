/*
 * The requests that are sending content of uploads at this moment. Only one may, for each upload
 * (upload_record_lock()). But nginx keeps the request of a client that has vanished without a word
 * for as long as a minute, and that client may be back by then, with a new request: so one that
 * has been silent for a while can be told to leave. All functions are thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-app/uploads/upload_record.h"

struct upload_holder {
    struct upload_holder *next;
    const char *id;       /* borrowed, as the connection */
    int connection;       /* of the request */
    int64_t silent_since; /* of clock_monotonic_ms(), while it waits for bytes; 0: it does not */
};

/* Lists the holder, which stays where it is until it leaves. */
void upload_holder_enter(struct upload_holder *holder);
void upload_holder_leave(struct upload_holder *holder);

/* Whether the holder waits for bytes of its client. */
void upload_holder_waits(struct upload_holder *holder, bool waits);

/* The right to change an upload, as upload_record_lock(), but a holder that has been silent for
 * two seconds (`at_once`: any) is told to leave, and awaited. */
int upload_holders_lock(const struct upload_record *record, bool at_once);
