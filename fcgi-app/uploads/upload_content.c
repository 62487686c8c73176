#include "fcgi-app/uploads/upload_content.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/fs_bytes.h"
#include "fcgi-app/files/fs_part.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/raw_limits.h"
#include "fcgi-app/files/served_file.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/uploads/upload_checksum.h"
#include "fcgi-app/uploads/upload_holders.h"
#include "fcgi-app/uploads/upload_metadata.h"
#include "fcgi-app/uploads/upload_record.h"

#define BODY_PIECE ((size_t)65536)

/* ---- receiving ---- */

/* A body on its way into a part. */
struct reception {
    struct request *request; /* borrowed, as the record */
    const struct upload_record *record;
    int part;
    uint64_t offset;
    uint64_t room_at; /* look at the disk again when so much is there */
    struct upload_checksum checksum;
};

static int check_disk(struct reception *reception, uint64_t more)
{
    struct statvfs disk;
    uint64_t room = fstatvfs(reception->part, &disk) != 0 ? UINT64_MAX
                                                          : (uint64_t)disk.f_bavail * disk.f_frsize;
    reception->room_at = reception->offset + RAW_ROOM_EVERY;
    return raw_limits_check_room(reception->request, reception->record->part.path, room, more);
}

static int refuse_excess(const struct reception *reception)
{
    answer_error(reception->request, 413, ERROR_too_large,
                 "The upload would be longer than its Upload-Length, %llu",
                 (unsigned long long)reception->record->length);
    return -1;
}

static int take_bytes(struct reception *reception, const char *piece, size_t length)
{
    struct fs_error error;
    metrics_transferred(TRANSFER_IN, length);
    if (length > reception->record->length - reception->offset) {
        return refuse_excess(reception);
    }
    upload_checksum_add(&reception->checksum, piece, length);
    if (fs_bytes_write(reception->part, piece, length) != 0) {
        (void)fs_fail(&error, errno, "write", reception->record->part.path);
        raw_refuse_write(reception->request, &error);
        return -1;
    }
    reception->offset += length;
    return reception->offset < reception->room_at ? 0 : check_disk(reception, 0);
}

/* 0 at the end of the body; -1 if it was cut, or was answered. */
static int take_body(struct reception *reception, struct upload_holder *holder)
{
    cleanup_free char *piece = malloc(BODY_PIECE);
    if (piece == NULL) {
        answer_error(reception->request, 503, ERROR_unavailable, "Out of memory");
        return -1;
    }
    for (;;) {
        upload_holder_waits(holder, true);
        ssize_t got = request_read(reception->request, piece, BODY_PIECE);
        upload_holder_waits(holder, false);
        if (got <= 0) {
            return got == 0 ? 0 : -1;
        }
        if (take_bytes(reception, piece, (size_t)got) != 0) {
            return -1;
        }
    }
}

static int take_body_as_holder(struct reception *reception)
{
    struct upload_holder holder = {.id = reception->record->id,
                                   .connection = request_fd(reception->request)};
    upload_holder_enter(&holder);
    int result = take_body(reception, &holder);
    upload_holder_leave(&holder);
    return result;
}

/* The same, where only all of the body counts, or nothing. */
static int take_checked_body(struct reception *reception)
{
    struct fs_error error;
    uint64_t begin = reception->offset;
    if (upload_record_mark(reception->record, begin) != 0) {
        (void)fs_fail(&error, errno, "write", "the mark of the upload");
        raw_refuse_write(reception->request, &error);
        return -1;
    }
    int result = take_body_as_holder(reception);
    if (result == 0 && !upload_checksum_holds(&reception->checksum)) {
        answer_error(reception->request, 460, ERROR_invalid_request,
                     "The body is not what its checksum says");
        result = -1;
    }
    if (result != 0) {
        reception->offset = begin;
        if (ftruncate(reception->part, (off_t)begin) != 0) {
            return -1; /* the mark stays, and says where to cut */
        }
    }
    upload_record_unmark(reception->record);
    return result;
}

int upload_content_receive(struct request *request, const struct upload_record *record, int part,
                           uint64_t *offset)
{
    struct reception reception = {
        .request = request, .record = record, .part = part, .offset = *offset};
    uint64_t length = request_body_length(request);
    const char *fault =
        upload_checksum_begin(&reception.checksum, request_param(request, "HTTP_UPLOAD_CHECKSUM"));
    if (fault != NULL) {
        answer_error(request, 400, ERROR_invalid_request, "%s", fault);
        return -1;
    }
    length = length == UINT64_MAX ? 0 : length;
    if (length > record->length - *offset) {
        return refuse_excess(&reception);
    }
    if (check_disk(&reception, length) != 0) {
        return -1;
    }
    int result = reception.checksum.algorithm == UPLOAD_NO_CHECKSUM
                     ? take_body_as_holder(&reception)
                     : take_checked_body(&reception);
    *offset = reception.offset;
    return result;
}

/* ---- the end ---- */

static void refuse_publication(struct request *request, const struct upload_metadata *metadata,
                               const struct fs_written *written, const struct fs_error *error)
{
    if (written->is_damaged) {
        answer_lost(request, "%s, and some of the new content is in the file", error->message);
    } else if (metadata->wish.exclusive && error->code == ERROR_exists) {
        answer_error(request, 412, ERROR_precondition_failed, "%s", error->message);
    } else {
        raw_refuse_write(request, error);
    }
}

int upload_content_publish(struct request *request, struct upload_record *record, int part)
{
    struct fs_error error;
    struct fs_written written = {.created = false};
    cleanup_(upload_metadata_clear) struct upload_metadata metadata;
    const char *fault = upload_metadata_read(&metadata, record->metadata);
    if (fault != NULL) {
        answer_error(request, 400, ERROR_invalid_request, "%s", fault);
        return -1;
    }
    struct fs_writer *writer = NULL;
    if (served_file_check(metadata.path, 0, "write", &error) == 0) {
        writer = fs_write_resume(metadata.path, &record->part, part, &error);
    }
    if (writer == NULL || fs_write_publish(writer, &metadata.wish, &written, &error) != 0) {
        refuse_publication(request, &metadata, &written, &error);
        return -1;
    }
    if (upload_record_finish(record) != 0) {
        log_request(LOG_WARNING, request_id(request), "the record of an upload: %m");
    }
    fs_part_remove(&record->part); /* of a file that was written in place */
    return 0;
}
