/*
 * The number of a port, as clients write it.
 */
#pragma once

struct json_body;
struct request;

/* 1..65535 in plain digits without leading zeros; 0 when `text` is no port. */
unsigned port_parse(const char *text);

/* The port in the member `name` of a body, which has it. 0: it is no port, or one of the server's
 * own, and the request has been answered with 400. */
unsigned port_wanted(struct request *request, const struct json_body *body, const char *name);
