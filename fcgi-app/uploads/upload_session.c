#include "fcgi-app/uploads/upload_session.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/fs_part.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/uploads/upload_holders.h"
#include "fcgi-app/uploads/upload_metadata.h"

#define TRIES 3 /* another request may end the upload meanwhile */

void upload_session_clear(struct upload_session *session)
{
    close_fd(&session->part);
    upload_record_clear(&session->record);
}

/* ---- the record ---- */

/* Answers for a record that cannot be opened or locked: errno. Always -1. */
static int refuse_record(struct request *request)
{
    struct fs_error error;
    switch (errno) {
    case ENOENT:
    case ELOOP:
    case EBADMSG:
        answer_error(request, 404, ERROR_not_found,
                     "There is no such upload: it has expired, was removed, or never was");
        return -1;
    case EWOULDBLOCK:
        answer_error_with(request, 423, ERROR_in_use, "Retry-After: 1\r\n", 0,
                          "Another request is sending content of this upload");
        return -1;
    default:
        (void)fs_fail(&error, errno, "open", "the record of the upload");
        raw_refuse(request, &error);
        return -1;
    }
}

/* 0 or -1 with errno. */
static int open_record(struct upload_record *record, const char *id, enum upload_session_kind kind)
{
    for (int i = 0; i < TRIES; i++) {
        if (upload_record_open(record, id) != 0) {
            return -1;
        }
        if (kind == UPLOAD_LOOK || upload_holders_lock(record, kind == UPLOAD_END) == 0) {
            return 0;
        }
        if (errno != ENOENT) {
            return -1;
        }
        upload_record_clear(record);
    }
    errno = ENOENT;
    return -1;
}

/* ---- the part ---- */

/* Whether the upload is done after all: its part has the target's name already. A daemon may have
 * died before it said so, and another request may have said so since the record was read. */
static bool is_done_after_all(struct upload_session *session, enum upload_session_kind kind)
{
    struct upload_record again;
    bool is_done = upload_record_open(&again, session->record.id) == 0 && again.is_done;
    upload_record_clear(&again);
    cleanup_(upload_metadata_clear) struct upload_metadata metadata;
    if (!is_done && upload_metadata_read(&metadata, session->record.metadata) == NULL &&
        fs_part_took(&session->record.part, metadata.path)) {
        is_done = kind == UPLOAD_LOOK || upload_record_finish(&session->record) == 0;
    }
    session->record.is_done = is_done;
    session->offset = session->record.length;
    return is_done;
}

static bool is_gone(int number)
{
    return number == ENOENT || number == ENOTDIR || number == ESTALE || number == EBADMSG ||
           number == ELOOP || number == EISDIR || number == ENXIO;
}

/* Answers with errno. Always -1. */
static int refuse_part(struct request *request, const struct upload_record *record)
{
    struct fs_error error;
    if (is_gone(errno)) {
        answer_error(request, 410, ERROR_not_found,
                     "What was uploaded has been moved, removed or changed: begin a new upload");
        return -1;
    }
    (void)fs_fail(&error, errno, "open", record->part.path);
    raw_refuse(request, &error);
    return -1;
}

/* How much of the part counts: not what has a checksum to pass yet. 0 or -1 with errno. */
static int measure_part(struct upload_session *session)
{
    struct stat status;
    uint64_t mark;
    if (fstat(session->part, &status) != 0) {
        return -1;
    }
    session->offset = (uint64_t)status.st_size;
    if (upload_record_is_marked(&session->record, &mark) && mark < session->offset) {
        session->offset = mark;
    }
    errno = ESTALE; /* somebody else wrote to it */
    return session->offset <= session->record.length ? 0 : -1;
}

/* Drops what never passed its checksum, because a daemon died. 0 or -1 with errno. */
static int settle_part(const struct upload_session *session)
{
    if (ftruncate(session->part, (off_t)session->offset) != 0 ||
        lseek(session->part, (off_t)session->offset, SEEK_SET) < 0) {
        return -1;
    }
    upload_record_unmark(&session->record);
    return 0;
}

int upload_session_open(struct upload_session *session, struct request *request, const char *id,
                        enum upload_session_kind kind)
{
    *session = (struct upload_session){.part = -1, .record.fd = -1};
    if (open_record(&session->record, id, kind) != 0) {
        return refuse_record(request);
    }
    session->offset = session->record.length;
    if (session->record.is_done || kind == UPLOAD_END) {
        return 0;
    }
    session->part = fs_part_open(&session->record.part);
    if (session->part < 0 && is_gone(errno)) {
        int number = errno;
        if (is_done_after_all(session, kind)) {
            return 0;
        }
        errno = number;
    }
    if (session->part < 0 || measure_part(session) != 0 ||
        (kind == UPLOAD_CHANGE && settle_part(session) != 0)) {
        return refuse_part(request, &session->record);
    }
    return 0;
}
