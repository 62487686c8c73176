#include "fcgi-app/output/output_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/directory.h"
#include "procd/log/job_files.h"

#define OFFSET_DIGITS 18 /* no byte log comes so far */

void output_reader_init(struct output_reader *reader, int directory)
{
    reader->directory = directory;
    reader->is_terminal = directory_has(directory, JOB_SIZE_FILE);
    if (reader->is_terminal) {
        byte_output_init(&reader->bytes, directory);
    } else {
        line_output_init(&reader->lines, directory);
    }
}

void output_reader_clear(struct output_reader *reader)
{
    if (reader->is_terminal) {
        byte_output_clear(&reader->bytes);
    } else {
        line_output_clear(&reader->lines);
    }
}

/* ---- places ---- */

/* The offset behind all that a terminal has. */
static int find_byte_end(const struct output_reader *reader, uint64_t *next)
{
    uint64_t first;
    return byte_log_bounds(reader->directory, &first, next);
}

static enum log_seek seek_byte(struct output_reader *reader, const char *place)
{
    uint64_t next;
    size_t digits = strspn(place, "0123456789");
    uint64_t offset = strtoull(place, NULL, 10);
    if (digits == 0 || digits > OFFSET_DIGITS || place[digits] != '\0') {
        return LOG_SEEK_UNKNOWN;
    }
    if (find_byte_end(reader, &next) < 0) {
        return LOG_SEEK_FAILED;
    }
    if (offset > next) {
        return LOG_SEEK_AHEAD;
    }
    byte_output_seek(&reader->bytes, offset);
    return LOG_SEEK_DONE;
}

enum log_seek output_reader_seek(struct output_reader *reader, const char *job_id,
                                 const char *place)
{
    struct event_id id;
    struct line_place line;
    if (reader->is_terminal) {
        return seek_byte(reader, place);
    }
    return !line_place_parse(place, &id, &line) ? LOG_SEEK_UNKNOWN
           : !event_id_is_of(&id, job_id)       ? LOG_SEEK_FOREIGN
                                                : line_output_seek(&reader->lines, &line);
}

int output_reader_seek_end(struct output_reader *reader)
{
    uint64_t next;
    if (!reader->is_terminal) {
        return line_output_seek_end(&reader->lines);
    }
    if (find_byte_end(reader, &next) < 0) {
        return -1;
    }
    byte_output_seek(&reader->bytes, next);
    return 0;
}

int output_reader_count_from_end(struct output_reader *reader)
{
    return reader->is_terminal ? find_byte_end(reader, &reader->bytes.counts_from)
                               : line_output_count_from_end(&reader->lines);
}

uint64_t output_reader_counts_from(const struct output_reader *reader)
{
    return reader->is_terminal ? reader->bytes.counts_from : reader->lines.counts_from;
}

struct line_place output_reader_place(const struct output_reader *reader)
{
    return reader->is_terminal ? (struct line_place){.offset = reader->bytes.place}
                               : reader->lines.place;
}

void output_reader_render(const struct output_reader *reader, const char *job_id,
                          const struct line_place *place, char text[OUTPUT_PLACE_SIZE])
{
    char line[LINE_PLACE_SIZE];
    if (reader->is_terminal) {
        (void)snprintf(text, OUTPUT_PLACE_SIZE, "%" PRIu64, place->offset);
        return;
    }
    line_place_render(job_id, place, line);
    (void)snprintf(text, OUTPUT_PLACE_SIZE, "\"%s\"", line);
}

/* ---- reading ---- */

int output_reader_read(struct output_reader *reader, char *buffer, size_t size,
                       struct gathered *gathered)
{
    return reader->is_terminal ? byte_output_read(&reader->bytes, buffer, size, gathered)
                               : line_output_read(&reader->lines, buffer, size, gathered);
}

int output_reader_finish(struct output_reader *reader)
{
    return reader->is_terminal ? byte_output_finish(&reader->bytes) : 0;
}

int output_reader_has_more(struct output_reader *reader)
{
    return reader->is_terminal ? byte_output_has_more(&reader->bytes)
                               : line_output_has_more(&reader->lines);
}

void output_reader_give_back(struct output_reader *reader, size_t length)
{
    if (reader->is_terminal) {
        reader->bytes.place -= length;
    } else {
        line_output_give_back(&reader->lines, length);
    }
}

int64_t output_reader_written_ms(const struct output_reader *reader)
{
    struct stat status;
    int segment = reader->is_terminal ? reader->bytes.cursor.segment : reader->lines.cursor.segment;
    return segment < 0 || fstat(segment, &status) < 0
               ? -1
               : (int64_t)status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1000000;
}
