/*
 * The changes of a tree as the source of a stream.
 */
#pragma once

#include <stdbool.h>

struct admission;
struct change_stream;
struct glob;
struct request;
struct stop_check;

/* What a client asks for. */
struct change_query {
    const char *path;  /* of the root, as the events begin */
    struct glob *glob; /* NULL: all files */
    bool is_recursive;
    bool resumes; /* the client has had a stream before: a gap comes first */
};

/*
 * Watches the directory `root` (open, borrowed), and all below it if that is asked for. Takes the
 * glob over, in any case. NULL with errno: as in watch_limits.h, ECANCELED when
 * the check asked to stop.
 */
struct change_stream *change_stream_new(const struct change_query *query, int root,
                                        const struct stop_check *check);

/* As stream_open() (streams.h). */
void change_stream_open(struct request *request, struct change_stream *stream,
                        struct admission *admission);

/* For one that was not opened. */
void change_stream_free(struct change_stream *stream);
