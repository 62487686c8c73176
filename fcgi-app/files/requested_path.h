/*
 * The path in a request's body. A relative one begins in the directory where commands start. This
 * process enters it each time, because another directory may have got its name.
 */
#pragma once

struct json_body;

/* Remembers the name (borrowed); without it paths begin where this process is. Call once, before
 * threads. */
void requested_path_init(const char *start_directory);

/* The member "path", borrowed from the body. Use it at once. Thread-safe. */
const char *requested_path(const struct json_body *body);
