/*
 * The table of endpoints: what main.c serves, by path and method. api/endpoints.h lists them; each
 * row is defined beside its handler.
 */
#ifndef FCGI_APP_ENDPOINTS_H
#define FCGI_APP_ENDPOINTS_H

#include "fcgi-app/http/endpoint.h"

#define ENDPOINT_ROW(name, path, methods, trait, effect)                                           \
    extern const struct endpoint name##_endpoint;
API_ENDPOINTS(ENDPOINT_ROW)
#undef ENDPOINT_ROW

/* The number of the row with this path, API_COUNT if there is none. */
unsigned endpoint_number(const char *path);

/* The path of a row. */
const char *endpoint_path(unsigned number);

/* What requests for a path do; READS where there is no such row. */
enum effect endpoint_effect(const char *path);

/* Answers the request from the table, with 404 and 405 where it has no row. */
void endpoint_dispatch(struct request *request);

#endif
