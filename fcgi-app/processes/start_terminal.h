/*
 * The terminal that /start_process may ask for: its size, its type, and the shell that runs in it
 * where no command is given.
 */
#pragma once

#include <stdbool.h>

#include "fcgi-app/http/json_body.h"
#include "procd/wire/client.h"

struct request;
struct settings;

#define START_TERMINAL_MEMBERS                                                                     \
    {                                                                                              \
        JSON_MEMBER("pty", NESTED,                                                                 \
                    "A terminal for the command: cols (80), rows (24), term (xterm-256color).")    \
    }

#define TERM_VARIABLE_SIZE 80

/* Finds the shell of the commands' user. Call once, before threads. */
void start_terminal_init(const struct settings *settings);

/*
 * Reads what the request wants into *command, which may have no command yet; `term` is where it
 * borrows from then. False when the request has been answered, because its terminal is none.
 */
bool start_terminal_read(struct request *request, const struct json_body *body,
                         struct command *command, char term[TERM_VARIABLE_SIZE]);

/* Reads cols and rows of a body or item (80 and 24 where one is absent). False when one of them is
 * no size of a terminal, and *problem says so. */
bool terminal_size_wanted(const struct json_body *body, int *cols, int *rows, const char **problem);
