/*
 * The path in a request's body. A relative one begins in the directory where commands start. This
 * process enters it each time, because another directory may have got its name.
 */
#pragma once

struct json_body;

/* Remembers the name (borrowed); without it paths begin where this process is. Call once, before
 * threads. */
void requested_path_init(const char *start_directory);

/* The member "path", or another one, borrowed from the body. Use it at once. Thread-safe. */
const char *requested_path(const struct json_body *body);
const char *requested_path_of(const struct json_body *body, const char *member);

/* The same for a path that was read elsewhere: returns it. */
const char *requested_path_begin(const char *path);
