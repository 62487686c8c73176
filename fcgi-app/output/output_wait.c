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
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "fcgi-app/http/stopping.h"
#include "fcgi-app/processes/job_end.h"
#include "fcgi-app/processes/known_list.h"

/* ---- what comes ---- */

/* When the log was last written to, for output that was there before the wait: quiet is counted
 * from then. */
static int64_t last_written_ms(const struct output_wait *wait, int64_t now)
{
    struct stat status;
    if (wait->has_input || wait->lines.cursor.segment < 0 ||
        fstat(wait->lines.cursor.segment, &status) < 0) {
        return now;
    }
    const int64_t second = 1000;
    int64_t date = (int64_t)(clock_date_ns() / 1000000U);
    int64_t age =
        date - ((int64_t)status.st_mtim.tv_sec * second + status.st_mtim.tv_nsec / 1000000);
    return age > 0 && age < now ? now - age : now;
}

/* Whether any output has come that counts. */
static bool has_output(const struct output_wait *wait)
{
    const struct line_place *at = &wait->lines.place;
    const struct line_place *begin = &wait->begin;
    return at->offset >= wait->lines.counts_from &&
           (at->offset > begin->offset || at->taken > begin->taken) &&
           (at->offset > wait->lines.counts_from || at->taken > 0);
}

/* Gathers the next bytes. 1; 0 when there are none for now; -1 with errno. */
static int gather(struct output_wait *wait, struct stream_output *output, int64_t now)
{
    bool was_here = wait->last_output_ms != 0;
    int read = line_output_read(&wait->lines, output->bytes, output->size, &wait->gathered);
    if (read > 0 && has_output(wait)) {
        wait->last_output_ms = was_here ? now : last_written_ms(wait, now);
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
 * one. */
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
    return *why != OUTPUT_TIMEOUT || now >= wait->until_ms;
}

/* ---- the answer ---- */

static void render_place(const struct output_wait *wait, const struct line_place *place,
                         char text[OUTPUT_PLACE_SIZE])
{
    char id[LINE_PLACE_SIZE];
    line_place_render(wait->id, place, id);
    (void)snprintf(text, OUTPUT_PLACE_SIZE, "\"%s\"", id);
}

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
    if (job_end_is_there(wait->source.directory) > 0 &&
        !job_end_read(wait->source.directory, &job)) {
        return errno == ENOENT ? fail_to_find(wait) : fail_to_read(wait, errno);
    }
    if (why == OUTPUT_FULL && wait->coding != CODING_BASE64) {
        line_output_give_back(&wait->lines, gathered_cut(&wait->gathered));
    }
    int more = line_output_has_more(&wait->lines);
    if (more < 0) {
        return fail_to_read(wait, errno);
    }
    report.has_more = more > 0;
    report.missed_bytes = wait->lines.missed_bytes;
    report.missed_lines = wait->lines.missed_lines;
    report.lines_known = wait->lines.lines_known;
    render_place(wait, &wait->begin, report.offset);
    render_place(wait, &wait->lines.place, report.next_offset);
    return output_answer_make(&wait->answer, &report) < 0 ? fail_to_read(wait, errno) : 0;
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
    line_output_clear(&wait->lines);
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
    line_output_init(&wait->lines, directory);
    return wait;
}
