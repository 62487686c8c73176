#include "fcgi-app/output/line_output.h"

#include <errno.h>
#include <string.h>

#include "fcgi-app/http/metrics.h"
#include "fcgi-app/output/gathered.h"
#include "procd/log/job_position.h"

void line_output_init(struct line_output *output, int directory)
{
    *output = (struct line_output){.lines_known = true};
    log_cursor_init(&output->cursor, directory);
    output->cursor.expected = 0;
}

void line_output_clear(struct line_output *output)
{
    log_cursor_clear(&output->cursor);
}

int line_output_seek_end(struct line_output *output)
{
    struct job_position position;
    if (job_position_read(output->cursor.directory, &position) < 0) {
        return -1;
    }
    output->place = (struct line_place){.offset = position.next_offset, .line = position.next_line};
    return log_cursor_seek(&output->cursor, output->place.offset, output->place.line) ==
                   LOG_SEEK_DONE
               ? 0
               : -1;
}

int line_output_count_from_end(struct line_output *output)
{
    struct job_position position;
    if (job_position_read(output->cursor.directory, &position) < 0) {
        return -1;
    }
    output->counts_from = position.next_offset;
    return 0;
}

enum log_seek line_output_seek(struct line_output *output, const struct line_place *place)
{
    output->place = *place;
    output->skip = place->taken;
    return log_cursor_seek(&output->cursor, place->offset, place->line);
}

/* ---- what was read ---- */

/* Retention was faster. */
static void note_gap(struct line_output *output, const struct log_gap *gap)
{
    struct event_id next;
    output->missed_bytes += gap->bytes;
    output->missed_lines += gap->lines;
    output->lines_known = output->lines_known && gap->lines_known;
    output->skip = 0;
    metrics_gap(gap->bytes, gap->lines_known ? gap->lines : 0);
    if (event_id_parse(gap->next_id, strlen(gap->next_id), &next)) {
        output->place = (struct line_place){.offset = next.offset, .line = next.line};
    }
}

/* Takes text of the line at the place, without what the client has of it. */
static void take_line_text(struct line_output *output, const char *text, size_t length,
                           struct gathered *gathered)
{
    size_t skipped = output->skip < length ? (size_t)output->skip : length;
    output->skip -= skipped;
    size_t taken = gathered_take(gathered, text + skipped, length - skipped,
                                 output->place.offset >= output->counts_from);
    output->place.taken += taken;
    output->has_rest = output->has_rest || taken < length - skipped;
}

/* The event is whole: its line ends with a newline, unless it goes on. */
static void take_line_end(struct line_output *output, const struct event_text_part *part,
                          struct gathered *gathered)
{
    if (!part->is_continued) {
        take_line_text(output, "\n", 1, gathered);
    }
    if (!output->has_rest) {
        output->skip = 0;
        output->place = (struct line_place){.offset = part->event.id.offset + part->event_length,
                                            .line = part->event.id.line + 1};
    }
}

static void take_lost(struct line_output *output, const struct event_text_part *part)
{
    output->missed_lines += part->event.missed;
    output->place.offset += part->event_length;
    output->place.line += part->event.missed;
}

/* Whether the next event is wanted: what ends behind a line's text reads on to the end of it. */
static bool wants_more(const struct line_output *output, const struct gathered *gathered)
{
    return !output->has_rest &&
           (!gathered_is_enough(gathered) || output->event.state == EVENT_AT_TAIL);
}

/* Takes events out of what was read. 0, or -1 with errno. */
static int take_events(struct line_output *output, const char *data, size_t length,
                       struct gathered *gathered)
{
    struct event_text_part part;
    while (wants_more(output, gathered)) {
        switch (event_text_next(&output->event, &data, &length, &part)) {
        case EVENT_TEXT_PIECE: take_line_text(output, part.text, part.length, gathered); break;
        case EVENT_TEXT_LINE: take_line_end(output, &part, gathered); break;
        case EVENT_TEXT_GAP: take_lost(output, &part); break;
        case EVENT_TEXT_MORE: return 0;
        case EVENT_TEXT_BAD:
        default: errno = EBADMSG; return -1;
        }
    }
    output->has_rest = output->has_rest || length > 0;
    return 0;
}

int line_output_read(struct line_output *output, char *buffer, size_t size,
                     struct gathered *gathered)
{
    struct log_gap gap;
    ssize_t count = log_cursor_read(&output->cursor, buffer, size, &gap);
    if (gap.bytes > 0 && count >= 0) {
        note_gap(output, &gap);
    }
    if (count <= 0) {
        return (int)count;
    }
    return take_events(output, buffer, (size_t)count, gathered) < 0 ? -1 : 1;
}

int line_output_has_more(struct line_output *output)
{
    char byte;
    struct log_gap gap;
    if (output->has_rest || output->event.state != EVENT_AT_HEAD) {
        return 1;
    }
    ssize_t count = log_cursor_read(&output->cursor, &byte, 1, &gap);
    return count < 0 ? -1 : count > 0 || gap.bytes > 0;
}

void line_output_give_back(struct line_output *output, size_t length)
{
    output->place.taken -= length < output->place.taken ? length : output->place.taken;
    output->has_rest = output->has_rest || length > 0;
}
