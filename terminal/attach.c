#include "terminal/attach.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "common/signal_name.h"
#include "terminal/asked.h"
#include "terminal/attach_query.h"
#include "terminal/lookup.h"
#include "terminal/order.h"
#include "terminal/scratch.h"
#include "terminal/session.h"
#include "terminal/viewed_job.h"
#include "terminal/viewer.h"
#include "terminal/viewer_input.h"

#define REPLAY_BYTES  UINT64_C(65536) /* of the newest ones, without an offset */
#define READS_AT_ONCE 16              /* before others have their turn */

static struct {
    uint64_t most;
    uint64_t count;
    int64_t last_number;
    LIST_HEAD(, viewer) waiting; /* for a lookup */
} attached;

/* ---- to the client ---- */

/* Sends a text. */
__attribute__((format(printf, 2, 3))) static void say(const struct viewer *viewer,
                                                      const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    session_say(viewer->session, WS_TEXT, text, (size_t)length);
}

static void say_refused(const struct viewer *viewer, const char *code, const char *error)
{
    say(viewer,
        "{\"type\":\"refused\",\"error\":\"%s\",\"error_code\":\"%s\",\"written\":%" PRIu64 "}",
        error, code, viewer->written);
}

static void say_ended(const struct viewer *viewer)
{
    say_refused(viewer, "not_running", "The process has ended");
}

/* The newest one alone: others may change it ever again while this client takes nothing. */
static void say_size(struct viewer *viewer)
{
    const struct terminal_size *size = &viewer->job->size;
    if (session_is_full(viewer->session)) {
        return; /* attach_room() does it */
    }
    if (size->cols != viewer->told_cols || size->rows != viewer->told_rows) {
        say(viewer, "{\"type\":\"resize\",\"cols\":%d,\"rows\":%d}", size->cols, size->rows);
        viewer->told_cols = size->cols;
        viewer->told_rows = size->rows;
    }
}

/* Its client drops what its terminal answers until then. */
static void say_live(struct viewer *viewer)
{
    if (!viewer->is_live && viewer->cursor.offset >= viewer->live_offset) {
        viewer->is_live = true;
        say(viewer, "{\"type\":\"live\",\"offset\":%" PRIu64 "}", viewer->cursor.offset);
    }
}

/* The log has been read to its end. */
static void say_exit(struct viewer *viewer)
{
    char name[SIGNAL_NAME_SIZE] = "";
    const struct ending *how = &viewer->job->ending.how;
    const char *reason = end_reason_name(how->reason);
    const char *quote = how->signal != 0 ? "\"" : "";
    say(viewer,
        "{\"type\":\"exit\",\"status\":\"%s\",\"exit_code\":%d,\"signal\":%s%s%s,\"reason\":\"%"
        "s\"}",
        job_status_name(viewer->job->ending.status), how->code, quote,
        how->signal != 0 ? signal_name(how->signal, name) : "null", quote,
        reason == NULL ? "lost" : reason);
    session_close(viewer->session, ATTACH_ENDED, "The process has ended");
}

/* Sends bytes of the log. Whether there may be more. */
static bool send_some(struct viewer *viewer)
{
    uint64_t gap;
    uint64_t left = viewer->live_offset - viewer->cursor.offset;
    size_t size = viewer->is_live || left > SCRATCH_SIZE ? SCRATCH_SIZE : (size_t)left;
    ssize_t count = byte_cursor_read(&viewer->cursor, scratch, size, &gap);
    if (count < 0) {
        log_line("the log of a terminal: %m");
        session_close(viewer->session, WS_INTERNAL, "The output cannot be read");
        return false;
    }
    if (gap > 0) {
        say(viewer, "{\"type\":\"gap\",\"missed_bytes\":%" PRIu64 ",\"offset\":%" PRIu64 "}", gap,
            viewer->cursor.offset - (uint64_t)count);
    }
    if (count > 0) {
        session_say(viewer->session, WS_BINARY, scratch, (size_t)count);
    } else if (!viewer->is_live) {
        viewer->live_offset = viewer->cursor.offset; /* a full disk has cost the rest */
    } else if (viewer->job->has_ended) {
        say_exit(viewer);
        return false;
    }
    say_live(viewer);
    return count > 0 || viewer->job->has_ended;
}

/* Sends what there is, as far as its client takes it. */
static void deliver(struct viewer *viewer)
{
    int reads = 0;
    while (!session_is_full(viewer->session) && reads < READS_AT_ONCE && send_some(viewer)) {
        reads++;
    }
    if (reads == READS_AT_ONCE) {
        session_ask_room(viewer->session);
    }
}

static void viewer_is_gone(struct viewer *viewer)
{
    session_close(viewer->session, ATTACH_ENDED, "The process has been deleted");
}

/* ---- to the terminal ---- */

/* It has no input any more that waits. */
static void end_writing(struct viewer *viewer)
{
    if (viewer->is_writer) {
        TAILQ_REMOVE(&viewer->job->writers, viewer, as_writer);
        viewer->is_writer = false;
    }
    viewer->ends_line = false;
    if (!viewer->message_goes_on) {
        viewer->is_refused = viewer->is_in_line = false;
        viewer->written = 0;
    }
    session_resume(viewer->session);
}

static void refuse_input(struct viewer *viewer, const char *code, const char *error)
{
    bytes_clear(&viewer->input);
    say_refused(viewer, code, error);
    viewer->is_refused = viewer->message_goes_on;
    end_writing(viewer);
}

static void refuse_line(struct viewer *viewer)
{
    refuse_input(viewer, "too_large",
                 viewer->written == 0
                     ? "The terminal would cut so long a line; nothing of the message was typed"
                     : "The terminal would cut so long a line; lines before it were typed");
}

static void input_was_written(struct viewer *viewer, size_t length)
{
    if (length > 0) {
        char last = viewer->input.data[viewer->input.begin + length - 1];
        viewer->is_in_line = last != '\n' && last != '\r';
    }
    bytes_drop(&viewer->input, length);
    viewer->written += length;
    if (viewer->ends_line && !viewer->is_in_line) {
        refuse_line(viewer);
    } else if (viewer_piece(viewer) == 0) {
        end_writing(viewer);
    }
}

static void input_was_refused(struct viewer *viewer, enum input_refusal why)
{
    if (why == REFUSED_LOST) {
        refuse_input(viewer, "unavailable",
                     "The runner hung up; what was sent to it last may have been typed or not");
    } else if (why == REFUSED_ENDED) {
        refuse_input(viewer, "not_running", "The terminal takes no input any more");
    } else if (!viewer_must_end_line(viewer)) {
        refuse_line(viewer);
    }
}

static void order_is_done(struct viewer *viewer, bool is_refused)
{
    if (is_refused) {
        say_ended(viewer);
    }
    session_resume(viewer->session);
}

/* The size of the terminal is that of who types. */
static void become_typist(struct viewer *viewer)
{
    struct viewed_job *job = viewer->job;
    if (job->typist == viewer) {
        return;
    }
    job->typist = viewer;
    if (viewer->cols != 0 && (viewer->cols != job->size.cols || viewer->rows != job->size.rows)) {
        const struct terminal_size size = {viewer->cols, viewer->rows, ++attached.last_number};
        (void)viewed_job_resize(job, &size); /* the bytes will be refused, too */
    }
}

static void attach_bytes(struct session *session, const unsigned char *bytes, size_t length,
                         bool is_end)
{
    struct viewer *viewer = session_context(session);
    viewer->message_goes_on = !is_end;
    if (viewer->only_views || viewer->is_refused) {
        viewer->is_refused = viewer->is_refused && !is_end;
        return;
    }
    if (bytes_add(&viewer->input, bytes, length) < 0) {
        session_close(session, WS_INTERNAL, "Out of memory");
        return;
    }
    if (viewer_piece(viewer) > 0) {
        become_typist(viewer);
        viewer->is_writer = true;
        TAILQ_INSERT_TAIL(&viewer->job->writers, viewer, as_writer);
        session_pause(session);
        viewed_job_pump(viewer->job);
    } else if (is_end) {
        end_writing(viewer);
    }
}

/* ---- orders ---- */

static bool order_resize(struct viewer *viewer, const cJSON *order)
{
    struct viewed_job *job = viewer->job;
    int cols = (int)order_number(order, "cols", TERMINAL_SIZE_MAX);
    int rows = (int)order_number(order, "rows", TERMINAL_SIZE_MAX);
    if (cols < 1 || rows < 1) {
        return false;
    }
    viewer->cols = cols;
    viewer->rows = rows;
    if (job->typist == NULL || job->typist == viewer) {
        const struct terminal_size size = {cols, rows, ++attached.last_number};
        if (viewed_job_resize(job, &size) == SENT_NEVER) {
            say_ended(viewer);
        }
    }
    return true;
}

/* Nothing more is taken from its client before it has gone. */
static void give_order(struct viewer *viewer, int order)
{
    enum sent sent = viewed_job_order(viewer, order);
    if (sent == SENT_NEVER) {
        say_ended(viewer);
    } else if (sent == SENT_LATER) {
        session_pause(viewer->session);
    }
}

static bool order_signal(struct viewer *viewer, const cJSON *order)
{
    const char *name = order_text(order, "signal");
    int number = name == NULL ? 0 : signal_number(name);
    if (number == 0) {
        return false;
    }
    give_order(viewer, number);
    return true;
}

static bool order_end(struct viewer *viewer)
{
    give_order(viewer, VIEWER_EOF);
    return true;
}

/* Whether it is one. */
static bool follow_order(struct viewer *viewer, const cJSON *order)
{
    if (order_is(order, "resize")) {
        return order_resize(viewer, order);
    }
    if (order_is(order, "signal")) {
        return order_signal(viewer, order);
    }
    return order_is(order, "eof") && order_end(viewer);
}

static void attach_text(struct session *session, const char *text, size_t length)
{
    struct viewer *viewer = session_context(session);
    cleanup_(order_freep) cJSON *order = order_parse(text, length);
    if (viewer->only_views) {
        say_refused(viewer, "forbidden", "This client only views");
    } else if (!follow_order(viewer, order)) {
        say_refused(viewer, "invalid_request",
                    "An order is resize with cols and rows, signal with a signal, or eof");
    }
}

/* ---- the beginning ---- */

/* Finds where to begin. Whether it may; otherwise the client has been refused. */
static bool find_beginning(struct viewer *viewer)
{
    uint64_t first;
    uint64_t next;
    if (byte_log_bounds(viewer->job->directory, &first, &next) < 0) {
        log_line("the log of a terminal: %m");
        session_refuse(viewer->session, 503, ERROR_unavailable, "", "The output cannot be read");
        return false;
    }
    if (viewer->has_wish && viewer->offset > next) {
        session_refuse(viewer->session, 400, ERROR_invalid_request, "",
                       "offset is behind the end of the output, %" PRIu64, next);
        return false;
    }
    if (!viewer->has_wish) {
        viewer->offset = next - first > REPLAY_BYTES ? next - REPLAY_BYTES : first;
    }
    viewer->live_offset = next;
    return true;
}

/* The job is there. */
static void begin_viewing(struct viewer *viewer, struct viewed_job *job)
{
    viewer->job = job;
    LIST_INSERT_HEAD(&job->viewers, viewer, of_job);
    byte_cursor_open(&viewer->cursor, job->directory, 0);
    if (!find_beginning(viewer)) {
        return;
    }
    byte_cursor_open(&viewer->cursor, job->directory, viewer->offset);
    session_accept(viewer->session);
    viewer->told_cols = job->size.cols;
    viewer->told_rows = job->size.rows;
    say(viewer,
        "{\"type\":\"ready\",\"offset\":%" PRIu64 ",\"live_offset\":%" PRIu64
        ",\"cols\":%d,\"rows\":%d}",
        viewer->offset, viewer->live_offset, job->size.cols, job->size.rows);
    say_live(viewer);
    deliver(viewer);
}

/* procd has answered. */
static void end_waiting(struct viewer *viewer, struct lookup *lookup)
{
    if (lookup->result == PROCD_NOT_FOUND) {
        session_refuse(viewer->session, 404, ERROR_not_found, "", "process not found: %s",
                       lookup->id);
        return;
    }
    if (lookup->result != PROCD_DONE && lookup->result != PROCD_NOT_RUNNING) {
        session_refuse(viewer->session, 503, ERROR_unavailable, "",
                       "The server is restarting; repeat the request");
        return;
    }
    struct viewed_job *job = viewed_job_open(lookup->id, lookup->directory, &lookup->runner);
    if (job != NULL) {
        begin_viewing(viewer, job);
    } else if (errno == ENOENT) {
        session_refuse(viewer->session, 400, ERROR_unsupported, "",
                       "The process has no terminal: see /process_logs_streaming");
    } else {
        log_line("a terminal's directory: %m");
        session_refuse(viewer->session, 503, ERROR_unavailable, "", "The terminal cannot be read");
    }
}

static void stop_waiting(struct viewer *viewer)
{
    if (viewer->lookup != NULL) {
        viewer->lookup = NULL;
        LIST_REMOVE(viewer, of_job);
    }
}

static void lookup_is_done(struct lookup *lookup)
{
    struct viewer *next;
    viewed_job_found(lookup->id, &lookup->runner);
    for (struct viewer *viewer = LIST_FIRST(&attached.waiting); viewer != NULL; viewer = next) {
        next = LIST_NEXT(viewer, of_job);
        if (viewer->lookup == lookup) {
            stop_waiting(viewer);
            end_waiting(viewer, lookup);
        }
    }
}

static void attach_open(struct session *session, const struct asked *asked)
{
    struct attach_query query;
    const char *wrong = attach_query_read(&query, asked_value(asked, "QUERY_STRING"));
    if (wrong != NULL) {
        session_refuse(session, 400, ERROR_invalid_request, "", "%s", wrong);
        return;
    }
    if (attached.most > 0 && attached.count >= attached.most) {
        session_refuse(session, 429, ERROR_too_many, "",
                       "Too many are attached to terminals (SANDBOX_MAX_ATTACHED)");
        return;
    }
    struct viewer *viewer = calloc(1, sizeof(*viewer));
    if (viewer == NULL) {
        session_refuse(session, 503, ERROR_unavailable, "", "Out of memory");
        return;
    }
    *viewer = (struct viewer){.session = session,
                              .has_wish = query.has_offset,
                              .offset = query.offset,
                              .only_views = query.only_views,
                              .cursor.segment = -1};
    attached.count++;
    session_set_context(session, viewer);
    struct viewed_job *job = viewed_job_find(query.id);
    if (job != NULL) {
        begin_viewing(viewer, job);
    } else if ((viewer->lookup = lookup_begin(query.id)) == NULL) {
        session_refuse(session, 503, ERROR_unavailable, "", "Out of memory");
    } else {
        LIST_INSERT_HEAD(&attached.waiting, viewer, of_job);
    }
}

static void attach_room(struct session *session)
{
    struct viewer *viewer = session_context(session);
    say_size(viewer);
    deliver(viewer);
}

static void attach_end(struct session *session)
{
    struct viewer *viewer = session_context(session);
    struct viewed_job *job = viewer->job;
    attached.count--;
    stop_waiting(viewer);
    byte_cursor_close(&viewer->cursor);
    bytes_clear(&viewer->input);
    if (job != NULL) {
        if (viewer->is_writer) {
            TAILQ_REMOVE(&job->writers, viewer, as_writer);
        }
        if (viewer->is_caller) {
            TAILQ_REMOVE(&job->callers, viewer, as_caller);
        }
        LIST_REMOVE(viewer, of_job);
        job->typist = job->typist == viewer ? NULL : job->typist;
        job->asker = job->asker == viewer ? NULL : job->asker;
        viewed_job_leave(job);
    }
    loop_free(&viewer->garbage, viewer);
}

static const struct viewed_job_uses uses = {
    .has_bytes = deliver,
    .has_size = say_size,
    .has_gone = viewer_is_gone,
    .was_written = input_was_written,
    .was_refused = input_was_refused,
    .order_is_done = order_is_done,
};

int attach_start(uint64_t attached_most)
{
    attached.most = attached_most;
    return viewed_jobs_start(&uses) < 0 ? -1 : lookups_start(lookup_is_done);
}

const struct service attach_service = {
    .path = "/attach",
    .open = attach_open,
    .bytes = attach_bytes,
    .text = attach_text,
    .room = attach_room,
    .end = attach_end,
};
