/*
 * POST /edit_file. The file is read into memory, changed there by all edits, and written as by
 * /write_file: all of them, or none. Memory is bounded: a file and its result have a largest size,
 * and large ones are edited one at a time.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "fcgi-app/files/edits.h"
#include "fcgi-app/files/file_turn.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/raw_state.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/files/served_file.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/writer.h"

#define FILE_MAX   ((size_t)64 << 20) /* of a file, and of what it becomes */
#define LARGE      ((size_t)4 << 20)  /* files beyond this are edited one at a time */
#define FIRST_ROOM ((size_t)64 << 10) /* for a file whose size is not known */
#define PATIENCE   10                 /* seconds to wait for others */

/* A file that is being edited. */
struct editing {
    struct request *request; /* borrowed, as the path and the list */
    const char *path;
    const struct edit_list *list;
    struct edited_text text;
    struct edit_found *found; /* of each edit; owned */
    struct stat status;       /* of the file when it was opened */
    char etag[RAW_ETAG_SIZE]; /* the same */
    bool holds_large;         /* has the lock of the large files */
};

static pthread_mutex_t large_lock = PTHREAD_MUTEX_INITIALIZER;

static void editing_clear(struct editing *editing)
{
    free(editing->text.data);
    free(editing->found);
    if (editing->holds_large) {
        (void)pthread_mutex_unlock(&large_lock);
    }
}

/* The functions below return 0, or -1 when the request has been answered with what failed. */

static int refuse_file(const struct editing *editing, const struct fs_error *error)
{
    raw_refuse(editing->request, error);
    return -1;
}

static int refuse_memory(const struct editing *editing)
{
    answer_error(editing->request, 503, ERROR_unavailable, "Out of memory");
    return -1;
}

static int refuse_size(const struct editing *editing, const char *what)
{
    answer_error(editing->request, 413, ERROR_too_large, "edit %s: %s larger than %zu MiB",
                 editing->path, what, FILE_MAX >> 20);
    return -1;
}

static int refuse_state(const struct editing *editing, const char *why)
{
    answer_error(editing->request, 412, ERROR_precondition_failed, "edit %s: %s", editing->path,
                 why);
    return -1;
}

/* ---- reading ---- */

/* Takes a lock, but does not wait for ever: a file that is no disk's may take any time. */
static int enter(const struct editing *editing, pthread_mutex_t *lock, const char *taken)
{
    struct timespec deadline;
    (void)clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += PATIENCE;
    if (pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, &deadline) == 0) {
        return 0;
    }
    answer_error(editing->request, 503, ERROR_unavailable, "%s", taken);
    return -1;
}

static int enter_large(struct editing *editing)
{
    editing->holds_large = enter(editing, &large_lock, "Another large file is being edited") == 0;
    return editing->holds_large ? 0 : -1;
}

/* Makes room for the next bytes. */
static int grow(struct editing *editing, size_t *room)
{
    size_t wanted = *room < FILE_MAX / 2 ? *room * 2 : FILE_MAX + 1;
    if (*room > FILE_MAX) {
        return refuse_size(editing, "The file is");
    }
    if (wanted > LARGE && !editing->holds_large && enter_large(editing) != 0) {
        return -1;
    }
    char *larger = realloc(editing->text.data, wanted);
    if (larger == NULL) {
        return refuse_memory(editing);
    }
    editing->text.data = larger;
    *room = wanted;
    return 0;
}

/* Reads the file to its end, whatever its size was said to be. */
static int read_text(struct editing *editing, const struct served_file *file)
{
    struct fs_error error;
    struct edited_text *text = &editing->text;
    size_t room = file->has_size ? (size_t)file->status.st_size + 1 : FIRST_ROOM;
    text->data = malloc(room);
    if (text->data == NULL) {
        return refuse_memory(editing);
    }
    for (;;) {
        ssize_t got = io_read_some(file->fd, text->data + text->length, room - text->length);
        if (got < 0) {
            (void)fs_fail(&error, errno, "read", editing->path);
            return refuse_file(editing, &error);
        }
        text->length += (size_t)got;
        if (got == 0) {
            return 0;
        }
        if (text->length == room && grow(editing, &room) != 0) {
            return -1;
        }
    }
}

static int check_file(struct editing *editing, const struct served_file *file, const char *if_match)
{
    struct fs_error error;
    if (file->fd < 0) {
        (void)fs_fail(&error, EISDIR, "edit", editing->path);
        return refuse_file(editing, &error);
    }
    editing->status = file->status;
    (void)raw_etag(&file->status, editing->etag);
    if (if_match != NULL && strcmp(if_match, editing->etag) != 0) {
        return refuse_state(editing, "It is not in the state that if_match names");
    }
    if (file->has_size && (uint64_t)file->status.st_size > FILE_MAX) {
        return refuse_size(editing, "The file is");
    }
    return file->has_size && (uint64_t)file->status.st_size > LARGE ? enter_large(editing) : 0;
}

static int read_file(struct editing *editing, const char *if_match)
{
    struct served_file file;
    struct fs_error error;
    if (served_file_open(&file, editing->path, &error) != 0) {
        return refuse_file(editing, &error);
    }
    int result = check_file(editing, &file, if_match);
    result = result == 0 ? read_text(editing, &file) : result;
    close_fd(&file.fd);
    return result;
}

/* ---- the edits ---- */

static void write_lines(struct writer *writer, const struct edit_found *found)
{
    (void)writer_string(writer, "\"lines\":[");
    for (size_t i = 0; i < edit_lines_shown(found); i++) {
        (void)writer_string(writer, i > 0 ? "," : "");
        (void)writer_number(writer, found->lines[i]);
    }
    (void)writer_string(writer, "]");
}

/* Whether the text was not found only because its lines end in another way. */
static bool differs_in_line_ends(const struct edited_text *text, const struct edit *edit)
{
    return memchr(edit->old, '\n', edit->old_length) != NULL &&
           memmem(edit->old, edit->old_length, "\r\n", 2) == NULL &&
           memmem(text->data, text->length, "\r\n", 2) != NULL;
}

static int refuse_mismatch(struct editing *editing, size_t number)
{
    char buffer[ANSWER_AT_ONCE];
    struct writer writer = writer_over(editing->request, buffer, sizeof(buffer), 409);
    const struct edit *edit = &editing->list->edits[number];
    const struct edit_found *found = &editing->found[number];
    const char *hint = found->count == 0 && differs_in_line_ends(&editing->text, edit)
                           ? "; lines of the file end with \\\\r\\\\n"
                           : "";
    (void)writer_string(&writer, "{\"error\":\"edit ");
    (void)writer_text(&writer, editing->path, strlen(editing->path));
    (void)writer_format(&writer, ": old_str of edits[%zu] occurs %llu times, not %llu%s\"", number,
                        (unsigned long long)found->count, (unsigned long long)edit->expected, hint);
    (void)writer_format(&writer, ",\"error_code\":\"%s\",\"edit\":%zu,\"count\":%llu,",
                        api_error_code(ERROR_edit_mismatch), number,
                        (unsigned long long)found->count);
    write_lines(&writer, found);
    (void)writer_string(&writer, "}");
    (void)writer_finish(&writer);
    return -1;
}

static int apply_edits(struct editing *editing)
{
    for (size_t i = 0; i < editing->list->count; i++) {
        switch (
            edit_apply(&editing->text, &editing->list->edits[i], FILE_MAX, &editing->found[i])) {
        case EDIT_DONE: break;
        case EDIT_MISMATCH: return refuse_mismatch(editing, i);
        case EDIT_TOO_LARGE: return refuse_size(editing, "It would become");
        case EDIT_NO_MEMORY: return refuse_memory(editing);
        }
    }
    return 0;
}

/* ---- writing ---- */

static void answer_edited(const struct editing *editing, const struct fs_written *written)
{
    char buffer[16384], etag[RAW_ETAG_SIZE];
    struct writer writer = writer_over(editing->request, buffer, sizeof(buffer), 200);
    (void)writer_string(&writer, "{\"etag\":\"");
    if (written->is_known) {
        (void)raw_etag(&written->status, etag);
        (void)writer_text(&writer, etag, strlen(etag));
    }
    (void)writer_format(&writer, "\",\"size_bytes\":%zu,\"edits\":[", editing->text.length);
    for (size_t i = 0; i < editing->list->count; i++) {
        (void)writer_format(&writer, "%s{\"count\":%llu,", i > 0 ? "," : "",
                            (unsigned long long)editing->found[i].count);
        write_lines(&writer, &editing->found[i]);
        (void)writer_string(&writer, "}");
    }
    (void)writer_string(&writer, "]}");
    (void)writer_finish(&writer);
}

/* What was only copied when it was opened for writing is the state that was read. */
static void follow_copying(struct editing *editing)
{
    struct stat status;
    char etag[RAW_ETAG_SIZE];
    if (stat(editing->path, &status) == 0 && strcmp(raw_etag(&status, etag), editing->etag) != 0 &&
        raw_state_is_copied_up(editing->path, &editing->status, &status)) {
        memcpy(editing->etag, etag, sizeof(etag));
    }
}

/* Whether the file is still the one that was read. 0, or -1 when it has been answered. */
static int check_unchanged(const struct editing *editing)
{
    struct stat status;
    struct fs_error error;
    char etag[RAW_ETAG_SIZE];
    bool is_there = stat(editing->path, &status) == 0;
    if (!is_there && errno != ENOENT && errno != ENOTDIR) {
        (void)fs_fail(&error, errno, "open", editing->path);
        return refuse_file(editing, &error);
    }
    return is_there && strcmp(raw_etag(&status, etag), editing->etag) == 0
               ? 0
               : refuse_state(editing, "It was changed while it was edited");
}

static int write_text(struct editing *editing)
{
    struct fs_error error;
    struct fs_written written;
    const struct fs_wish wish = {.has_mode = false};
    struct fs_writer *writer = fs_write_begin(editing->path, &error);
    if (writer == NULL) {
        return refuse_file(editing, &error);
    }
    follow_copying(editing);
    if (fs_write_data(writer, editing->text.data, editing->text.length, &error) != 0) {
        fs_write_cancel(writer);
        return refuse_file(editing, &error);
    }
    if (check_unchanged(editing) != 0) {
        fs_write_cancel(writer);
        return -1;
    }
    if (fs_write_publish(writer, &wish, &written, &error) == 0) {
        answer_edited(editing, &written);
        return 0;
    }
    if (written.is_damaged) {
        answer_lost(editing->request, "%s, and some of the new content is in the file",
                    error.message);
        return -1;
    }
    return refuse_file(editing, &error);
}

static void edit_file(struct request *request, const struct json_body *body,
                      const struct edit_list *list)
{
    cleanup_(editing_clear) struct editing editing = {
        .request = request, .path = requested_path(body), .list = list};
    editing.found = calloc(list->count, sizeof(*editing.found));
    if (editing.found == NULL) {
        (void)refuse_memory(&editing);
        return;
    }
    pthread_mutex_t *turn = file_turn(editing.path);
    if (enter(&editing, turn, "Another client is editing this file") != 0) {
        return;
    }
    if (read_file(&editing, json_text(body, "if_match")) == 0 && apply_edits(&editing) == 0) {
        (void)write_text(&editing);
    }
    (void)pthread_mutex_unlock(turn);
}

static void handle_edit_file(struct request *request, const struct json_body *body)
{
    char fault[EDITS_FAULT_SIZE];
    cleanup_(edit_list_clear) struct edit_list list = {.is_strict = json_is_strict(body)};
    int taken = edit_list_take(&list, json_list(body, "edits"), fault);
    if (taken < 0) {
        answer_error(request, 503, ERROR_unavailable, "Out of memory");
    } else if (taken > 0) {
        answer_error(request, 400, ERROR_invalid_request, "%s", fault);
    } else {
        edit_file(request, body, &list);
    }
}

static const struct json_member edit_members[] = {
    {JSON_MEMBER("path", TEXT, "The file to edit."), .required = true},
    {JSON_MEMBER("edits", LIST,
                 "Replacements, done in this order: each an object with old_str, new_str and "
                 "expected_count (1 by default)."),
     .required = true},
    {JSON_MEMBER("if_match", TEXT, "The ETag that the file must have.")},
};
const struct endpoint edit_file_endpoint = {
    API_ROW(edit_file),
    .about = "Replaces texts in a file: all of them, or none.",
    MEMBERS(edit_members),
    .handle = handle_edit_file,
};
