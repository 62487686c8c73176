/*
 * A request of a short endpoint that will last after all, because of what it asks with.
 *
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>

#include "fcgi-app/http/places.h"

struct request;

/* Remembers the place of the request that the calling thread serves from now on (borrowed until the
 * next one). */
void lasting_serve(enum place *place);

/* The request that the calling thread serves will last: it takes one of the places of those, and
 * another thread takes the worker's turn. False after an answer: 503. Its body must have been
 * read. */
bool lasting_begin(struct request *request);
