/*
 * What nginx learns about a port: where somebody listens, or a JSON error for its client.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "api/errors.h"
#include "fcgi-app/ports/listening.h"

/* What nginx asks. */
struct held_question {
    unsigned port;
    bool only_own;   /* SANDBOX_PORTS=own: sockets of our commands alone */
    bool is_visitor; /* who has no token */
};

/* More than the longest answer. */
#define HELD_ANSWER_SIZE 1024

/* Whether somebody listens: writes the header line of a good answer. */
bool held_answer_found(const struct held_question *question, const struct listening_list *list,
                       char line[HELD_ANSWER_SIZE]);

/* Writes the header line with an error: nobody listened for `waited_ms`. */
void held_answer_nobody(const struct held_question *question, const struct listening_list *list,
                        long long waited_ms, char line[HELD_ANSWER_SIZE]);

/* Writes the header line with an error: somebody listens, who is no command of this sandbox. */
void held_answer_foreign(const struct held_question *question, char line[HELD_ANSWER_SIZE]);

/* Writes the header line of another error. The message needs no escapes in JSON. */
void held_answer_error(enum api_error error, const char *message, char line[HELD_ANSWER_SIZE]);
