/*
 * Cuts a stream of bytes into lines of any length. A line ends with \n, and the last one at the end
 * of the stream; trailing \r are cut, empty lines are kept. A line that lies whole in the bytes
 * just fed is passed on in place; only an unfinished one is copied, to a spool.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/spool.h"

/*
 * One line, or a piece of one (line_reader_split): first `held_length` bytes of `held` (NULL when
 * none), then tail[0..tail_length). Borrowed: valid during the call only.
 */
struct line {
    struct spool *held;
    uint64_t held_length;
    const char *tail;
    size_t tail_length;
    bool continued; /* more of the line follows */
};

/* Takes one line. 0 to go on; anything else stops the feed, which returns it. */
typedef int line_function(void *context, const struct line *line);

struct line_reader {
    struct spool *held;  /* the unfinished line; made on demand, freed when a line of it ends */
    int directory_fd;    /* borrowed, for the spool */
    size_t memory_max;   /* bytes of an unfinished line kept in memory */
    bool is_split;       /* a piece of the unfinished line was passed on */
    int64_t patience_ms; /* how long one waits before it is split; LINE_PATIENCE_NONE: for ever */
    int64_t due_ms;      /* when it is to be split, of the monotonic clock; LINE_NEVER_DUE */
};

#define LINE_PATIENCE_NONE INT64_C(-1)
#define LINE_NEVER_DUE     INT64_C(0)

void line_reader_init(struct line_reader *reader, int directory_fd, size_t memory_max);
void line_reader_clear(struct line_reader *reader);

/* 0; what `function` returned if not 0; or -1 with errno when the unfinished line could not be
 * kept. */
int line_reader_feed(struct line_reader *reader, const char *data, size_t length,
                     line_function *function, void *context);

/* Passes on what there is of an unfinished line but its open end, which belongs to the next piece:
 * \r that may end the line, or the beginning of a character. Returns as line_reader_feed. */
int line_reader_split(struct line_reader *reader, line_function *function, void *context);

/* The same if that is due: the line has waited for its end for patience_ms. */
int line_reader_serve(struct line_reader *reader, line_function *function, void *context);

/* The end of the stream: passes on the unfinished line, or the end of one of which all but that was
 * passed on, if there is one. Returns as line_reader_feed. */
int line_reader_end(struct line_reader *reader, line_function *function, void *context);

/* How many bytes the unfinished line has so far. */
uint64_t line_reader_pending(const struct line_reader *reader);
