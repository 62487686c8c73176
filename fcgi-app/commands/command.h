/*
 * The command in a request's body, and what a client reads when it does not run.
 */
#pragma once

#include <stdbool.h>

#include "fcgi-app/http/json_body.h"
#include "procd/wire/client.h"

struct request;
struct settings;

/* Remembers the operator's limits (borrowed). Call once, before threads. */
void command_init(const struct settings *settings);

/* The longest time of grace, which comes on top of SANDBOX_MAX_TIMEOUT. */
#define GRACE_MAX_MS 600000

/* The members that all commands have. */
#define COMMAND_MEMBERS(cmd_may_be_empty)                                                          \
    {JSON_MEMBER("cmd", TEXT, "The command, for sh -c."), .may_be_empty = (cmd_may_be_empty)},     \
        {JSON_MEMBER("argv", TEXTS,                                                                \
                     "Instead of cmd: a program and its arguments, without a shell.")},            \
        {JSON_MEMBER("cwd", TEXT, "The directory that it begins in.")},                            \
        {JSON_MEMBER("env", ENVIRONMENT, "Variables on top of the server's.")},                    \
        {JSON_MEMBER("timeout_ms", COUNT, "When it is ended at the latest.")},                     \
        {JSON_MEMBER("kill_grace_ms", COUNT,                                                       \
                     "The time between SIGTERM and SIGKILL when it is ended.")},                   \
        {JSON_MEMBER("merge_stderr", FLAG,                                                         \
                     "Standard error is the same pipe as standard output.")},                      \
        {JSON_MEMBER("memory_max", COUNT, "Bytes of memory, with all it starts.")},                \
        {JSON_MEMBER("pids_max", COUNT, "Processes and threads at once.")},                        \
    {                                                                                              \
        JSON_MEMBER("cpu_max", COUNT, "Per cent of one processor.")                                \
    }

/*
 * Reads the command of a request into *command, which borrows from the body. False when the request
 * has been answered.
 */
bool command_read(struct request *request, const struct json_body *body, struct command *command);

/* A command of the server's own for a request: a script (borrowed, as the rest) in a directory,
 * with the operator's limits. The caller adds what else it needs. Thread-safe. */
struct command command_for(const struct request *request, const char *script, const char *cwd);

/* Whether an errno says that there is too little of something at the moment: memory, descriptors,
 * or processes (clone(2) and execve(2) with RLIMIT_NPROC, pids.max, the machine's own limit). */
bool command_is_shortage(int error);

/*
 * Answers for a result other than PROCD_DONE, whatever it is. `streams`: a command that was not
 * started is reported by an error event; a procd that cannot be asked, and too many processes, by a
 * status all the same.
 */
void answer_command_failure(struct request *request, const struct command *command,
                            enum procd_result result, const struct spawn_error *error,
                            bool streams);

/* Answers for a procd that is away: 503 when nothing was delivered, otherwise what answer_lost()
 * says. */
void answer_procd_failure(struct request *request, enum procd_result result);

/* What a client reads of a command whose runner died. */
#define COMMAND_LOST "The command's runner died: the command may have run"
