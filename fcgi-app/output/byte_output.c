#include "fcgi-app/output/byte_output.h"

#include "fcgi-app/http/metrics.h"
#include "fcgi-app/output/gathered.h"

void byte_output_init(struct byte_output *output, int directory)
{
    *output = (struct byte_output){.place = 0};
    byte_cursor_open(&output->cursor, directory, 0);
}

void byte_output_clear(struct byte_output *output)
{
    byte_cursor_close(&output->cursor);
}

void byte_output_seek(struct byte_output *output, uint64_t offset)
{
    int directory = output->cursor.directory;
    byte_output_clear(output);
    byte_cursor_open(&output->cursor, directory, offset);
    output->place = offset;
}

static void miss_bytes(struct byte_output *output, uint64_t count)
{
    if (count > 0) {
        metrics_gap(count, 0);
        output->missed_bytes += count;
        output->place += count;
    }
}

int byte_output_read(struct byte_output *output, char *buffer, size_t size,
                     struct gathered *gathered)
{
    uint64_t gap;
    ssize_t count = byte_cursor_read(&output->cursor, buffer, size, &gap);
    if (count < 0) {
        return -1;
    }
    miss_bytes(output, gap);
    /* What lies before counts_from is taken without a look at it. */
    uint64_t before = output->counts_from > output->place ? output->counts_from - output->place : 0;
    size_t first = before < (uint64_t)count ? (size_t)before : (size_t)count;
    size_t taken = gathered_take(gathered, buffer, first, false);
    if (taken == first) {
        taken += gathered_take(gathered, buffer + first, (size_t)count - first, true);
    }
    output->place += taken;
    output->has_rest = taken < (size_t)count;
    return count > 0;
}

int byte_output_finish(struct byte_output *output)
{
    uint64_t first, next;
    if (byte_log_bounds(output->cursor.directory, &first, &next) < 0) {
        return -1;
    }
    miss_bytes(output, next > output->place ? next - output->place : 0);
    return 0;
}

int byte_output_has_more(struct byte_output *output)
{
    char byte;
    uint64_t gap = 0;
    ssize_t count = output->has_rest ? 1 : byte_cursor_read(&output->cursor, &byte, 1, &gap);
    return count < 0 ? -1 : count > 0 || gap > 0;
}
