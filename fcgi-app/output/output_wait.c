/*
 * Theory of operation: whenever something has changed in the process's directory, or a time is
 * over, the wait gathers what is new and looks whether there is a reason to answer. Then the answer
 * is made whole, and sent piece by piece.
 */
#include "fcgi-app/output/output_wait.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "fcgi-app/http/stopping.h"
#include "fcgi-app/processes/job_end.h"
#include "fcgi-app/processes/known_list.h"

#define NEAR_END_MS 5 /* between two looks whether the record of the end is there */

/* ---- what comes ---- */

/* Since when it is quiet after the first output of the wait: that may have been there before. */
static int64_t quiet_since_ms(const struct output_wait *wait, int64_t now)
{
    int64_t written = wait->has_input ? -1 : output_reader_written_ms(&wait->reader);
    int64_t age = (int64_t)(clock_date_ns() / 1000000U) - written;
    return written >= 0 && age > 0 && age < now ? now - age : now;
}

/* Whether any output has come that counts. */
static bool has_output(const struct output_wait *wait)
{
    struct line_place at = output_reader_place(&wait->reader);
    uint64_t from = output_reader_counts_from(&wait->reader);
    from = from > wait->begin.offset ? from : wait->begin.offset;
    return at.offset > from ||
           (at.offset == from && at.taken > (from == wait->begin.offset ? wait->begin.taken : 0));
}

/* Gathers the next bytes. 1; 0 when there are none for now; -1 with errno. */
static int gather(struct output_wait *wait, struct stream_output *output, int64_t now)
{
    int read = output_reader_read(&wait->reader, output->bytes, output->size, &wait->gathered);
    if (read > 0 && has_output(wait)) {
        wait->last_output_ms = wait->last_output_ms != 0 ? now : quiet_since_ms(wait, now);
    }
    if (wait->gathered.error != 0) {
        errno = wait->gathered.error;
        return -1;
    }
    return read;
}

/* Looks whether the process has ended: it may have written more since. 1, 0, or -1 with errno. */
static int look_for_end(struct output_wait *wait)
{
    int ended = job_end_is_there(wait->source.directory);
    if (ended > 0) {
        known_list_forget();
        wait->job_ended = true;
    }
    return ended;
}

/* Whether there is a reason to answer now that nothing more is there; *due is when there may be
 * one. A process that is ending has ended as soon as its record is there. */
static bool is_time(const struct output_wait *wait, int64_t now, enum output_why *why, int64_t *due)
{
    int64_t quiet_ms = wait->settle_ms < 0 || wait->last_output_ms == 0
                           ? INT64_MAX
                           : wait->last_output_ms + wait->settle_ms;
    *why = wait->job_ended   ? OUTPUT_ENDED
           : is_stopping()   ? OUTPUT_STOPPING
           : now >= quiet_ms ? OUTPUT_QUIET
                             : OUTPUT_TIMEOUT;
    *due = quiet_ms < wait->until_ms ? quiet_ms : wait->until_ms;
    if (*why == OUTPUT_TIMEOUT && now < wait->until_ms) {
        return false;
    }
    *due = now + NEAR_END_MS;
    return *why == OUTPUT_ENDED || now >= wait->until_ms + JOB_END_MOST_MS ||
           !job_end_is_near(wait->source.directory);
}

/* ---- the answer ---- */

/* Makes an error, which is no 5xx when something was written: clients repeat those. -1: the answer
 * can only be cut. */
static int fail_to_read(struct output_wait *wait, int number)
{
    errno = number;
    log_at(LOG_ERR, "/read_output: %m");
    return output_answer_fail(&wait->answer, wait->has_input ? 409 : 500,
                              wait->has_input ? ERROR_may_have_run : ERROR_internal,
                              "The log cannot be read");
}

/* The process was forgotten meanwhile. */
static int fail_to_find(struct output_wait *wait)
{
    char message[64 + JOB_ID_SIZE];
    (void)snprintf(message, sizeof(message), "process not found: %s", wait->id);
    return output_answer_fail(&wait->answer, 404, ERROR_not_found, message);
}

/* Leaves the beginning of a character at the end to the next answer, unless it is all there is. */
static void leave_half_character(struct output_wait *wait, enum output_why why)
{
    if (wait->coding != CODING_BASE64 && why != OUTPUT_UNTIL && why != OUTPUT_ENDED) {
        output_reader_give_back(&wait->reader, gathered_cut(&wait->gathered));
    }
}

/* Fills in where the output is. 0, or -1 with errno. */
static int report_places(struct output_wait *wait, enum output_why why,
                         struct output_report *report)
{
    struct output_reader *reader = &wait->reader;
    if (why == OUTPUT_ENDED && output_reader_finish(reader) < 0) {
        return -1;
    }
    int more = output_reader_has_more(reader);
    if (more < 0) {
        return -1;
    }
    report->has_more = more > 0;
    leave_half_character(wait, why);
    report->missed_bytes =
        reader->is_terminal ? reader->bytes.missed_bytes : reader->lines.missed_bytes;
    report->missed_lines = reader->is_terminal ? 0 : reader->lines.missed_lines;
    report->lines_known = !reader->is_terminal && reader->lines.lines_known;
    struct line_place end = output_reader_place(reader);
    output_reader_render(reader, wait->id, &wait->begin, report->offset);
    output_reader_render(reader, wait->id, &end, report->next_offset);
    return 0;
}

static int make_answer(struct output_wait *wait, enum output_why why)
{
    struct job job = {.status = JOB_RUNNING};
    struct output_report report = {.gathered = &wait->gathered,
                                   .coding = wait->coding,
                                   .why = why,
                                   .has_input = wait->has_input,
                                   .written = wait->input.count,
                                   .is_input_full = !wait->input.is_all,
                                   .job = &job};
    if (job_end_look(wait->source.directory, &job) < 0) {
        return errno == ENOENT ? fail_to_find(wait) : fail_to_read(wait, errno);
    }
    return report_places(wait, why, &report) < 0 || output_answer_make(&wait->answer, &report) < 0
               ? fail_to_read(wait, errno)
               : 0;
}

/* ---- the source ---- */

/* The next bytes of the answer. */
static enum stream_next send_answer(struct output_wait *wait, struct stream_output *output)
{
    ssize_t count = output_answer_read(&wait->answer, wait->sent, output->bytes, output->size);
    if (count < 0) {
        return STREAM_FAILED;
    }
    output->length = (size_t)count;
    wait->sent += (uint64_t)count;
    wait->source.status = wait->answer.status;
    return count > 0 ? STREAM_BYTES : STREAM_LAST_EVENT;
}

static enum stream_next give_answer(struct output_wait *wait, struct stream_output *output,
                                    int made)
{
    return made < 0 ? STREAM_FAILED : send_answer(wait, output);
}

static enum stream_next output_wait_next(struct stream_source *source, struct stream_output *output)
{
    struct output_wait *wait = (struct output_wait *)source;
    enum output_why why;
    if (wait->answer.status != 0) {
        return send_answer(wait, output);
    }
    int64_t now = clock_monotonic_ms();
    int got = gather(wait, output, now);
    if (got < 0) {
        return give_answer(wait, output, fail_to_read(wait, errno));
    }
    if (gathered_is_enough(&wait->gathered)) {
        why = wait->gathered.is_found ? OUTPUT_UNTIL : OUTPUT_FULL;
        return give_answer(wait, output, make_answer(wait, why));
    }
    if (got == 0 && !wait->job_ended) {
        got = look_for_end(wait);
    }
    if (got != 0) { /* others have their turn before it reads on */
        output->due = now;
        return got < 0 ? give_answer(wait, output, fail_to_read(wait, errno)) : STREAM_LATER;
    }
    return is_time(wait, now, &why, &output->due)
               ? give_answer(wait, output, make_answer(wait, why))
               : STREAM_LATER;
}

static void output_wait_unread(struct stream_source *source, size_t length)
{
    ((struct output_wait *)source)->sent -= length;
}

void output_wait_free(struct output_wait *wait)
{
    if (wait == NULL) {
        return;
    }
    output_reader_clear(&wait->reader);
    gathered_clear(&wait->gathered);
    output_answer_clear(&wait->answer);
    close_fd(&wait->source.directory);
    free(wait);
}

static void output_wait_free_source(struct stream_source *source)
{
    output_wait_free((struct output_wait *)source);
}

struct output_wait *output_wait_new(const char *id, int directory, size_t most, const char *until)
{
    struct output_wait *wait = calloc(1, sizeof(*wait));
    if (wait == NULL || gathered_init(&wait->gathered, most, until) < 0) {
        free(wait);
        (void)close(directory);
        return NULL;
    }
    wait->source = (struct stream_source){.directory = directory,
                                          .name = "/read_output",
                                          .is_answer = true,
                                          .next = output_wait_next,
                                          .unread = output_wait_unread,
                                          .free = output_wait_free_source};
    (void)snprintf(wait->id, sizeof(wait->id), "%s", id);
    output_reader_init(&wait->reader, directory);
    return wait;
}
