#include "fcgi-app/output/output_answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/statuses.h"
#include "common/json_text.h"
#include "common/rfc3339.h"
#include "common/signal_name.h"
#include "common/spool.h"
#include "fcgi-app/files/base64.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/http/writer.h"
#include "fcgi-app/output/gathered.h"
#include "procd/wire/client.h"

#define ANSWER_MEMORY ((size_t)16384) /* the rest is in a file */
#define PIECE         ((size_t)3072)  /* of the output that is rendered at a time: whole groups */
#define TAIL_SIZE     1024            /* more than all behind the output */

/* ---- the output ---- */

static int put_base64(struct spool *body, const char *bytes, size_t length)
{
    char text[BASE64_ENCODED_MAX(PIECE)];
    for (size_t at = 0; at < length; at += PIECE) {
        size_t step = length - at < PIECE ? length - at : PIECE;
        if (spool_write(body, text, base64_encode(bytes + at, step, text)) < 0) {
            return -1;
        }
    }
    return 0;
}

static int put_text(struct spool *body, const char *bytes, size_t length, bool *replaced)
{
    char text[JSON_ESCAPED_MAX(PIECE)];
    for (size_t at = 0, taken; at < length; at += taken) {
        size_t step = length - at < PIECE ? length - at : PIECE;
        size_t escaped =
            json_escape_noting(text, bytes + at, step, at + step == length, &taken, replaced);
        if (spool_write(body, text, escaped) < 0) {
            return -1;
        }
    }
    return 0;
}

static int put_output(struct spool *body, const struct output_report *report)
{
    static const char begin[] = "{\"output\":\"";
    bool replaced = false;
    const char *bytes = spool_view(report->gathered->bytes);
    size_t length = report->gathered->length;
    if (bytes == NULL || spool_write(body, begin, strlen(begin)) < 0) {
        return -1;
    }
    bool is_base64 = report->coding == CODING_BASE64 ||
                     (report->coding == CODING_ANY && coding_is_of_bytes(bytes, length));
    int put =
        is_base64 ? put_base64(body, bytes, length) : put_text(body, bytes, length, &replaced);
    const char *end = is_base64  ? "\",\"is_base64\":true"
                      : replaced ? "\",\"is_utf8\":false"
                                 : "\"";
    return put < 0 ? -1 : spool_write(body, end, strlen(end));
}

/* ---- what is behind it ---- */

/* The status, and how the process has ended. */
static char *put_job(char *at, const struct job *job)
{
    const uint64_t second = 1000000000;
    char signal[SIGNAL_NAME_SIZE], time[RFC3339_SIZE];
    at += sprintf(at, ",\"status\":\"%s\"", job_status_name(job->status));
    if (job->status == JOB_RUNNING) {
        return at;
    }
    at += sprintf(at, ",\"exit_code\":%d", job->ending.code);
    if (job->ending.signal != 0) {
        at += sprintf(at, ",\"signal\":\"%s\"", signal_name(job->ending.signal, signal));
    }
    return at + sprintf(at, ",\"reason\":\"%s\",\"ended_at\":\"%s\"",
                        end_reason_name(job->ending.reason),
                        rfc3339_format((int64_t)(job->ended_at / second),
                                       (uint32_t)(job->ended_at % second), time));
}

static size_t render_tail(const struct output_report *report, char tail[TAIL_SIZE])
{
    static const char *const names[] = {
        [OUTPUT_UNTIL] = "until", [OUTPUT_QUIET] = "quiet",     [OUTPUT_FULL] = "max_bytes",
        [OUTPUT_ENDED] = "ended", [OUTPUT_TIMEOUT] = "timeout", [OUTPUT_STOPPING] = "stopping",
    };
    char *at = tail;
    at +=
        sprintf(at, ",\"offset\":%s,\"next_offset\":%s,\"more\":%s,\"why\":\"%s\"", report->offset,
                report->next_offset, report->has_more ? "true" : "false", names[report->why]);
    if (report->missed_bytes > 0) {
        at += sprintf(at, ",\"missed_bytes\":%" PRIu64, report->missed_bytes);
    }
    if (report->missed_lines > 0 && report->lines_known) {
        at += sprintf(at, ",\"missed_lines\":%" PRIu64, report->missed_lines);
    }
    if (report->has_input) {
        at += sprintf(at, ",\"written\":%zu,\"full\":%s", report->written,
                      report->is_input_full ? "true" : "false");
    }
    at = put_job(at, report->job);
    at += sprintf(at, "}");
    return (size_t)(at - tail);
}

/* ---- the whole ---- */

/* What nginx reads before the body, which is whole. */
static void put_head(struct output_answer *answer, int status)
{
    unsigned index = api_status_index(status);
    uint64_t size = spool_size(answer->body);
    char length[48] = "";
    if (size <= ANSWER_AT_ONCE) {
        (void)snprintf(length, sizeof(length), "Content-Length: %" PRIu64 "\r\n", size);
    }
    answer->head_length =
        (size_t)snprintf(answer->head, sizeof(answer->head),
                         "Content-Type: application/json\r\nStatus: %d %s\r\n%s%s\r\n", status,
                         index < API_STATUS_COUNT ? api_statuses[index].reason : "Error",
                         API_STATUS_REPEATS(status) ? "Retry-After: 1\r\n" : "", length);
    answer->status = status;
}

/* An answer of which nothing is there. 0, or -1 with errno. */
static int begin_answer(struct output_answer *answer)
{
    output_answer_clear(answer);
    answer->body = spool_new(spools_directory(), ANSWER_MEMORY);
    return answer->body == NULL ? -1 : 0;
}

int output_answer_make(struct output_answer *answer, const struct output_report *report)
{
    char tail[TAIL_SIZE];
    if (begin_answer(answer) < 0 || put_output(answer->body, report) < 0 ||
        spool_write(answer->body, tail, render_tail(report, tail)) < 0) {
        return -1;
    }
    put_head(answer, 200);
    return 0;
}

int output_answer_fail(struct output_answer *answer, int status, enum api_error error,
                       const char *message)
{
    char text[TAIL_SIZE];
    int length = snprintf(text, sizeof(text), "{\"error\":\"%s\",\"error_code\":\"%s\"%s}", message,
                          api_error_code(error),
                          error == ERROR_may_have_run ? ",\"may_have_run\":true" : "");
    if (begin_answer(answer) < 0 || spool_write(answer->body, text, (size_t)length) < 0) {
        return -1;
    }
    put_head(answer, status);
    return 0;
}

ssize_t output_answer_read(const struct output_answer *answer, uint64_t offset, char *data,
                           size_t size)
{
    size_t of_head = 0;
    if (offset < answer->head_length) {
        of_head = answer->head_length - (size_t)offset;
        of_head = of_head < size ? of_head : size;
        memcpy(data, answer->head + offset, of_head);
    }
    ssize_t of_body = spool_read(answer->body, offset + of_head - answer->head_length,
                                 data + of_head, size - of_head);
    return of_body < 0 ? -1 : (ssize_t)of_head + of_body;
}

void output_answer_clear(struct output_answer *answer)
{
    spool_freep(&answer->body);
    *answer = (struct output_answer){.status = 0};
}
