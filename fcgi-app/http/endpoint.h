/*
 * The row of an endpoint, beside its handler. fcgi-app/endpoints.c has the table of them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "api/endpoints.h"
#include "fcgi-app/http/json_body.h"

struct request;

struct endpoint {
    const struct api_endpoint *api; /* path, methods, trait and effect */
    const char *about;              /* a sentence for those who read a list of the endpoints */

    /* The members of the body of a POST, or the parameters of the query of a GET, and of every
     * method where the trait is RAW. */
    const struct json_member *members;
    size_t member_count;
    unsigned flags; /* enum json_flags */

    /* NULL, or answers a request that needs neither a long-running place nor what it asks with.
     * Whether it has answered. */
    bool (*answer_early)(struct request *request);

    /* NULL, or answers OPTIONS: with more headers than this one, which names the methods. */
    void (*answer_options)(struct request *request, const char *allow);

    /* Answers the request. `body` (borrowed) has what was given of the members. It is NULL where
     * the endpoint is a GET that has none. */
    void (*handle)(struct request *request, const struct json_body *body);
};

/* The first member of a row, by the endpoint's name in api/endpoints.h. */
/* NOLINTNEXTLINE(bugprone-macro-parentheses): it is an initializer */
#define API_ROW(name)  .api = &api_endpoints[API_##name]
#define MEMBERS(array) .members = (array), .member_count = sizeof(array) / sizeof((array)[0])

/* Reads the body or the query and calls the handler; what is wrong with them is answered instead.
 */
void endpoint_handle(const struct endpoint *endpoint, struct request *request);
