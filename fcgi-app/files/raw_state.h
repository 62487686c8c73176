/*
 * The conditions of a request that changes a file, about the state in which that is now.
 */
#pragma once

#include <stdbool.h>

#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/http/conditions.h"

struct request;
struct stat;

/* What the conditions of a request for this file are compared with. `etag` holds its tag.
 * Thread-safe, as the others. */
struct validators raw_validators(const struct stat *status, char etag[RAW_ETAG_SIZE]);

/* Whether the request has conditions. */
bool raw_state_is_asked(const struct request *request);

/* Whether they hold. If not the request has been answered. */
bool raw_state_holds(struct request *request, const char *path);

/*
 * A file of an image's layer (overlayfs) is copied when it is opened for writing for the first
 * time: it has the same content then, and another ETag. Whether that is all that has happened to
 * `path` between these two states.
 */
bool raw_state_is_copied_up(const char *path, const struct stat *before, const struct stat *after);

/* Answers that they do not hold. */
void raw_refuse_state(struct request *request, const char *path);
