/*
 * A request about an upload that is there: its record, and its part as far as it has come.
 */
#pragma once

#include <stdint.h>

#include "fcgi-app/uploads/upload_record.h"

struct request;

struct upload_session {
    struct upload_record record;
    int part;        /* open for reading and writing; -1 if the record is done */
    uint64_t offset; /* how much has come; the position of the part, with the lock */
};

enum upload_session_kind {
    UPLOAD_LOOK,   /* without the lock */
    UPLOAD_CHANGE, /* with it; 423 while another request is sending content */
    UPLOAD_END,    /* the same, but that request is ended */
};

/*
 * Opens the upload of this id. 0, or -1 when the request has been answered: 404 for one that is not
 * known, 410 for one whose part has gone or was changed by somebody else. Clear it in any case.
 * Thread-safe.
 */
int upload_session_open(struct upload_session *session, struct request *request, const char *id,
                        enum upload_session_kind kind);

/* Closes record and part, and gives the lock back. */
void upload_session_clear(struct upload_session *session);
