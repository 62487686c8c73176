/*
 * What /read_output and /read_screen read: the text in the events of a log, in pieces of any size;
 * a text that is looked for in them; the places that clients give; and what the program that
 * renders has written.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-app/output/line_place.h"
#include "fcgi-app/output/screen_text.h"
#include "fcgi-app/output/text_finder.h"
#include "procd/log/event_text.h"
#include "tests/fuzz/fuzz.h"

#define TEXT_MAX   65536
#define PLACE_MAX  100
#define WANTED_MAX 8

/* What was read of a log. */
struct read {
    char text[TEXT_MAX];
    size_t length;
    uint64_t events, bytes, missed;
    enum event_text_kind last;
};

/* Reads a log in pieces of `step` bytes. */
static void read_log(const char *log, size_t length, size_t step, struct read *read)
{
    struct event_text event = {.state = EVENT_AT_HEAD};
    struct event_text_part part;
    memset(read, 0, sizeof(*read));
    for (size_t at = 0; at < length && read->last != EVENT_TEXT_BAD; at += step) {
        const char *data = log + at;
        size_t left = length - at < step ? length - at : step;
        do {
            read->last = event_text_next(&event, &data, &left, &part);
            if (read->last == EVENT_TEXT_PIECE && read->length + part.length <= TEXT_MAX) {
                memcpy(read->text + read->length, part.text, part.length);
                read->length += part.length;
            } else if (read->last == EVENT_TEXT_LINE || read->last == EVENT_TEXT_GAP) {
                read->events++;
                read->bytes += part.event_length;
                read->missed += part.event.missed;
            }
        } while (read->last != EVENT_TEXT_MORE && read->last != EVENT_TEXT_BAD);
        assert(read->last == EVENT_TEXT_BAD || left == 0);
    }
    assert(read->bytes <= length);
}

/* The places where a text is found in pieces, against where it is in the whole. */
static void find_text(const char *text, size_t length, const char *wanted, size_t step)
{
    struct text_finder finder;
    size_t wanted_length = strlen(wanted), from = 0;
    assert(text_finder_init(&finder, wanted) == 0);
    for (size_t at = 0; at < length;) {
        bool found;
        size_t size = length - at < step ? length - at : step;
        size_t used = text_finder_feed(&finder, text + at, size, &found);
        const char *first = memmem(text + from, length - from, wanted, wanted_length);
        size_t end = first == NULL ? SIZE_MAX : (size_t)(first - text) + wanted_length;
        at += used;
        assert(found ? at == end : at < end && used == size);
        from = found ? at : from;
    }
    text_finder_clear(&finder);
}

static void read_place(const char *text, size_t length)
{
    char copy[PLACE_MAX + 1] = "", again[LINE_PLACE_SIZE];
    struct event_id id;
    struct line_place place;
    memcpy(copy, text, length < PLACE_MAX ? length : PLACE_MAX);
    if (line_place_parse(copy, &id, &place)) {
        line_place_render(copy, &place, again);
        assert(strcmp(copy, again) == 0);
    }
}

static void read_screen(const char *data, size_t length)
{
    struct screen_text screen;
    if (length > 0 && screen_text_parse(data, length, &screen)) {
        assert(screen.row >= 0 && screen.row <= 99999 && screen.col >= 0 && screen.col <= 99999);
        assert(memchr(screen.title, '\n', screen.title_length) == NULL);
        assert(screen.text + screen.text_length + 1 == data + length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct read whole, pieces;
    char wanted[WANTED_MAX + 1] = "";
    struct input input = {data, size};
    size_t step = 1 + (size_t)input_number(&input, 1), length = (size_t)input_number(&input, 1);
    length %= sizeof(wanted);
    const char *bytes = input_bytes(&input, &length);
    memcpy(wanted, bytes, length);
    length = SIZE_MAX;
    const char *log = input_bytes(&input, &length);
    read_log(log, length, length + 1, &whole);
    read_log(log, length, step, &pieces);
    assert(whole.length == pieces.length && whole.events == pieces.events &&
           whole.bytes == pieces.bytes && whole.missed == pieces.missed &&
           (whole.last == EVENT_TEXT_BAD) == (pieces.last == EVENT_TEXT_BAD) &&
           memcmp(whole.text, pieces.text, whole.length) == 0);
    if (*wanted != '\0') {
        find_text(log, length, wanted, step);
    }
    read_place(log, length);
    read_screen(log, length);
    return 0;
}
