/*
 * One who views a terminal.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "procd/log/byte_cursor.h"
#include "terminal/bytes.h"
#include "terminal/loop.h"

struct lookup;
struct session;
struct viewed_job;

#define VIEWER_EOF (-1) /* an order */

struct viewer {
    struct session *session;
    struct loop_garbage garbage;
    struct lookup *lookup;     /* NULL: there is none under way */
    struct viewed_job *job;    /* NULL before */
    LIST_ENTRY(viewer) of_job; /* before: of those that wait for a lookup */

    bool has_wish;        /* for the offset to begin at */
    bool only_views;      /* and does not type */
    bool is_live;         /* all that was there when it came has been sent */
    uint64_t offset;      /* the wish */
    uint64_t live_offset; /* where what was there ends */
    struct byte_cursor cursor;

    int cols, rows;           /* its own window; 0: it has not said */
    int told_cols, told_rows; /* the last size that it knows of */

    int order; /* a signal, or VIEWER_EOF, that is still to be sent */
    TAILQ_ENTRY(viewer) as_caller;
    bool is_caller;

    struct bytes input; /* of the message that is being written to the terminal */
    TAILQ_ENTRY(viewer) as_writer;
    bool is_writer;
    bool message_goes_on; /* more of that message will come */
    bool is_refused;      /* the rest of it is dropped */
    bool is_in_line;      /* the last byte that the terminal has taken of it ends no line */
    bool ends_line;       /* it is refused as soon as this line has ended */
    uint64_t written;     /* bytes of it that the terminal has taken */
};
