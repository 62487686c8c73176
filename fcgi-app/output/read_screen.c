/*
 * GET /read_screen: the newest bytes of a terminal go to a program that renders them. It is run
 * like any command, because the bytes are a program's, and may be made to harm who reads them.
 */
#include "fcgi-app/output/read_screen.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "common/spool.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/commands/pump.h"
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/output/gathered.h"
#include "fcgi-app/output/screen_text.h"
#include "fcgi-app/processes/job_end.h"
#include "fcgi-app/processes/process_id.h"
#include "procd/log/byte_cursor.h"
#include "procd/log/terminal_size.h"
#include "procd/wire/client.h"

#define PROGRAM         "render-screen"
#define REPLAY_MOST     UINT64_C(1048576) /* bytes of the log */
#define CELLS_MOST      262144
#define OUTPUT_MOST     ((size_t)4194304)
#define RENDER_MS       5000
#define PIECE           16384
#define ANSWER_CAPACITY ((size_t)65536)

static char program[PATH_MAX];

int read_screen_init(void)
{
    char self[PATH_MAX - sizeof(PROGRAM)];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length < 0) {
        return -1;
    }
    self[length] = '\0';
    char *slash = strrchr(self, '/');
    (void)snprintf(program, sizeof(program), "%.*s/" PROGRAM,
                   slash == NULL ? 0 : (int)(slash - self), self);
    return 0;
}

/* A screen on its way. */
struct screen_request {
    struct request *request; /* borrowed */
    const char *id;
    int directory; /* of the process; owned */
    struct terminal_size size;
    struct job job;       /* its status */
    uint64_t offset;      /* of the byte behind the last one that is shown */
    bool is_cut;          /* the bytes do not begin where the terminal did */
    struct spool *log;    /* the bytes; owned */
    struct gathered text; /* what the program has written */
    char complaint[256];
    size_t complaint_length;
};

static void screen_request_clear(struct screen_request *screen)
{
    close_fd(&screen->directory);
    spool_freep(&screen->log);
    gathered_clear(&screen->text);
}

/* ---- what is shown ---- */

/* Reads the newest bytes of the log. 0, or -1 with errno. */
static int read_newest(struct screen_request *screen)
{
    char bytes[PIECE];
    uint64_t first, next, gap;
    ssize_t count = 0;
    if (byte_log_bounds(screen->directory, &first, &next) < 0) {
        return -1;
    }
    uint64_t begin = next - first > REPLAY_MOST ? next - REPLAY_MOST : first;
    cleanup_(byte_cursor_close) struct byte_cursor cursor;
    byte_cursor_open(&cursor, screen->directory, begin);
    screen->is_cut = begin > 0;
    while (spool_size(screen->log) < 2 * REPLAY_MOST &&
           (count = byte_cursor_read(&cursor, bytes, sizeof(bytes), &gap)) > 0) {
        if (gap > 0) { /* what was before it is not on the screen for sure */
            spool_reset(screen->log);
            screen->is_cut = true;
        }
        if (spool_write(screen->log, bytes, (size_t)count) < 0) {
            return -1;
        }
        screen->offset = cursor.offset;
    }
    return count < 0 ? -1 : 0;
}

/* Opens the terminal. False after an answer. */
static bool open_screen(struct screen_request *screen)
{
    enum procd_result result = procd_open_job(screen->id, &screen->directory);
    if (result == PROCD_NOT_FOUND) {
        answer_error(screen->request, 404, ERROR_not_found, "process not found: %s", screen->id);
    } else if (result != PROCD_DONE) {
        answer_procd_failure(screen->request, result);
    } else if (terminal_size_read(screen->directory, &screen->size) < 0 && errno == ENOENT) {
        answer_error(screen->request, 400, ERROR_unsupported, "process has no terminal: %s",
                     screen->id);
    } else if (screen->size.cols == 0) {
        answer_error(screen->request, 500, ERROR_internal, "The terminal's size cannot be read");
    } else if ((int64_t)screen->size.cols * screen->size.rows > CELLS_MOST) {
        answer_error(screen->request, 400, ERROR_unsupported,
                     "The screen has more than %d characters", CELLS_MOST);
    } else {
        return true;
    }
    return false;
}

/* Reads what is to be shown, and the status. False after an answer. */
static bool load_terminal(struct screen_request *screen)
{
    job_end_await(screen->directory);
    if (read_newest(screen) < 0 || job_end_look(screen->directory, &screen->job) < 0) {
        log_request(LOG_ERR, request_id(screen->request), "/read_screen: %m");
        answer_error(screen->request, 500, ERROR_internal, "The log cannot be read");
        return false;
    }
    return true;
}

/* ---- rendering ---- */

static int take_screen(void *context, enum pump_stream stream, const char *data, size_t length)
{
    struct screen_request *screen = context;
    if (stream == PUMP_STDOUT) {
        return gathered_take(&screen->text, data, length, false) == length ? 0 : -1;
    }
    size_t room = sizeof(screen->complaint) - 1 - screen->complaint_length;
    length = length < room ? length : room;
    memcpy(screen->complaint + screen->complaint_length, data, length);
    screen->complaint_length += length;
    return 0;
}

/* Starts the program with the bytes as its input. False after an answer. */
static bool start_to_render(struct screen_request *screen, struct foreground *foreground)
{
    char cols[12], rows[12];
    struct spawn_error error;
    (void)snprintf(cols, sizeof(cols), "%d", screen->size.cols);
    (void)snprintf(rows, sizeof(rows), "%d", screen->size.rows);
    const char *const argv[] = {program, cols, rows, screen->is_cut ? "1" : "0"};
    cleanup_fd int input = spool_open_reader(screen->log);
    struct command command = command_for(screen->request, NULL, "/");
    command.argv = argv;
    command.argc = sizeof(argv) / sizeof(argv[0]);
    command.input = input;
    command.timeout_ms = RENDER_MS;
    command.grace_ms = 0;
    if (input < 0) {
        answer_error(screen->request, 503, ERROR_unavailable, "The output cannot be kept");
        return false;
    }
    enum procd_result result = procd_run(&command, foreground, &error);
    if (result != PROCD_DONE) {
        answer_command_failure(screen->request, &command, result, &error, false);
    }
    return result == PROCD_DONE;
}

static void write_text_of(struct writer *writer, const char *name, const char *text, size_t length)
{
    (void)writer_format(writer, "\"%s\":\"", name);
    (void)writer_text(writer, text, length);
    (void)writer_string(writer, "\",");
}

static void answer_screen(struct screen_request *screen, const struct screen_text *text)
{
    struct writer writer;
    if (writer_init(&writer, screen->request, ANSWER_CAPACITY, false) < 0) {
        answer_error(screen->request, 503, ERROR_unavailable, "Out of memory");
        return;
    }
    (void)writer_string(&writer, "{");
    write_text_of(&writer, "screen", text->text, text->text_length);
    (void)writer_format(&writer, "\"cursor\":{\"row\":%d,\"col\":%d,\"visible\":%s},", text->row,
                        text->col, text->is_visible ? "true" : "false");
    (void)writer_format(&writer, "\"cols\":%d,\"rows\":%d,", screen->size.cols, screen->size.rows);
    write_text_of(&writer, "title", text->title, text->title_length);
    (void)writer_format(&writer, "\"alternate\":%s,\"offset\":%" PRIu64 ",\"status\":\"%s\"}",
                        text->is_alternate ? "true" : "false", screen->offset,
                        job_status_name(screen->job.status));
    (void)writer_finish(&writer);
    writer_clear(&writer);
}

/* The program has run: the answer is what it has written, or why there is nothing. */
static void finish_screen(struct screen_request *screen, enum pump_result result,
                          const struct ending *ending)
{
    struct screen_text text;
    const char *data = spool_view(screen->text.bytes);
    if (result == PUMP_GONE) {
        return;
    }
    if (result == PUMP_STOPPING) {
        answer_stopping(screen->request);
    } else if (result == PUMP_ENDED && !ending->lost && ending->code == 0 && data != NULL &&
               screen_text_parse(data, screen->text.length, &text)) {
        answer_screen(screen, &text);
    } else {
        log_request(LOG_ERR, request_id(screen->request), "/read_screen: " PROGRAM ": %s %d %s",
                    ending->lost ? "lost" : end_reason_name(ending->reason), ending->code,
                    screen->complaint);
        answer_error(screen->request, 500, ERROR_internal, "The screen cannot be rendered");
    }
}

static void read_screen(struct request *request, const struct json_body *query)
{
    static const struct pump_sink sink = {.data = take_screen};
    cleanup_(admission_leave) struct admission admission = {0};
    cleanup_(screen_request_clear) struct screen_request screen = {
        .request = request,
        .id = json_text(query, "id"),
        .directory = -1,
        .log = spool_new(spools_directory(), PIECE)};
    if (screen.log == NULL || gathered_init(&screen.text, OUTPUT_MOST, NULL) < 0) {
        answer_error(request, 503, ERROR_unavailable, "Out of memory");
        return;
    }
    if (!admission_enter(&admission, ADMISSION_RUN, request) || !open_screen(&screen) ||
        !load_terminal(&screen)) {
        return;
    }
    cleanup_(foreground_end) struct foreground foreground = FOREGROUND_NONE;
    if (start_to_render(&screen, &foreground)) {
        struct ending ending = {.lost = true};
        enum pump_result result = pump_run(&foreground, request, &sink, &screen, &ending);
        finish_screen(&screen, result, &ending);
    }
}

static const struct json_member screen_parameters[] = {PROCESS_ID_MEMBER};
const struct endpoint read_screen_endpoint = {
    API_ROW(read_screen),
    .about = "What a terminal shows, as text.",
    MEMBERS(screen_parameters),
    .handle = read_screen,
};
