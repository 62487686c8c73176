#include "terminal/viewer_input.h"

#include "terminal/viewer.h"

#define PIECE_MOST ((size_t)16384)

static bool ends_line(char byte)
{
    return byte == '\n' || byte == '\r';
}

static size_t first_line(const char *data, size_t length)
{
    size_t i = 0;
    while (i < length && !ends_line(data[i])) {
        i++;
    }
    return i < length ? i + 1 : length;
}

size_t viewer_piece(const struct viewer *viewer)
{
    const char *data = viewer->input.data + viewer->input.begin;
    size_t length = bytes_length(&viewer->input);
    size_t most = length < PIECE_MOST ? length : PIECE_MOST;
    if (viewer->ends_line) {
        return first_line(data, most);
    }
    if (most == length && !viewer->message_goes_on) {
        return length;
    }
    size_t end = most;
    while (end > 0 && !ends_line(data[end - 1])) {
        end--;
    }
    return end == 0 && most == PIECE_MOST ? most : end; /* no line of a terminal is so long */
}

bool viewer_must_end_line(struct viewer *viewer)
{
    size_t piece = viewer_piece(viewer);
    viewer->ends_line = viewer->is_in_line && !viewer->ends_line &&
                        first_line(viewer->input.data + viewer->input.begin, piece) < piece;
    return viewer->ends_line;
}
