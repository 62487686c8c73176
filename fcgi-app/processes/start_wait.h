/*
 * The wait of /start_process until its process listens on a port. The process has been started
 * then, so the answer is a 201 whatever comes of the wait.
 */
#pragma once

#include <stdbool.h>

#include "fcgi-app/http/json_body.h"
#include "fcgi-app/ports/port_wait.h"
#include "procd/wire/client.h"

struct request;

#define START_WAIT_MEMBERS                                                                         \
    {JSON_MEMBER("wait_port", TEXT_OR_INT, "Answers when it listens on this port.")},              \
    {                                                                                              \
        JSON_MEMBER("wait_timeout_ms", COUNT, "The longest time to wait for that: 10000.")         \
    }

/* Reads what the request wants, before anything is started; `wait->port` is 0 if it wants no wait.
 * False when it has been answered. The caller clears the wait in any case. */
bool start_wait_read(struct request *request, const struct json_body *body, struct port_wait *wait);

/* Waits until the process of `job` listens, and answers; *job is as it is then. */
void start_wait_answer(struct request *request, struct job *job, struct port_wait *wait);
