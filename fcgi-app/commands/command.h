/*
 * The command in a request's body, {"cmd", "cwd"?, "env"?, "timeout_ms"?, "kill_grace_ms"?,
 * "memory_max"?, "pids_max"?, "cpu_max"?, "merge_stderr"?, "stdin"?}, and what to tell when it does
 * not run.
 */
#ifndef FCGI_APP_COMMANDS_COMMAND_H
#define FCGI_APP_COMMANDS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-app/commands/pump.h"
#include "fcgi-app/http/json.h"
#include "procd/wire/client.h"

struct request;
struct settings;

/* Remembers the operator's limits (borrowed). Call once, before threads. */
void command_init(const struct settings *settings);

/* The longest time of grace, which comes on top of SANDBOX_MAX_TIMEOUT. */
#define GRACE_MAX_MS 600000

enum command_use {
    COMMAND_FOREGROUND, /* stdin is a text */
    COMMAND_BACKGROUND, /* stdin is a flag */
};

/*
 * Reads the command of a request into *command, which borrows from the result and owns its `input`
 * (close it). NULL when the request has been answered, or its client has left.
 */
struct json_body *command_read(struct request *request, enum command_use use,
                               struct command *command);

/*
 * Answers for a result other than PROCD_DONE, whatever it is. `streams`: a command that was not
 * started is told by an error event; a procd that cannot be asked, and too many processes, by a
 * status all the same.
 */
void answer_command_failure(struct request *request, const struct command *command,
                            enum procd_result result, const struct spawn_error *error,
                            bool streams);

/* Logs that a command of /run or /run_streaming is over: what pump_run() returned, and the ending
 * after PUMP_ENDED. */
void command_log_end(const struct request *request, enum pump_result result,
                     const struct ending *ending);

/* Answers for a procd that is away: 503 when nothing was delivered, otherwise what answer_lost()
 * says. */
void answer_procd_failure(struct request *request, enum procd_result result);

#endif
