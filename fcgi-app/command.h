/*
 * The command in a request's body, {"cmd", "cwd"?, "env"?}, and what to tell when it does not run.
 */
#ifndef FCGI_APP_COMMAND_H
#define FCGI_APP_COMMAND_H

#include <stddef.h>

#include "fcgi-app/json.h"
#include "procd/client.h"

struct request;

#define COMMAND_MEMBERS 3
extern const struct json_member command_members[COMMAND_MEMBERS];

/* Borrows from the body. */
struct command command_of(const struct json_body *body);

/* Why a command was not started (PROCD_NOT_STARTED). The text, owned by the caller, or NULL when
 * memory is out; *status is 400 when it is the client's command, otherwise 500. */
char *command_failure(const struct command *command, const struct spawn_error *error, int *status);

/* Answers for a result other than PROCD_DONE, whatever it is. */
void answer_command_failure(struct request *request, const struct command *command,
                            enum procd_result result, const struct spawn_error *error);

/* Answers for a procd that is away: 503 when nothing was delivered, otherwise 500. */
void answer_procd_failure(struct request *request, enum procd_result result);

#endif
