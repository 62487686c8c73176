/*
 * The terminal of a background job: a pseudo-terminal, of which the job's commands have the slave
 * as their input, output and controlling terminal, and the runner the master. What it puts out goes
 * to the job's byte log.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "procd/log/byte_log.h"
#include "procd/log/terminal_size.h"
#include "procd/runner/terminal_line.h"

struct terminal {
    int master; /* owned, non-blocking; -1: there is none */
    int slave;  /* owned. While it is open the master does not report a hang-up, which would not be
                   final: a command may close the terminal and open it again */
    int size_file;
    bool is_over;       /* nobody has the slave open any more */
    unsigned eofs_owed; /* so many end-of-file characters are still to be written */
    struct byte_log log;
    struct terminal_line line;
};

#define TERMINAL_NONE                                                                              \
    {                                                                                              \
        .master = -1, .slave = -1, .size_file = -1, .log = BYTE_LOG_NONE                           \
    }

/* Opens a terminal of this size, which belongs to the user of commands, and its files in the job's
 * directory (borrowed). 0, or -1 with errno; the caller closes it in any case. */
int terminal_open(struct terminal *terminal, const struct terminal_size *size, int directory,
                  uint64_t log_max);
void terminal_close(struct terminal *terminal);

/* What poll(2) is to wait for on the master. `wants_room`: somebody has more input. */
short terminal_events(const struct terminal *terminal, bool wants_room);

/* Whether output may still come. */
bool terminal_is_open(const struct terminal *terminal);

/* Reads what there is for now, but a limited amount, into the log. */
void terminal_read(struct terminal *terminal);

/* The leader of the session has ended: from now on the terminal is over when nobody else has it. */
void terminal_leave(struct terminal *terminal);

/* Reads what was put out before, and closes the log. */
void terminal_finish(struct terminal *terminal);

enum terminal_input {
    TERMINAL_TOOK,
    TERMINAL_LINE_TOO_LONG, /* it would have cut a line, so nothing was written */
    TERMINAL_GONE,
};

/* Writes what the terminal takes now, *written bytes, and behind all of it the end-of-file
 * character with `eof`, perhaps later. */
enum terminal_input terminal_write(struct terminal *terminal, const char *data, size_t length,
                                   bool eof, size_t *written);

/* The master has room again: writes what is owed. Whether there is room left. */
bool terminal_has_room(struct terminal *terminal);

/* 0, or -1 with errno. */
int terminal_resize(struct terminal *terminal, const struct terminal_size *size);

/* Sends a signal to the foreground process group, whatever input lies unread. The group, or -1 when
 * there is none. */
pid_t terminal_signal(const struct terminal *terminal, int signal);
