#pragma once

#include "api/errors.h"

struct request;

/* Answers with the names in a directory, or with the error, whose status `status_of` says.
 * Thread-safe. */
void list_dir_answer(struct request *request, const char *path,
                     int (*status_of)(enum api_error error));
