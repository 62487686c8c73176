/*
 * The path in a request's body. A relative one begins where commands start, in the directory of
 * that name: this process is in it, and enters it again when another has got the name.
 */
#ifndef FCGI_APP_FILES_REQUESTED_PATH_H
#define FCGI_APP_FILES_REQUESTED_PATH_H

struct json_body;

/* Remembers the name (borrowed); without it paths begin wherever this process is. Call once, before
 * threads. */
void requested_path_init(const char *start_directory);

/* The member "path", borrowed from the body, for the file system as it is. Thread-safe. */
const char *requested_path(const struct json_body *body);

#endif
