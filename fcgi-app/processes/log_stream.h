/*
 * The log streams: one thread follows all of them, woken by inotify and epoll. A stream that has
 * nothing to send costs a few hundred bytes; one whose client does not read waits for nobody but
 * itself, because what it has not sent yet stays in the log's files.
 */
#ifndef FCGI_APP_PROCESSES_LOG_STREAM_H
#define FCGI_APP_PROCESSES_LOG_STREAM_H

#include <stdbool.h>

struct admission;
struct log_cursor;
struct request;

/* Makes the thread. 0, or -1 with errno. Call once, before the first request. */
int log_streams_start(void);

/*
 * Sends the log of a job from the cursor on, to the end of the job, or unless `follow` what there
 * is now. Takes over the request, whose answer has begun, and what the cursor owns with its
 * directory, in any case; the handler returns at once. The admission is taken over if it is held no
 * more then.
 */
void log_stream_open(struct request *request, const char *job_id, struct log_cursor *cursor,
                     bool follow, struct admission *admission);

#endif
