/*
 * /uploads: the tus protocol for uploads that can be resumed, 1.0 (tus.io/protocols). POST begins
 * an upload, and the others are about /uploads/<id>.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "fcgi-app/files/fs_part.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/raw_limits.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/http_date.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/uploads/upload_answer.h"
#include "fcgi-app/uploads/upload_checksum.h"
#include "fcgi-app/uploads/upload_content.h"
#include "fcgi-app/uploads/upload_create.h"
#include "fcgi-app/uploads/upload_session.h"

#define EXTENSIONS "creation,creation-with-upload,checksum,termination,expiration"

/* ---- the methods ---- */

/* The state, with what the client said at the beginning. */
static void answer_state(struct request *request, const struct upload_session *session)
{
    const struct upload_record *record = &session->record;
    char *headers, date[HTTP_DATE_SIZE];
    if (asprintf(&headers,
                 "Upload-Offset: %" PRIu64 "\r\nUpload-Length: %" PRIu64
                 "\r\nUpload-Metadata: %s\r\nCache-Control: no-store\r\nContent-Length: "
                 "0\r\n%s%s%s",
                 session->offset, record->length, record->metadata,
                 record->is_done ? "" : "Upload-Expires: ",
                 record->is_done ? "" : http_date_format(record->expires, date),
                 record->is_done ? "" : "\r\n") < 0) {
        answer_error(request, 503, ERROR_unavailable, "Out of memory");
        return;
    }
    (void)request_begin(request, 200, NULL, headers);
    free(headers);
}

/*
 * HEAD. Clients take an upload with all its bytes for done, and never come back. So where a daemon
 * died between the last byte and the name, this request does what is left.
 */
static void upload_head(struct request *request, const char *id)
{
    cleanup_(upload_session_clear) struct upload_session session;
    int result = upload_session_open(&session, request, id, UPLOAD_LOOK);
    if (result == 0 && !session.record.is_done && session.offset == session.record.length) {
        upload_session_clear(&session);
        result = upload_session_open(&session, request, id, UPLOAD_CHANGE);
        if (result == 0 && !session.record.is_done && session.offset == session.record.length) {
            result = upload_content_publish(request, &session.record, session.part);
        }
    }
    if (result == 0) {
        answer_state(request, &session);
    }
}

/* 0, or -1 when it has been answered that the client is wrong about the upload. */
static int check_offset(struct request *request, const struct upload_session *session,
                        uint64_t offset)
{
    char header[64];
    if (offset == session->offset) {
        return 0;
    }
    (void)snprintf(header, sizeof(header), "Upload-Offset: %" PRIu64 "\r\n", session->offset);
    answer_error_with(request, 409, ERROR_precondition_failed, header, 0,
                      "The upload is at offset %" PRIu64, session->offset);
    return -1;
}

/* PATCH. */
static void upload_append(struct request *request, const char *id)
{
    uint64_t offset;
    cleanup_(upload_session_clear) struct upload_session session = {.part = -1, .record.fd = -1};
    if (!upload_has_content_type(request)) {
        upload_refuse_content_type(request);
        return;
    }
    if (!upload_number_read(request_param(request, "HTTP_UPLOAD_OFFSET"), &offset)) {
        answer_error(request, 400, ERROR_invalid_request,
                     "Upload-Offset must be a number of bytes");
        return;
    }
    if (upload_session_open(&session, request, id, UPLOAD_CHANGE) != 0 ||
        check_offset(request, &session, offset) != 0) {
        return;
    }
    if (!session.record.is_done) {
        int result =
            upload_content_receive(request, &session.record, session.part, &session.offset);
        upload_record_prolong(&session.record);
        if (result != 0 || (session.offset == session.record.length &&
                            upload_content_publish(request, &session.record, session.part) != 0)) {
            return;
        }
    }
    upload_answer(request, 204, &session, NULL);
}

/* DELETE. A file that has its name stays. */
static void upload_delete(struct request *request, const char *id)
{
    cleanup_(upload_session_clear) struct upload_session session;
    if (upload_session_open(&session, request, id, UPLOAD_END) == 0) {
        fs_part_remove(&session.record.part);
        upload_record_remove(&session.record);
        (void)request_begin(request, 204, NULL, NULL);
    }
}

/* ---- the endpoint ---- */

/* What this is asked to do: some clients cannot send PATCH or DELETE, and name them in a header. */
static const char *method_of(const struct request *request)
{
    const char *method = request_method(request);
    const char *override = request_param(request, "HTTP_X_HTTP_METHOD_OVERRIDE");
    return strcmp(method, "POST") == 0 && *override != '\0' ? override : method;
}

static void handle_upload(struct request *request, const char *id)
{
    const char *method = method_of(request);
    if (!upload_id_is(id)) {
        answer_error(request, 404, ERROR_not_found, "There is no such upload");
    } else if (strcmp(method, "PATCH") == 0) {
        upload_append(request, id);
    } else if (strcmp(method, "HEAD") == 0) {
        upload_head(request, id);
    } else if (strcmp(method, "DELETE") == 0) {
        upload_delete(request, id);
    } else {
        answer_error_with(request, 405, ERROR_method_not_allowed,
                          "Allow: HEAD, PATCH, DELETE, OPTIONS\r\n", 0, "Method not allowed");
    }
}

static void handle_uploads(struct request *request, const struct json_body *query)
{
    (void)query;
    const char *path = request_param(request, "RAW_PATH");
    if (raw_check_coding(request) != 0) {
        return;
    }
    if (strcmp(request_param(request, "HTTP_TUS_RESUMABLE"), UPLOAD_TUS_VERSION) != 0) {
        answer_error_with(request, 412, ERROR_unsupported,
                          "Tus-Version: " UPLOAD_TUS_VERSION "\r\n", 0,
                          "Tus-Resumable must be " UPLOAD_TUS_VERSION);
    } else if (*path == '\0' && strcmp(request_path(request), "/uploads") != 0) {
        answer_error(request, 404, ERROR_not_found, "Not found: the path must begin with /uploads");
    } else if (*path != '\0' && strcmp(path, "/") != 0) {
        handle_upload(request, path + 1);
    } else if (strcmp(method_of(request), "POST") == 0) {
        upload_create(request);
    } else {
        answer_error_with(request, 405, ERROR_method_not_allowed, "Allow: POST, OPTIONS\r\n", 0,
                          "Method not allowed");
    }
}

/* What a client can know before it begins. */
static void answer_upload_options(struct request *request, const char *allow)
{
    char headers[512];
    uint64_t most = raw_limits_upload_max();
    int length = snprintf(headers, sizeof(headers),
                          "%sTus-Version: " UPLOAD_TUS_VERSION "\r\nTus-Extension: " EXTENSIONS
                          "\r\nTus-Checksum-Algorithm: " UPLOAD_CHECKSUM_ALGORITHMS "\r\n",
                          allow);
    if (most != UINT64_MAX) {
        (void)snprintf(headers + length, sizeof(headers) - (size_t)length,
                       "Tus-Max-Size: %" PRIu64 "\r\n", most);
    }
    (void)request_begin(request, 204, NULL, headers);
}

const struct endpoint uploads_endpoint = {
    API_ROW(uploads),
    .about = "Uploads that can be resumed, by the tus protocol 1.0.",
    .answer_options = answer_upload_options,
    .handle = handle_uploads,
};
