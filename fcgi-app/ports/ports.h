/*
 * The one port that PROXY_PORT forwards to: a file that nginx reads for every connection, claimed
 * with link(2), so that of concurrent binds exactly one wins and no daemon has to remember
 * anything.
 */
#pragma once

struct json_body;
struct request;

/* Remembers the directory that holds the target file (borrowed descriptor). Call once, before
 * threads. */
void port_init(int directory_fd, unsigned proxy_port);

/* 1..65535 in plain digits without leading zeros; 0 when `text` is no port. */
unsigned port_parse(const char *text);

/* The port of a request's member of that name, which is required; 0 after a 400. Not one of the
 * server's own. */
unsigned port_wanted(struct request *request, const struct json_body *body, const char *name);

/* The file that nginx reads: the port in decimal digits and a newline. Not there: nothing is bound.
 */
#define PORT_TARGET_FILE "target"
