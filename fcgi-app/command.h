/*
 * The command in a request's body, {"cmd", "cwd"?, "env"?}, and what to tell when it does not run.
 */
#ifndef FCGI_APP_COMMAND_H
#define FCGI_APP_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-app/json.h"
#include "procd/client.h"

struct request;

#define COMMAND_MEMBERS 3
extern const struct json_member command_members[COMMAND_MEMBERS];

/* Borrows from the body. */
struct command command_of(const struct json_body *body);

/*
 * Answers for a result other than PROCD_DONE, whatever it is. `streams`: a command that was not
 * started is told by an error event; a procd that cannot be asked by a status all the same.
 */
void answer_command_failure(struct request *request, const struct command *command,
                            enum procd_result result, const struct spawn_error *error,
                            bool streams);

/* Answers for a procd that is away: 503 when nothing was delivered, otherwise 500. */
void answer_procd_failure(struct request *request, enum procd_result result);

#endif
