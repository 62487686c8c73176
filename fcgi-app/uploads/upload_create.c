/*
 * POST of /uploads. In this order, so that a daemon that dies leaves nothing without a record: the
 * part without a name, the record, the name of the part.
 */
#include "fcgi-app/uploads/upload_create.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/fs_part.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/raw_limits.h"
#include "fcgi-app/files/served_file.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/uploads/upload_answer.h"
#include "fcgi-app/uploads/upload_content.h"
#include "fcgi-app/uploads/upload_metadata.h"
#include "fcgi-app/uploads/upload_session.h"

static int refuse_creation(struct request *request, const char *what)
{
    answer_error(request, 400, ERROR_invalid_request, "%s", what);
    return -1;
}

/* Reads what the upload is to be. 0, or -1 when the request has been answered. */
static int read_creation(struct request *request, struct upload_record *record,
                         struct upload_metadata *metadata)
{
    const char *text = request_param(request, "HTTP_UPLOAD_METADATA");
    const char *fault = upload_metadata_read(metadata, text);
    if (!upload_number_read(request_param(request, "HTTP_UPLOAD_LENGTH"), &record->length)) {
        return refuse_creation(request, "Upload-Length must be the length of the file in bytes");
    }
    if (fault != NULL) {
        return refuse_creation(request, fault);
    }
    if (!upload_has_content_type(request) && request_body_length(request) != UINT64_MAX &&
        request_body_length(request) > 0) {
        upload_refuse_content_type(request);
        return -1;
    }
    if (raw_limits_check_size(request, record->length) != 0) {
        return -1;
    }
    record->metadata = strdup(text);
    return record->metadata != NULL ? 0 : refuse_creation(request, "Out of memory");
}

/* Looks at the target and makes the part, without a name. NULL when it has been answered. */
static struct fs_writer *open_target(struct request *request, struct upload_record *record,
                                     const struct upload_metadata *metadata)
{
    struct fs_error error;
    struct fs_writer *writer = NULL;
    if (served_file_check(metadata->path, 0, "write", &error) == 0 &&
        (!metadata->parents || fs_make_parents(metadata->path, &error) == 0)) {
        writer = fs_write_begin_part(metadata->path, &record->part, &error);
    }
    if (writer == NULL) {
        raw_refuse_write(request, &error);
        return NULL;
    }
    if (raw_limits_check_room(request, metadata->path, fs_write_room(writer), record->length) !=
        0) {
        fs_write_cancel(writer);
        return NULL;
    }
    return writer;
}

/* Makes the record. 0, or -1 when it has been answered. */
static int make_record(struct request *request, struct upload_record *record)
{
    struct fs_error error;
    if (upload_record_make(record) == 0) {
        return 0;
    }
    if (errno == EUSERS) {
        answer_error_with(request, 503, ERROR_unavailable, "Retry-After: 5\r\n", 0,
                          "Too many uploads at once (SANDBOX_MAX_UPLOADS)");
        return -1;
    }
    (void)fs_fail(&error, errno, "write", "the record of the upload");
    raw_refuse_write(request, &error);
    return -1;
}

/* Begins the upload. 0, or -1 when it has been answered. */
static int begin_upload(struct request *request, struct upload_session *session,
                        const struct upload_metadata *metadata)
{
    struct fs_error error;
    struct fs_writer *writer = open_target(request, &session->record, metadata);
    if (writer == NULL) {
        return -1;
    }
    int result = make_record(request, &session->record);
    if (result == 0 && fs_write_keep_part(writer, &session->record.part, &error) != 0) {
        raw_refuse_write(request, &error);
        upload_record_remove(&session->record);
        result = -1;
    }
    fs_write_cancel(writer); /* the part stays */
    return result;
}

/* The first bytes, and all that there is to do if these are all. 0, or -1 when it has been
 * answered, or the client left. */
static int take_first_bytes(struct request *request, struct upload_session *session)
{
    struct fs_error error;
    session->part = fs_part_open(&session->record.part);
    if (session->part < 0) {
        (void)fs_fail(&error, errno, "open", session->record.part.path);
        raw_refuse_write(request, &error);
        return -1;
    }
    if (upload_has_content_type(request) &&
        upload_content_receive(request, &session->record, session->part, &session->offset) != 0) {
        return -1;
    }
    return session->offset < session->record.length
               ? 0
               : upload_content_publish(request, &session->record, session->part);
}

void upload_create(struct request *request)
{
    cleanup_(upload_session_clear) struct upload_session session = {.part = -1, .record.fd = -1};
    cleanup_(upload_metadata_clear) struct upload_metadata metadata = {.path = NULL};
    if (read_creation(request, &session.record, &metadata) != 0 ||
        begin_upload(request, &session, &metadata) != 0) {
        return;
    }
    if (take_first_bytes(request, &session) != 0) {
        /* no client knows the id */
        fs_part_remove(&session.record.part);
        upload_record_remove(&session.record);
        return;
    }
    upload_answer(request, 201, &session, request_param(request, "RAW_PATH"));
}
