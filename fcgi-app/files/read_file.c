/*
 * POST /read_file. The file streams into the answer, in bounded memory: its beginning says whether
 * it is text. What was found out on the way comes after the content.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/json_text.h"
#include "common/utf8.h"
#include "fcgi-app/files/base64.h"
#include "fcgi-app/files/content.h"
#include "fcgi-app/files/file_part.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/stopping.h"
#include "fcgi-app/http/writer.h"

#define PIECE_SIZE  (64 << 10)           /* of a file being read */
#define ENCODE_SIZE (3 << 10)            /* of a piece that becomes base64: whole groups */
#define FRAME_SIZE  512                  /* at least what is around the content */
#define COUNT_MAX   ((uint64_t)64 << 20) /* bytes behind a part whose lines are counted */
#define SEQUENCE    ((uint64_t)4)        /* bytes of a character at most */

/* A file on its way into an answer. */
struct reading {
    struct request *request; /* borrowed */
    int fd;
    struct stat status;
    struct file_part part;
    enum coding coding;
    bool begun;        /* a piece was read already */
    uint64_t left;     /* bytes still to be read at most */
    uint64_t position; /* in the file, of what is read next */
    uint64_t first;    /* where the content begins in the file, and where it ends */
    uint64_t end;
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
static int prepare(struct reading *reading)
{
    uint64_t size = (uint64_t)reading->status.st_size;
    reading->left = size == 0 ? UINT64_MAX : size;
    reading->room = size == 0 || size > PIECE_SIZE ? PIECE_SIZE : (size_t)size;
    reading->input = malloc(reading->room);
    return reading->input == NULL
               ? -1
               : writer_init(&reading->answer, reading->request,
                             JSON_ESCAPED_MAX(reading->room) + FRAME_SIZE, false);
}

static void reading_clear(struct reading *reading)
{
    close_fd(&reading->fd);
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
    reading->position += (uint64_t)got;
    reading->left -= (uint64_t)got;
    return got > 0 && reading->left > 0;
}

static void drop(struct reading *reading, size_t length)
{
    reading->held -= length;
    memmove(reading->input, reading->input + length, reading->held);
}

/* A file may seem endless (it takes no disk to be of 8 EiB): whether it is worth going on without
 * an answer. If not, errno is ECANCELED. */
static bool is_wanted_still(struct reading *reading)
{
    errno = ECANCELED;
    return !is_stopping() && !request_gone(reading->request);
}

/* ---- text or bytes ---- */

static void choose_coding(struct reading *reading, const char *head, size_t length)
{
    if (reading->coding == CODING_ANY) {
        reading->coding = coding_is_of_bytes(head, length) ? CODING_BASE64 : CODING_TEXT;
    }
}

/* ---- to the beginning of the part ---- */

/* How many of the first `before` bytes begin the character in whose middle data[before] is. */
static size_t begun_length(const char *data, size_t before, size_t length)
{
    for (size_t at = 0; at < before; at++) {
        int sequence = utf8_sequence((const unsigned char *)data + at, length - at);
        if (sequence > 0 && (size_t)sequence > before - at) {
            return before - at;
        }
    }
    return 0;
}

/* Chooses the coding by the head of a file that is read from further on. */
static int look_at_head(struct reading *reading)
{
    char *head = reading->answer.data; /* which is not used yet */
    ssize_t got = 0;
    if (reading->coding == CODING_ANY) {
        size_t wanted = reading->room < CODING_HEAD_SIZE ? reading->room : CODING_HEAD_SIZE;
        got = io_read_at(reading->fd, head, wanted, 0);
    }
    if (got >= 0) {
        choose_coding(reading, head, (size_t)got);
    }
    return got < 0 ? -1 : 0;
}

/*
 * Begins at an offset: in text at that of the character in which it lies, which the part before
 * left out. As read_piece().
 */
static int begin_at_offset(struct reading *reading)
{
    struct file_part *part = &reading->part;
    size_t before = (size_t)(part->offset < SEQUENCE ? part->offset : SEQUENCE - 1);
    uint64_t size = (uint64_t)reading->status.st_size;
    reading->position = part->offset - before;
    if (look_at_head(reading) != 0) {
        return -1;
    }
    if (size > 0) {
        reading->left = size > part->offset ? size - reading->position : 0;
    }
    if (reading->left == 0) {
        reading->position = part->offset; /* nothing is there */
        return 0;
    }
    if (lseek(reading->fd, (off_t)reading->position, SEEK_SET) < 0) {
        return -1;
    }
    int more = 1;
    while (more > 0 && reading->held <= before) {
        more = read_piece(reading);
    }
    if (more < 0 || reading->held <= before) {
        reading->held = 0; /* nothing is there */
        reading->position = part->offset;
        return more;
    }
    size_t cut =
        reading->coding == CODING_TEXT ? begun_length(reading->input, before, reading->held) : 0;
    part->bytes_left += part->bytes_left == UINT64_MAX ? 0 : cut;
    drop(reading, before - cut);
    return more;
}

/* Reads up to the line that is wanted. As read_piece(). */
static int begin_at_line(struct reading *reading)
{
    int more = read_piece(reading);
    if (more < 0) {
        return -1;
    }
    choose_coding(reading, reading->input, reading->held);
    while (reading->part.lines_away > 0) {
        drop(reading, file_part_skip(&reading->part, reading->input, reading->held));
        if (reading->part.lines_away == 0 || more == 0) {
            break;
        }
        if (!is_wanted_still(reading)) {
            return -1;
        }
        more = read_piece(reading);
        if (more < 0) {
            return -1;
        }
    }
    return more;
}

/* ---- the answer ---- */

/* What is left over of a group of three bytes waits for the next piece. 0, or -1 when the client
 * has left. */
static int write_base64(struct reading *reading, size_t length, bool is_last)
{
    int written = 0;
    char text[BASE64_ENCODED_MAX(ENCODE_SIZE)];
    size_t whole = is_last ? length : length - length % 3;
    for (size_t at = 0, step; at < whole; at += step) {
        step = whole - at < ENCODE_SIZE ? whole - at : ENCODE_SIZE;
        written =
            writer_raw(&reading->answer, text, base64_encode(reading->input + at, step, text));
    }
    drop(reading, whole);
    return written;
}

/* Writes the content, of which the first piece lies in `input`, but for its end. What read_piece()
 * returned last; or -1 with errno when the file cannot be read further. */
static int write_part_content(struct reading *reading, int more)
{
    struct file_part *part = &reading->part;
    reading->first = reading->position - reading->held;
    (void)writer_string(&reading->answer, "{\"content\":\"");
    for (size_t taken = 0;; more = read_piece(reading)) {
        if (more < 0) {
            return -1;
        }
        size_t length = taken + file_part_take(part, reading->input + taken, reading->held - taken);
        bool is_last = more == 0 || file_part_is_full(part);
        reading->end = reading->position - (reading->held - length);
        if (reading->coding == CODING_BASE64) {
            (void)write_base64(reading, length, is_last);
            taken = reading->held;
        } else {
            (void)writer_piece(&reading->answer, reading->input, length);
            drop(reading, length);
        }
        if (is_last || reading->answer.failed) {
            return more;
        }
    }
}

/* Whether what was cut at the end of the part begins a character: the bytes behind it say so. */
static bool is_character_cut(const struct reading *reading)
{
    char text[2 * SEQUENCE];
    size_t length = reading->answer.cut_length;
    size_t behind = reading->held < SEQUENCE ? reading->held : SEQUENCE;
    memcpy(text, reading->answer.cut, length);
    memcpy(text + length, reading->input, behind);
    length += behind;
    if (behind < SEQUENCE) {
        ssize_t got =
            io_read_at(reading->fd, text + length, SEQUENCE - behind, (off_t)reading->position);
        length += got > 0 ? (size_t)got : 0;
    }
    return utf8_sequence((const unsigned char *)text, length) > 0;
}

/* Ends the text. A character that the part would cut is left to the next part. */
static void end_part_text(struct reading *reading)
{
    if (reading->part.bytes_left > 0 || reading->answer.cut_length == 0 ||
        !is_character_cut(reading)) {
        (void)writer_piece_end(&reading->answer);
        return;
    }
    uint64_t whole = reading->end - writer_piece_cut(&reading->answer);
    if (whole > reading->first && whole > reading->part.offset) {
        reading->end = whole; /* otherwise no character fits, and the next part begins further on */
    }
}

/* Counts the lines behind the part. Whether it came to the end of the file; -1 with errno. */
static int count_rest(struct reading *reading, int more)
{
    uint64_t most = reading->position + COUNT_MAX;
    for (;; more = read_piece(reading)) {
        if (more < 0) {
            return -1;
        }
        file_part_count(&reading->part, reading->input, reading->held);
        reading->held = 0;
        if (more == 0 || reading->position >= most) {
            return more == 0;
        }
        if (!is_wanted_still(reading)) {
            return -1;
        }
    }
}

/* How large the file is; UINT64_MAX: unknown. One of /proc, or one that has become shorter, has the
 * size at which it ended. */
static uint64_t found_size(const struct reading *reading, bool is_at_end)
{
    uint64_t size = (uint64_t)reading->status.st_size;
    if (!is_at_end || reading->left == 0) {
        return size > 0 ? size : UINT64_MAX;
    }
    bool came_there = reading->part.offset == 0 || reading->first < reading->end;
    return came_there ? reading->position : UINT64_MAX;
}

/* The members about the part. `more` is what read_piece() returned. 0, or -1 with errno. */
static int write_part(struct reading *reading, int more, bool is_truncated)
{
    struct writer *answer = &reading->answer;
    char etag[RAW_ETAG_SIZE];
    int is_at_end = reading->part.counts ? count_rest(reading, more) : !is_truncated;
    if (is_at_end < 0) {
        return -1;
    }
    uint64_t size = found_size(reading, is_at_end);
    (void)writer_format(answer, ",\"offset\":%" PRIu64 ",\"truncated\":%s", reading->first,
                        is_truncated ? "true" : "false");
    if (is_truncated) {
        (void)writer_format(answer, ",\"next_offset\":%" PRIu64, reading->end);
    }
    if (size != UINT64_MAX) {
        (void)writer_format(answer, ",\"size\":%" PRIu64, size);
    }
    if (size == (uint64_t)reading->status.st_size) {
        (void)raw_etag(&reading->status, etag);
        (void)writer_string(answer, ",\"etag\":\"");
        (void)writer_text(answer, etag, strlen(etag));
        (void)writer_string(answer, "\"");
    }
    if (reading->part.counts && is_at_end) {
        (void)writer_format(answer, ",\"total_lines\":%" PRIu64, file_part_lines(&reading->part));
    }
    return 0;
}

/* Answers with the part, of which the first piece lies in `input`. 0, also when the client has left
 * meanwhile; or -1 with errno when the file cannot be read further. */
static int write_answer(struct reading *reading, int more)
{
    struct writer *answer = &reading->answer;
    bool is_base64 = reading->coding == CODING_BASE64;
    more = write_part_content(reading, more);
    if (more > 0 && reading->held == 0 && reading->status.st_size == 0 && !answer->failed) {
        more = read_piece(reading); /* it has no size: does anything follow? */
    }
    if (more < 0) {
        return -1;
    }
    bool is_truncated = more > 0 || reading->held > 0;
    if (!is_base64) {
        end_part_text(reading);
    }
    (void)writer_string(answer, is_base64          ? "\",\"is_base64\":true"
                                : answer->replaced ? "\",\"is_utf8\":false"
                                                   : "\"");
    if (reading->part.is_asked && !answer->failed && write_part(reading, more, is_truncated) != 0) {
        return -1;
    }
    (void)writer_string(answer, "}");
    (void)writer_finish(answer);
    return 0;
}

/* ---- the request ---- */

static int answer_part(struct reading *reading)
{
    if (prepare(reading) != 0) {
        return -1;
    }
    int more = reading->part.offset > 0 ? begin_at_offset(reading) : begin_at_line(reading);
    return more < 0 ? -1 : write_answer(reading, more);
}

static void handle_read_file(struct request *request, const struct json_body *body)
{
    struct fs_error error;
    const char *path = requested_path(body);
    cleanup_(reading_clear) struct reading reading = {.request = request, .fd = -1};
    const char *fault = coding_read(body, &reading.coding);
    fault = fault == NULL ? file_part_read(body, &reading.part) : fault;
    if (fault != NULL) {
        answer_error(request, 400, ERROR_invalid_request, "%s", fault);
        return;
    }
    reading.fd = fs_open(path, &reading.status, &error);
    if (reading.fd < 0) {
        answer_error(request, 200, error.code, "%s", error.message);
    } else if (answer_part(&reading) == 0) {
        return;
    } else if (reading.answer.begun) {
        request_abort(request);
    } else if (errno == ECANCELED) {
        answer_stopping(request); /* or the client has left */
    } else {
        (void)fs_fail(&error, errno, "read", path);
        answer_error(request, 200, error.code, "%s", error.message);
    }
}

static const struct json_member read_members[] = {
    {JSON_MEMBER("path", TEXT, "The file to read."), .required = true},
    CODING_MEMBERS,
    FILE_PART_MEMBERS,
};
const struct endpoint read_file_endpoint = {
    API_ROW(read_file),
    .about = "Reads a file, or a part of one: as text, or as base64 if it is none.",
    MEMBERS(read_members),
    .handle = handle_read_file,
};
