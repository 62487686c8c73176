/*
 * What clients write to the standard input of a background process, and why it is refused.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "procd/wire/client.h"

struct json_body;
struct request;

struct input_written {
    size_t count;           /* bytes */
    bool is_all;            /* of what there was to write */
    enum job_status status; /* where the process does not run */
};

/* Writes what the process takes of the member `data`, and closes its input behind that if `eof`.
 * *written is set unless memory was out, when the request has been answered. Thread-safe. */
bool input_write(struct request *request, const struct json_body *body, bool eof,
                 enum procd_result *result, struct input_written *written);

/* Reports a result other than PROCD_DONE of an order to a process. `not_found` is the HTTP status
 * for an unknown id. */
void answer_refusal(struct request *request, enum procd_result result, const char *id,
                    enum job_status status, int not_found);
