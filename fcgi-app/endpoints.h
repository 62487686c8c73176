/*
 * The table of endpoints. api/endpoints.h lists them; each row is defined beside its handler.
 */
#pragma once

#include "fcgi-app/http/endpoint.h"

#define ENDPOINT_ROW(name, path, methods, trait, effect)                                           \
    extern const struct endpoint name##_endpoint;
API_ENDPOINTS(ENDPOINT_ROW)
#undef ENDPOINT_ROW

/* The rows by their numbers. */
extern const struct endpoint *const endpoints[API_COUNT];
