/* The endpoint's side of a log stream: makes a log the source of a stream. */
#pragma once

#include <stdbool.h>

struct admission;
struct log_cursor;
struct request;

/*
 * Sends the log of a job from the cursor on to the end of the job or, unless `follow`, to where the
 * log ends now. Takes over, in any case: the request, whose answer has begun; and what the cursor
 * owns, with its directory. The admission is not held any more once it was taken over. The handler
 * returns at once. Thread-safe.
 */
void log_stream_open(struct request *request, const char *job_id, struct log_cursor *cursor,
                     bool follow, struct admission *admission);
