/*
 * PUT of a tree. The body goes into tar's standard input as it comes: a tar that is slow makes the
 * client wait, and nothing of the archive lies on a disk. Meanwhile tar's list of members and its
 * complaints are read, so that it never waits for us.
 */
#include "fcgi-app/files/archive_put.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/error_text.h"
#include "common/io.h"
#include "common/logger.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/files/archive.h"
#include "fcgi-app/files/archive_listing.h"
#include "fcgi-app/files/archive_scripts.h"
#include "fcgi-app/files/body_digest.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/raw_limits.h"
#include "fcgi-app/files/served_file.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/body_parts.h"
#include "fcgi-app/http/json_body.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/stopping.h"
#include "fcgi-app/http/writer.h"

#define BUFFER_SIZE ((size_t)262144) /* of the body: as much as nginx sends at once */
#define PIECE_SIZE  ((size_t)65536)  /* of what tar says */
#define LOOK_MS     100              /* how often we look at the disk, and at what tar says */
#define LIST_SIZE   1048576          /* of the pipe of the list, which then holds tar up less */
#define OF_A_SIGNAL 128     /* a shell's status for a program that a signal ended is more */
#define INPUT_SIZE  1048576 /* of the pipe of the archive */
#define CLEAR_MS    60000   /* for the bits of an archive that was given up */

/* An archive on its way into tar. */
struct extraction {
    struct request *request; /* borrowed, as the next two */
    const char *path;
    const struct archive_kind *kind;
    struct foreground foreground;
    int input;    /* write end of tar's standard input; -1: tar reads no more, or has had all */
    char *buffer; /* BUFFER_SIZE bytes for the body, and PIECE_SIZE for what tar says; owned */
    uint64_t received;
    time_t begun;    /* no file of the archive was changed before */
    int64_t look_at; /* on the monotonic clock, ms: at the disk, and at what tar says */
    bool body_ended;
    struct body_digest digest;
    struct archive_listing listing;
    struct archive_complaint complaint;
};

/* What became of the body. */
enum feed_result {
    FEED_DONE,     /* tar has it, or has had enough */
    FEED_ANSWERED, /* the request has been answered, or nobody waits for an answer */
    FEED_STOPPING, /* the server is */
    FEED_FAILED,   /* errno says why */
};

/* ---- answers ---- */

static int status_of_extraction(enum api_error error)
{
    switch (error) {
    case ERROR_too_large: return 413;
    case ERROR_not_a_directory: return 409;
    default: return raw_status(error);
    }
}

static void refuse_extraction(const struct extraction *extraction, enum api_error error,
                              const char *reason)
{
    char progress[ARCHIVE_PROGRESS_SIZE];
    bool has_no_program = error == ERROR_unsupported;
    answer_error(extraction->request, has_no_program ? 501 : status_of_extraction(error), error,
                 "extract to %s: %s (%s)", extraction->path, reason,
                 archive_listing_progress(&extraction->listing, progress));
}

/* For what may be repeated by no client by itself. */
static void refuse_lost(const struct extraction *extraction, const char *reason)
{
    char progress[ARCHIVE_PROGRESS_SIZE];
    log_request(is_stopping() ? LOG_NOTICE : LOG_ERR, request_id(extraction->request),
                "extract: %s", reason);
    answer_lost(extraction->request, "extract to %s: %s (%s)", extraction->path, reason,
                archive_listing_progress(&extraction->listing, progress));
}

/* ---- before the body ---- */

static uint64_t room_of(const char *path)
{
    struct statvfs disk;
    return statvfs(path, &disk) != 0 ? UINT64_MAX : (uint64_t)disk.f_bavail * disk.f_frsize;
}

/* NULL, or what is wrong with the request. */
static const char *fault_of(struct extraction *extraction, const struct json_body *query)
{
    if (json_text(query, "include") != NULL || json_text(query, "exclude") != NULL) {
        return "include and exclude choose what is sent, not what is received";
    }
    if (*request_param(extraction->request, "HTTP_CONTENT_RANGE") != '\0') {
        return "Content-Range cannot be that of an archive";
    }
    return body_digest_begin(&extraction->digest, extraction->request);
}

/* False when the request has been answered. */
static bool check_request(struct extraction *extraction, const struct json_body *query)
{
    const char *coding = request_param(extraction->request, "HTTP_CONTENT_ENCODING");
    if (*coding != '\0' && strcasecmp(coding, "identity") != 0) {
        answer_error_with(extraction->request, 415, ERROR_unsupported,
                          "Accept-Encoding: identity\r\n", 0,
                          "An archive must come without Content-Encoding");
        return false;
    }
    const char *fault = fault_of(extraction, query);
    if (fault != NULL) {
        answer_error(extraction->request, 400, ERROR_invalid_request, "%s", fault);
    }
    return fault == NULL;
}

/* The directory is there, or is made where the client wishes that. False when it has been answered.
 */
static bool check_target(struct extraction *extraction, const struct json_body *query)
{
    struct stat status;
    struct fs_error error;
    const char *path = extraction->path;
    int result = served_file_check(path, 0, "write", &error);
    if (result == 0 && json_flag(query, "parents")) {
        result = fs_make_directory(path, &error);
    }
    if (result == 0) {
        result = fs_stat(path, false, &status, &error);
    }
    if (result == 0 && !S_ISDIR(status.st_mode)) {
        result = fs_fail(&error, ENOTDIR, "write", path);
    }
    if (result != 0) {
        raw_refuse_write(extraction->request, &error);
    }
    return result == 0;
}

/* Whether the disk has room for the body, as far as its size is known; if not it has been answered.
 */
static bool check_size(const struct extraction *extraction)
{
    uint64_t length = request_body_length(extraction->request);
    length = length == UINT64_MAX ? 0 : length;
    bool is_plain = *extraction->kind->options == '\0';
    return raw_limits_check_size(extraction->request, length) == 0 &&
           raw_limits_check_room(extraction->request, extraction->path, room_of(extraction->path),
                                 is_plain ? length : 0) == 0;
}

/* ---- while the body comes ---- */

static int take_tars_output(void *context, enum pump_stream stream, const char *data, size_t length)
{
    struct extraction *extraction = context;
    if (stream == PUMP_STDOUT) {
        archive_listing_take(&extraction->listing, data, length);
    } else {
        archive_hear(&extraction->complaint, data, length);
    }
    return 0;
}

/* What tar has said so far. The end of a pipe is left to the pump. */
static void hear_tar(struct extraction *extraction)
{
    const int pipes[] = {extraction->foreground.out, extraction->foreground.err};
    char *text = extraction->buffer + BUFFER_SIZE;
    for (int stream = 0; stream < 2; stream++) {
        ssize_t got;
        while ((got = io_read_some(pipes[stream], text, PIECE_SIZE)) > 0) {
            (void)take_tars_output(extraction, (enum pump_stream)stream, text, (size_t)got);
        }
    }
}

/* Now and then: the list would wake us for each member, and tar waits only when its pipe is full.
 */
static enum feed_result look_around(struct extraction *extraction)
{
    int64_t now = clock_monotonic_ms();
    if (now < extraction->look_at) {
        return FEED_DONE;
    }
    extraction->look_at = now + LOOK_MS;
    hear_tar(extraction);
    if (raw_limits_has_room(room_of(extraction->path), 0)) {
        return FEED_DONE;
    }
    refuse_extraction(extraction, ERROR_no_space,
                      "The disk has no more than SANDBOX_MIN_FREE left");
    return FEED_ANSWERED;
}

/* Waits until tar takes more, for a while. */
static enum feed_result await_tar(struct extraction *extraction)
{
    struct pollfd polled[] = {
        {.fd = extraction->input, .events = POLLOUT},
        {.fd = request_fd(extraction->request), .events = POLLRDHUP},
        {.fd = stopping_fd(), .events = POLLIN},
    };
    bool is_ready = io_poll(polled, 3, LOOK_MS) > 0;
    if (is_ready && polled[1].revents != 0) {
        return FEED_ANSWERED;
    }
    if (is_ready && polled[2].revents != 0) {
        return FEED_STOPPING;
    }
    return look_around(extraction);
}

/* Writes a piece of the body. A tar that reads no more has found the end, or a fault. */
static enum feed_result feed_tar(struct extraction *extraction, const char *data, size_t length)
{
    enum feed_result result = FEED_DONE;
    while (length > 0 && extraction->input >= 0 && result == FEED_DONE) {
        ssize_t written = write(extraction->input, data, length);
        if (written >= 0) {
            data += written;
            length -= (size_t)written;
            result = look_around(extraction);
        } else if (errno == EPIPE) {
            close_fd(&extraction->input);
        } else if (errno == EAGAIN) {
            result = await_tar(extraction);
        } else if (errno != EINTR) {
            result = FEED_FAILED;
        }
    }
    return result;
}

/* A piece of the body, which may be too much. */
static enum feed_result take_archive_piece(struct extraction *extraction,
                                           const struct body_part *piece)
{
    extraction->received += piece->length;
    metrics_transferred(TRANSFER_IN, piece->length);
    body_digest_add(&extraction->digest, piece->data, piece->length);
    return raw_limits_check_size(extraction->request, extraction->received) != 0
               ? FEED_ANSWERED
               : feed_tar(extraction, piece->data, piece->length);
}

/* Reads on, or to the end of the body. */
static enum feed_result read_archive(struct extraction *extraction)
{
    struct body_parts parts;
    enum feed_result result = FEED_DONE;
    ssize_t got = request_read_parts(extraction->request, extraction->buffer, BUFFER_SIZE, &parts);
    if (got < 0) {
        return FEED_ANSWERED; /* it was cut: no one waits for an answer */
    }
    extraction->body_ended = got == 0;
    for (size_t i = 0; got > 0 && i < parts.count && result == FEED_DONE; i++) {
        result = take_archive_piece(extraction, &parts.part[i]);
    }
    return result;
}

/* From the first byte of the body to the last, or until tar takes no more. */
static enum feed_result feed_body(struct extraction *extraction)
{
    enum feed_result result = FEED_DONE;
    while (result == FEED_DONE && extraction->input >= 0 && !extraction->body_ended) {
        result = read_archive(extraction);
    }
    return result;
}

/* ---- the end ---- */

/* What follows an archive's end is no part of it, but of the body: of its size and its digest. */
static bool read_rest(struct extraction *extraction)
{
    while (!extraction->body_ended) {
        if (read_archive(extraction) != FEED_DONE) {
            return false;
        }
    }
    return true;
}

static void answer_extraction(struct extraction *extraction)
{
    const struct archive_listing *listing = &extraction->listing;
    if (!read_rest(extraction)) {
        return;
    }
    if (listing->members == 0) {
        refuse_extraction(extraction, ERROR_invalid_request, "The archive is empty");
    } else if (!listing->ends) {
        refuse_extraction(extraction, ERROR_invalid_request, "The archive has no end: it was cut");
    } else if (!body_digest_holds(&extraction->digest)) {
        refuse_extraction(extraction, ERROR_invalid_request,
                          "The body is not what its digest says");
    } else {
        answer_fields(extraction->request, 200, FIELDS(NUMBER_FIELD("members", listing->members)));
    }
}

/* tar gives no reason for a file that the kernel took a part of: the disk is full then, or the file
 * is as large as it may be. */
static enum api_error error_of_tar(const struct extraction *extraction)
{
    enum api_error error = archive_error_of(&extraction->complaint, ERROR_invalid_request);
    if (error == ERROR_invalid_request &&
        strstr(extraction->complaint.text, ": Wrote only ") != NULL) {
        return room_of(extraction->path) < PIECE_SIZE ? ERROR_no_space : ERROR_too_large;
    }
    return error;
}

/* A command that was not to be interrupted. False when that has been answered. */
static bool check_end(const struct extraction *extraction, enum pump_result result)
{
    const char *failure = pump_failure(result, 0);
    if (result != PUMP_ENDED && failure != NULL) {
        refuse_lost(extraction, failure);
    }
    return result == PUMP_ENDED;
}

/* Takes the bits away that files of the archive may have. False when it has been answered. */
static bool clear_bits(struct extraction *extraction)
{
    static const struct pump_sink sink = {.data = take_tars_output};
    static const struct name_list no_variables = {.text = NULL};
    char script[ARCHIVE_SCRIPT_SIZE];
    struct ending ending = {.lost = true};
    cleanup_(foreground_end) struct foreground foreground = FOREGROUND_NONE;
    archive_script_to_clear_bits(extraction->begun, script);
    if (!archive_start(extraction->request, script, extraction->path, &no_variables, -1,
                       &foreground)) {
        return false;
    }
    enum pump_result result =
        pump_run(&foreground, extraction->request, &sink, extraction, &ending);
    if (!check_end(extraction, result)) {
        return false;
    }
    if (ending.lost || ending.reason != END_EXIT || ending.code != 0) {
        refuse_lost(extraction, "Set-user-ID bits could not be taken away");
        return false;
    }
    return true;
}

/* Takes the bits away of what there is of an archive that was given up. Nobody waits for an answer,
 * and who left does not end this. (Nearly no archive has bits, but who knows what tar has not said
 * yet.) */
static void clear_bits_of_rest(struct extraction *extraction)
{
    static const struct name_list no_variables = {.text = NULL};
    char script[ARCHIVE_SCRIPT_SIZE];
    cleanup_(foreground_end) struct foreground foreground = FOREGROUND_NONE;
    foreground_end(&extraction->foreground); /* with all that tar has begun */
    archive_script_to_clear_bits(extraction->begun, script);
    if (archive_start(extraction->request, script, extraction->path, &no_variables, -1,
                      &foreground)) {
        struct pollfd end = {.fd = foreground.lease, .events = POLLIN};
        (void)io_poll(&end, 1, CLEAR_MS);
    }
}

static void conclude(struct extraction *extraction, enum pump_result result,
                     const struct ending *ending)
{
    if (!check_end(extraction, result) ||
        (extraction->listing.sets_id && !clear_bits(extraction))) {
        clear_bits_of_rest(extraction);
        return;
    }
    if (ending->lost) {
        refuse_lost(extraction, COMMAND_LOST);
    } else if (ending->reason != END_EXIT || ending->code > OF_A_SIGNAL) {
        refuse_lost(extraction, ending->reason == END_TIMEOUT
                                    ? "tar took longer than SANDBOX_MAX_TIMEOUT"
                                : ending->reason == END_OOM ? "tar was out of memory"
                                                            : "tar was killed");
    } else if (ending->code == 0) {
        answer_extraction(extraction);
    } else {
        refuse_extraction(extraction,
                          ending->code == ARCHIVE_NO_PROGRAM ? ERROR_unsupported
                                                             : error_of_tar(extraction),
                          archive_complaint_text(&extraction->complaint));
    }
}

/* From the start of tar to its end. */
static void extract_body(struct extraction *extraction)
{
    static const struct pump_sink sink = {.data = take_tars_output};
    struct ending ending = {.lost = true};
    /* Fewer, larger pieces. A refusal does no harm. */
    (void)fcntl(extraction->foreground.out, F_SETPIPE_SZ, LIST_SIZE);
    (void)fcntl(extraction->input, F_SETPIPE_SZ, INPUT_SIZE);
    switch (feed_body(extraction)) {
    case FEED_STOPPING: refuse_lost(extraction, "The server is stopping"); return;
    case FEED_FAILED:
        refuse_lost(extraction, error_text(errno));
        clear_bits_of_rest(extraction);
        return;
    case FEED_ANSWERED: clear_bits_of_rest(extraction); return;
    case FEED_DONE: break;
    }
    close_fd(&extraction->input);
    conclude(extraction,
             pump_run(&extraction->foreground, extraction->request, &sink, extraction, &ending),
             &ending);
}

/* ---- the request ---- */

static void extraction_clear(struct extraction *extraction)
{
    close_fd(&extraction->input);
    foreground_end(&extraction->foreground);
    free(extraction->buffer);
}

/* False when the request has been answered. */
static bool start_extraction(struct extraction *extraction)
{
    int ends[2];
    char script[ARCHIVE_SCRIPT_SIZE];
    static const struct name_list no_variables = {.text = NULL};
    extraction->buffer = malloc(BUFFER_SIZE + PIECE_SIZE);
    if (extraction->buffer == NULL || pipe2(ends, O_CLOEXEC) < 0) {
        answer_error(extraction->request, 503, ERROR_unavailable, "%s", error_text(errno));
        return false;
    }
    cleanup_fd int output = ends[0];
    extraction->input = ends[1];
    if (fcntl(extraction->input, F_SETFL, O_NONBLOCK) < 0) {
        answer_error(extraction->request, 503, ERROR_unavailable, "%s", error_text(errno));
        return false;
    }
    extraction->begun = time(NULL) - 1;
    archive_script_to_extract(extraction->kind, script);
    return archive_start(extraction->request, script, extraction->path, &no_variables, output,
                         &extraction->foreground);
}

void archive_put(struct request *request, const struct json_body *query, const char *path)
{
    cleanup_(extraction_clear) struct extraction extraction = {.request = request,
                                                               .path = path,
                                                               .kind =
                                                                   archive_kind_of(request, query),
                                                               .foreground = FOREGROUND_NONE,
                                                               .input = -1};
    if (extraction.kind != NULL && check_request(&extraction, query) &&
        check_target(&extraction, query) && check_size(&extraction) &&
        start_extraction(&extraction)) {
        extract_body(&extraction);
    }
}
