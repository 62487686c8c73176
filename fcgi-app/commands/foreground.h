/*
 * A command that its client waits for, /run or /run_streaming: from the parsed body to its end.
 */
#pragma once

#include <stdbool.h>

#include "fcgi-app/commands/input_file.h"
#include "fcgi-app/commands/pump.h"

struct ending;
struct json_body;
struct request;

/* The members of both. */
#define FOREGROUND_MEMBERS COMMAND_MEMBERS(true), INPUT_FILE_MEMBERS

/* How an endpoint answers. All functions get the context. */
struct foreground_answer {
    bool streams; /* the answer is a stream of events: output keeps its order, errors are events */
    struct pump_sink sink;

    /* Ends the answer of a command that has ended, with all its output in the sink. NULL; or why
     * the answer cannot be ended, for fail(). */
    const char *(*finish)(void *context, const struct ending *ending);

    /* Ends the answer with an error, or cuts it. */
    void (*fail)(void *context, const char *message);
};

/*
 * Runs the command and answers the request. `sink_error`: where the sink leaves the errno of what
 * failed in it; 0 when it was the client that left.
 */
void foreground_run(struct request *request, const struct json_body *body,
                    const struct foreground_answer *answer, void *context, const int *sink_error);
