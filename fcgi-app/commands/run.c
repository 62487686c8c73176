/*
 * POST /run: standard output is escaped straight into the answer, standard error is kept aside
 * until the end. What fits the writer's buffer leaves as one answer with its length.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/signal_name.h"
#include "common/spool.h"
#include "fcgi-app/commands/base64_output.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/commands/foreground.h"
#include "fcgi-app/commands/run.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/http/writer.h"

#define ANSWER_BUFFER ((size_t)262144)
#define STDERR_MEMORY ((size_t)65536)

/* One part in so many of the room for output is for standard error alone. */
#define STDERR_SHARE 4

static uint64_t output_max = UINT64_MAX; /* bytes of both streams together */

void run_init(uint64_t max_output)
{
    output_max = max_output == 0 ? UINT64_MAX : max_output;
}

struct run {
    struct request *request;
    struct writer writer;
    struct spool *errors;
    bool merged;    /* there is no standard error of its own */
    bool is_base64; /* the output is written so */
    struct base64_output base64;
    uint64_t out_size; /* bytes of standard output in the answer */
    bool cut[2];       /* by enum pump_stream: there was more */
    int error;         /* errno of what failed here; 0 when it was the client that left */
};

static void run_clear(struct run *run)
{
    writer_clear(&run->writer);
    spool_freep(&run->errors);
}
#define cleanup_run cleanup_(run_clear)

/*
 * How many more bytes of a stream are taken. Standard output leaves as it comes, so that it cannot
 * be cut afterwards: it may not take the part of standard error, which may take what it leaves.
 */
static uint64_t room_for(const struct run *run, enum pump_stream stream)
{
    uint64_t errors_share = run->merged ? 0 : output_max / STDERR_SHARE;
    return stream == PUMP_STDOUT ? output_max - errors_share - run->out_size
                                 : output_max - spool_size(run->errors);
}

/* Output beyond the room is thrown away, and the command runs on. */
static int run_take_output(void *context, enum pump_stream stream, const char *data, size_t length)
{
    struct run *run = context;
    uint64_t room = room_for(run, stream);
    if (length > room) {
        length = (size_t)room;
        run->cut[stream] = true;
    }
    if (stream == PUMP_STDOUT) {
        run->out_size += length;
        return run->is_base64 ? base64_output_piece(&run->base64, &run->writer, data, length)
                              : writer_piece(&run->writer, data, length);
    }
    if (spool_write(run->errors, data, length) < 0) {
        run->error = errno;
        return -1;
    }
    return 0;
}

static void run_fail(void *context, const char *message)
{
    const struct run *run = context;
    if (run->writer.begun) {
        request_abort(run->request);
    } else {
        answer_lost(run->request, "%s", message);
    }
}

static int end_text(struct run *run, enum pump_stream stream)
{
    if (run->is_base64) {
        return base64_output_end(&run->base64, &run->writer);
    }
    if (run->cut[stream]) {
        (void)writer_piece_cut(&run->writer);
        return 0;
    }
    return writer_piece_end(&run->writer);
}

static int write_errors(struct run *run)
{
    uint64_t size = spool_size(run->errors);
    if (size > output_max - run->out_size) {
        size = output_max - run->out_size;
        run->cut[PUMP_STDERR] = true;
    }
    int written = run->is_base64
                      ? base64_output_spool(&run->base64, &run->writer, run->errors, size)
                      : writer_spool(&run->writer, run->errors, size);
    run->error = written == -2 ? errno : run->error;
    return written < 0 ? -1 : end_text(run, PUMP_STDERR);
}

static void write_ending(struct run *run, const struct ending *ending)
{
    struct writer *writer = &run->writer;
    bool truncated = run->cut[PUMP_STDOUT] || run->cut[PUMP_STDERR];
    char name[SIGNAL_NAME_SIZE];
    (void)writer_format(writer, "\",\"code\":%d", ending->code);
    (void)writer_string(writer, ending->code == 0 ? "" : ",\"error\":\"Non-zero exit code\"");
    if (ending->signal != 0) {
        (void)writer_format(writer, ",\"signal\":\"%s\"", signal_name(ending->signal, name));
    }
    (void)writer_string(writer, truncated ? ",\"truncated\":true" : "");
    (void)writer_string(writer, run->is_base64 ? ",\"is_base64\":true" : "");
    (void)writer_format(writer, ",\"reason\":\"%s\",\"duration_ms\":%llu,\"max_rss_kb\":%llu}",
                        end_reason_name(ending->reason), (unsigned long long)ending->duration_ms,
                        (unsigned long long)ending->max_rss_kb);
}

/*
 * For nginx's access log, which hides them from the client (nginx/snippets/fastcgi.conf). An answer
 * that has begun has no more headers: then the end is in our own log alone.
 */
static void tell_ending(struct writer *writer, const struct ending *ending)
{
    char name[SIGNAL_NAME_SIZE];
    writer_header(writer,
                  "X-Sandbox-Exit-Code: %d\r\nX-Sandbox-Signal: %s\r\nX-Sandbox-Reason: %s\r\n"
                  "X-Sandbox-Max-Rss-Kb: %llu\r\n",
                  ending->code, ending->signal == 0 ? "" : signal_name(ending->signal, name),
                  end_reason_name(ending->reason), (unsigned long long)ending->max_rss_kb);
}

static const char *run_finish(void *context, const struct ending *ending)
{
    struct run *run = context;
    if (ending->lost) {
        return COMMAND_LOST;
    }
    if (end_text(run, PUMP_STDOUT) < 0 || writer_string(&run->writer, "\",\"stderr\":\"") < 0 ||
        write_errors(run) < 0) {
        return run->error == 0 ? NULL : error_text(run->error);
    }
    tell_ending(&run->writer, ending);
    write_ending(run, ending);
    (void)writer_finish(&run->writer);
    return NULL;
}

static void run_command(struct request *request, const struct json_body *body)
{
    static const struct foreground_answer answer = {
        .sink = {.data = run_take_output}, .finish = run_finish, .fail = run_fail};
    cleanup_run struct run run = {.request = request,
                                  .merged = json_flag(body, "merge_stderr"),
                                  .errors = spool_new(spools_directory(), STDERR_MEMORY)};
    if (!encoding_member_read(request, body, "output_encoding", &run.is_base64)) {
        return;
    }
    if (run.errors == NULL || writer_init(&run.writer, request, ANSWER_BUFFER, false) < 0) {
        answer_error(request, 500, ERROR_internal, "Out of memory");
        return;
    }
    (void)writer_string(&run.writer, "{\"stdout\":\"");
    foreground_run(request, body, &answer, &run, &run.error);
}

static const struct json_member run_members[] = {
    FOREGROUND_MEMBERS,
    {JSON_MEMBER("output_encoding", TEXT, "How the output is written: utf-8 or base64.")},
};
const struct endpoint run_endpoint = {
    API_ROW(run),
    .about = "Runs a command and answers with its output and how it ended.",
    MEMBERS(run_members),
    .handle = run_command,
};
