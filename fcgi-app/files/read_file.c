/*
 * POST /read_file. Unless the client says which coding it wants, the file is read to its end before
 * the answer begins, to see whether it is UTF-8.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/json_text.h"
#include "common/utf8.h"
#include "fcgi-app/files/base64.h"
#include "fcgi-app/files/content.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/stopping.h"
#include "fcgi-app/http/writer.h"

#define PIECE_SIZE  (64 << 10) /* of a file being read */
#define ENCODE_SIZE (3 << 10)  /* of a piece that becomes base64: whole groups */
#define FRAME_SIZE  512        /* at least what is around the content */

/* A file on its way into an answer. */
struct reading {
    int fd;
    bool has_size;
    uint64_t left; /* bytes still to be read at most */
    bool begun;    /* a piece was read already */
    /* Bytes in `input`: at the beginning, what the last piece left over. */
    size_t held;
    size_t room;
    char *input; /* room bytes */
    struct writer answer;
};

/*
 * A regular file is read up to the size that it had when it was opened: one that grows all the time
 * must not become an answer without end. A file of size 0 may be one of /proc, which has no size.
 */
static int reading_init(struct reading *reading, struct request *request, int fd, uint64_t size)
{
    *reading =
        (struct reading){.fd = fd, .has_size = size > 0, .left = size == 0 ? UINT64_MAX : size};
    reading->room = size == 0 || size > PIECE_SIZE ? PIECE_SIZE : (size_t)size;
    reading->input = malloc(reading->room);
    return reading->input == NULL
               ? -1
               : writer_init(&reading->answer, request,
                             JSON_ESCAPED_MAX(reading->room) + FRAME_SIZE, false);
}

static void reading_clear(struct reading *reading)
{
    free(reading->input);
    writer_clear(&reading->answer);
}

/* Reads the next piece into `input`. 1; 0 when that was the last one; -1 with errno. */
static int read_piece(struct reading *reading)
{
    size_t wanted = reading->room - reading->held;
    wanted = wanted > reading->left ? (size_t)reading->left : wanted;
    ssize_t got = io_read_some(reading->fd, reading->input + reading->held, wanted);
    if (got < 0) {
        /* /proc/kmsg and its like would wait for more: what they had is all there is now */
        return reading->begun && errno == EAGAIN ? 0 : -1;
    }
    reading->begun = true;
    reading->held += (size_t)got;
    reading->left -= (uint64_t)got;
    return got > 0 && reading->left > 0;
}

/* Whether the bytes begin with valid UTF-8 up to *length, which becomes what of a sequence is left
 * at their end. */
static bool is_text_so_far(const char *data, size_t *length)
{
    size_t valid = utf8_valid_length(data, *length);
    *length -= valid;
    return *length == 0 ||
           utf8_sequence((const unsigned char *)data + valid, *length) == UTF8_UNFINISHED;
}

/*
 * Whether the file is UTF-8, when its first piece lies in `input`; `more` is what read_piece()
 * returned. The rest is read beside the stream of pieces, by its offset. What has no size may give
 * its bytes only once, and is judged by its first piece. A file may seem endless (it takes no disk
 * to be of 8 EiB), so a client that leaves, or a stop of the server, ends this with ECANCELED. 1,
 * 0, or -1 with errno.
 */
static int is_utf8(struct request *request, struct reading *reading, int more)
{
    size_t length = reading->held;
    if (!is_text_so_far(reading->input, &length)) {
        return 0;
    }
    if (more == 0 || !reading->has_size) {
        return more != 0 || length == 0;
    }
    char *piece = reading->answer.data; /* which is not used yet */
    memcpy(piece, reading->input + reading->held - length, length);
    off_t offset = (off_t)reading->held;
    for (uint64_t left = reading->left; left > 0;) {
        size_t wanted = reading->room < left ? reading->room : (size_t)left;
        ssize_t got = io_read_at(reading->fd, piece + length, wanted, offset);
        if (got <= 0) {
            return got < 0 ? -1 : length == 0; /* it has become shorter meanwhile */
        }
        offset += got;
        left -= (uint64_t)got;
        size_t total = length + (size_t)got;
        length = total;
        if (!is_text_so_far(piece, &length)) {
            return 0;
        }
        if (is_stopping() || request_gone(request)) {
            errno = ECANCELED;
            return -1;
        }
        memmove(piece, piece + total - length, length);
    }
    return length == 0;
}

/* What is left over of a group of three bytes waits for the next piece. */
/* 0, or -1 when the client has left. */
static int write_base64(struct reading *reading, bool is_last)
{
    int written = 0;
    char text[BASE64_ENCODED_MAX(ENCODE_SIZE)];
    size_t whole = is_last ? reading->held : reading->held - reading->held % 3;
    for (size_t at = 0, step; at < whole; at += step) {
        step = whole - at < ENCODE_SIZE ? whole - at : ENCODE_SIZE;
        written =
            writer_raw(&reading->answer, text, base64_encode(reading->input + at, step, text));
    }
    reading->held -= whole;
    memmove(reading->input, reading->input + whole, reading->held);
    return written;
}

/* Answers with the file, of which the first piece lies in `input`. 0, also when the client has
 * left; or -1 with errno when it cannot be read further. */
static int write_answer(struct reading *reading, bool is_base64, int more)
{
    struct writer *answer = &reading->answer;
    for (int written = writer_string(answer, "{\"content\":\""); written == 0;
         more = read_piece(reading)) {
        if (more < 0) {
            return -1;
        }
        if (is_base64) {
            written = write_base64(reading, more == 0);
        } else {
            written = writer_piece(answer, reading->input, reading->held);
            reading->held = 0;
        }
        if (more == 0) {
            (void)writer_piece_end(answer);
            (void)writer_string(answer, is_base64 ? "\",\"is_base64\":true}" : "\"}");
            (void)writer_finish(answer);
            break;
        }
    }
    return 0;
}

/* Reads what must be known before the answer begins. What read_piece() returned, or -1 with errno.
 */
static int begin_reading(struct request *request, struct reading *reading, enum coding *coding)
{
    int more = read_piece(reading);
    if (more < 0 || *coding != CODING_ANY) {
        return more;
    }
    int text = is_utf8(request, reading, more);
    *coding = text > 0 ? CODING_TEXT : CODING_BASE64;
    return text < 0 ? -1 : more;
}

static void handle_read_file(struct request *request, const struct json_body *body)
{
    enum coding coding;
    const char *fault = coding_read(body, &coding);
    if (fault != NULL) {
        answer_error(request, 400, ERROR_invalid_request, "%s", fault);
        return;
    }
    const char *path = requested_path(body);
    struct fs_error error;
    uint64_t size;
    cleanup_fd int fd = fs_open(path, &size, &error);
    if (fd < 0) {
        answer_error(request, 200, error.code, "%s", error.message);
        return;
    }
    cleanup_(reading_clear) struct reading reading;
    int result = reading_init(&reading, request, fd, size);
    if (result == 0) {
        int more = begin_reading(request, &reading, &coding);
        result = more < 0 ? -1 : write_answer(&reading, coding == CODING_BASE64, more);
    }
    if (result < 0 && reading.answer.begun) {
        request_abort(request);
    } else if (result < 0 && errno == ECANCELED) {
        answer_stopping(request); /* or the client has left */
    } else if (result < 0) {
        (void)fs_fail(&error, errno, "read", path);
        answer_error(request, 200, error.code, "%s", error.message);
    }
}

static const struct json_member read_members[] = {
    {JSON_MEMBER("path", TEXT, "The file to read."), .required = true},
    CODING_MEMBERS,
};
const struct endpoint read_file_endpoint = {
    API_ROW(read_file),
    .about = "Reads a file: as text if it is UTF-8, otherwise as base64.",
    MEMBERS(read_members),
    .handle = handle_read_file,
};
