/*
 * The path of a file in the path of a request. nginx passes the latter on as the client wrote it
 * (RAW_PATH), because its own $uri is decoded and has merged slashes.
 */
#pragma once

#include <stdbool.h>

struct request;

/*
 * The absolute path behind /files, decoded: any bytes but NUL. Free it. NULL when the request has
 * been answered instead: a path with a .. in it, or memory is out. Thread-safe.
 */
char *raw_path_of(struct request *request);

/* Whether a part of the path is .., which nginx and the file system understand differently. */
bool raw_path_goes_up(const char *path);
