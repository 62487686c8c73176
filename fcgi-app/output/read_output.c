/*
 * POST /read_output: what a process has printed since a place, once it is worth an answer. Here the
 * request is read; output_wait.c waits.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/files/content.h"
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/output/output_wait.h"
#include "fcgi-app/processes/input.h"
#include "fcgi-app/processes/process_id.h"
#include "fcgi-app/streams/streams.h"
#include "procd/wire/client.h"

#define TIMEOUT_MS    10000
#define SETTLE_MS     100
#define MAX_BYTES     65536
#define MAX_BYTES_MIN 4 /* a character */
#define MAX_BYTES_MAX 1048576
#define OFFSET_END    "end"

/* NULL, or what is wrong with the request. */
static const char *output_fault(const struct json_body *body, enum coding *coding)
{
    uint64_t most = json_count(body, "max_bytes", MAX_BYTES);
    const char *until = json_text(body, "until");
    if (most < MAX_BYTES_MIN || most > MAX_BYTES_MAX) {
        return "max_bytes must be from 4 to 1048576";
    }
    if (until != NULL && strlen(until) > TEXT_FINDER_MAX) {
        return "until must have at most 4096 bytes";
    }
    return coding_read(body, coding);
}

/* To where the output begins. False after an answer. */
static bool output_seek(struct request *request, const struct json_body *body,
                        struct output_wait *wait)
{
    static const char *const faults[] = {
        [LOG_SEEK_FOREIGN] = "it belongs to another process",
        [LOG_SEEK_AHEAD] = "it is ahead of the output",
        [LOG_SEEK_UNKNOWN] = "it is no place in the output",
    };
    const char *offset = json_text(body, "offset");
    enum log_seek found = LOG_SEEK_DONE;
    if (offset == NULL ? wait->has_input : strcmp(offset, OFFSET_END) == 0) {
        found = output_reader_seek_end(&wait->reader) < 0 ? LOG_SEEK_FAILED : LOG_SEEK_DONE;
    } else if (offset != NULL) {
        found = output_reader_seek(&wait->reader, wait->id, offset);
    }
    if (found == LOG_SEEK_FAILED) {
        log_request(LOG_ERR, request_id(request), "/read_output: %m");
        answer_error(request, 500, ERROR_internal, "The log cannot be read");
    } else if (found != LOG_SEEK_DONE) {
        answer_error(request, 400, ERROR_invalid_request, "Invalid offset: %s", faults[found]);
    }
    wait->begin = output_reader_place(&wait->reader);
    return found == LOG_SEEK_DONE;
}

/* Writes what the client types. Only what comes afterwards is an answer to it. False after an
 * answer. */
static bool output_type(struct request *request, const struct json_body *body,
                        struct output_wait *wait)
{
    enum procd_result result;
    if (!wait->has_input) {
        return true;
    }
    if (output_reader_count_from_end(&wait->reader) < 0) {
        log_request(LOG_ERR, request_id(request), "/read_output: %m");
        answer_error(request, 500, ERROR_internal, "The log cannot be read");
        return false;
    }
    if (!input_write(request, body, false, &result, &wait->input)) {
        return false;
    }
    if (result != PROCD_DONE) {
        answer_refusal(request, result, wait->id, wait->input.status, 404);
    }
    return result == PROCD_DONE;
}

/* The wait that the request asks for, whose directory it takes over. NULL after an answer. */
static struct output_wait *output_prepare(struct request *request, const struct json_body *body,
                                          enum coding coding, int directory)
{
    const char *until = json_text(body, "until");
    struct output_wait *wait = output_wait_new(
        json_text(body, "id"), directory, (size_t)json_count(body, "max_bytes", MAX_BYTES), until);
    if (wait == NULL) {
        answer_error(request, 503, ERROR_unavailable, "Out of memory");
        return NULL;
    }
    wait->coding = coding;
    wait->settle_ms = json_is_given(body, "settle_ms") || until == NULL
                          ? (int64_t)json_count(body, "settle_ms", SETTLE_MS)
                          : -1;
    wait->has_input = json_is_given(body, "data");
    if (!output_seek(request, body, wait) || !output_type(request, body, wait)) {
        output_wait_free(wait);
        return NULL;
    }
    wait->until_ms = clock_monotonic_ms() + (int64_t)json_count(body, "timeout_ms", TIMEOUT_MS);
    return wait;
}

static void read_output(struct request *request, const struct json_body *body)
{
    enum coding coding;
    const char *id = json_text(body, "id");
    const char *fault = output_fault(body, &coding);
    if (fault != NULL) {
        answer_error(request, 400, ERROR_invalid_request, "%s", fault);
        return;
    }
    cleanup_(admission_leave) struct admission admission = {0};
    if (!admission_enter(&admission, ADMISSION_STREAM, request)) {
        return;
    }
    int directory = -1;
    enum procd_result result = procd_open_job(id, &directory);
    if (result == PROCD_NOT_FOUND) {
        answer_error(request, 404, ERROR_not_found, "process not found: %s", id);
    } else if (result != PROCD_DONE) {
        answer_procd_failure(request, result);
    } else {
        struct output_wait *wait = output_prepare(request, body, coding, directory);
        if (wait != NULL) {
            stream_open(request, &wait->source, &admission);
        }
    }
}

static const struct json_member output_members[] = {
    PROCESS_ID_MEMBER,
    {JSON_MEMBER("offset", TEXT_OR_INT, "Where to begin: next_offset of the answer before.")},
    {JSON_MEMBER("timeout_ms", COUNT, "The longest time to wait: 10000.")},
    {JSON_MEMBER("settle_ms", COUNT, "Answers when nothing more has come for so long: 100.")},
    {JSON_MEMBER("until", TEXT, "Answers when this text has come.")},
    {JSON_MEMBER("max_bytes", COUNT, "The most output of one answer: 65536.")},
    CODING_MEMBERS,
    {JSON_MEMBER("data", CONTENT, "What is written to its standard input first.")},
};
const struct endpoint read_output_endpoint = {
    API_ROW(read_output),
    .about = "Reads the output of a process: waits for it, and may type first.",
    MEMBERS(output_members),
    .handle = read_output,
};
