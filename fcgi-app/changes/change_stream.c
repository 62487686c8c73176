#include "fcgi-app/changes/change_stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/io.h"
#include "fcgi-app/changes/change_text.h"
#include "fcgi-app/changes/tree_events.h"
#include "fcgi-app/changes/tree_scan.h"
#include "fcgi-app/changes/watch_limits.h"
#include "fcgi-app/changes/watched_tree.h"
#include "fcgi-app/files/stop_check.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/search/glob.h"
#include "fcgi-app/streams/streams.h"

#define RENDERED_AT_ONCE ((size_t)64 << 10)

struct change_stream {
    struct stream_source source;
    struct watched_tree *tree;
    struct change_style style;
    struct glob *glob; /* owned */
    char *root;        /* owned */
    uint64_t number;   /* of the next event */
    char *bytes;       /* whole events, to be sent */
    size_t length, sent, capacity;
    bool has_reported_end;
};

static void change_stream_clear(struct change_stream *stream)
{
    free(stream->bytes);
    free(stream->root);
    glob_free(stream->glob);
    free(stream);
}

static void close_source(struct stream_source *source)
{
    struct change_stream *stream = (struct change_stream *)source;
    struct watch_table *table = stream->tree->table;
    watch_table_lock(table);
    tree_scan_end(stream->tree);
    watch_table_unlock(table);
    waker_forget(&source->waker);
    change_stream_clear(stream);
}

void change_stream_free(struct change_stream *stream)
{
    close_source(&stream->source);
}

/* ---- events ---- */

/* Whether there is room for so many bytes more. */
static bool make_event_room(struct change_stream *stream, size_t size)
{
    if (stream->length + size <= stream->capacity) {
        return true;
    }
    char *bytes = realloc(stream->bytes, stream->length + size);
    if (bytes == NULL) {
        return false;
    }
    stream->bytes = bytes;
    stream->capacity = stream->length + size;
    return true;
}

/* 0, or -1 when memory is out. */
static int render_one(struct change_stream *stream, const struct change *change)
{
    if (!make_event_room(stream, change_text_size(&stream->style, change))) {
        return -1;
    }
    size_t length =
        change_text_render(stream->bytes + stream->length, &stream->style, change, stream->number);
    stream->number += length > 0;
    stream->length += length;
    return 0;
}

/* Some of them, as the tree has them. */
static int render_changes(struct change_stream *stream)
{
    struct change_set *changes = &stream->tree->changes;
    while (change_set_first(changes) != NULL && stream->length < RENDERED_AT_ONCE) {
        if (render_one(stream, change_set_first(changes)) != 0) {
            return -1;
        }
        change_set_drop_first(changes);
    }
    if (change_set_first(changes) == NULL) {
        stream->tree->due = 0;
    }
    return 0;
}

static enum stream_next report_gap(struct change_stream *stream, struct stream_output *output)
{
    static const char *const reasons[] = {
        [GAP_RESUMED] = "resumed", [GAP_LOST] = "overflow", [GAP_TOO_MANY] = "too_many"};
    char id[EVENT_ID_SIZE];
    struct watched_tree *tree = stream->tree;
    output->length =
        sse_short(output->event, change_text_id(&stream->style, stream->number++, id), "gap",
                  "{\"reason\":\"%s\",\"message\":\"Changes may be missing: look at "
                  "the files anew\"}",
                  reasons[tree->gap]);
    tree->gap = GAP_NONE;
    tree->due = 0;
    return STREAM_EVENT;
}

static enum stream_next report_error(const struct change_stream *stream,
                                     struct stream_output *output)
{
    char reason[WATCH_REASON_SIZE];
    output->length = sse_short(
        output->event, NULL, "error", "{\"error\":\"%s\",\"error_code\":\"%s\"}",
        watch_limits_reason(stream->tree->error, reason), api_error_code(ERROR_unavailable));
    return STREAM_LAST_EVENT;
}

/* The root has gone: that is a change, too, and the last one. */
static enum stream_next report_end(struct change_stream *stream, struct stream_output *output)
{
    static const struct change removal = {
        .kind = CHANGE_REMOVED, .is_directory = true, .path = "", .old_path = ""};
    char id[EVENT_ID_SIZE];
    if (!stream->has_reported_end) {
        stream->has_reported_end = true;
        return render_one(stream, &removal) == 0 ? STREAM_BYTES : STREAM_FAILED;
    }
    event_id_render_end(stream->style.tag, id);
    output->length = sse_short(output->event, id, "complete", "{\"message\":\"stream ended\"}");
    return STREAM_LAST_EVENT;
}

/* ---- the source ---- */

/* The watch table is locked. */
static enum stream_next look_at_tree(struct change_stream *stream, struct stream_output *output)
{
    struct watched_tree *tree = stream->tree;
    bool is_due = tree->due != 0 && (tree->is_gone || clock_monotonic_ms() >= tree->due);
    if (is_due || tree->gap != GAP_NONE) {
        tree_events_settle(tree);
        tree_scan_start(tree);
    }
    if (tree->error != 0) {
        return report_error(stream, output);
    }
    if (tree->gap != GAP_NONE) {
        /* Not before new directories are watched, too: the client looks only once. */
        bool is_early = !tree->is_gone && (tree->is_lost || tree->is_rescanning);
        return is_early ? STREAM_NOTHING : report_gap(stream, output);
    }
    if (!is_due && !tree->is_gone) {
        output->due = tree->due;
        return tree->due == 0 ? STREAM_NOTHING : STREAM_LATER;
    }
    if (render_changes(stream) != 0) {
        return STREAM_FAILED;
    }
    if (stream->length > 0) {
        return STREAM_BYTES;
    }
    return tree->is_gone ? report_end(stream, output) : STREAM_NOTHING;
}

static enum stream_next hand_out_events(struct change_stream *stream, struct stream_output *output)
{
    size_t left = stream->length - stream->sent;
    if (stream->bytes == NULL) {
        return STREAM_NOTHING;
    }
    output->length = left < output->size ? left : output->size;
    memcpy(output->bytes, stream->bytes + stream->sent, output->length);
    stream->sent += output->length;
    return STREAM_BYTES;
}

static enum stream_next next_of_changes(struct stream_source *source, struct stream_output *output)
{
    struct change_stream *stream = (struct change_stream *)source;
    if (stream->sent < stream->length) {
        return hand_out_events(stream, output);
    }
    free(stream->bytes);
    stream->bytes = NULL;
    stream->length = stream->sent = stream->capacity = 0;
    watch_table_lock(stream->tree->table);
    enum stream_next next = look_at_tree(stream, output);
    watch_table_unlock(stream->tree->table);
    return next == STREAM_BYTES ? hand_out_events(stream, output) : next;
}

static void unread_changes(struct stream_source *source, size_t length)
{
    ((struct change_stream *)source)->sent -= length;
}

static bool is_between_changes(const struct stream_source *source)
{
    const struct change_stream *stream = (const struct change_stream *)source;
    return stream->sent == stream->length;
}

static bool has_last_change(const struct stream_source *source)
{
    const struct watched_tree *tree = ((const struct change_stream *)source)->tree;
    watch_table_lock(tree->table);
    bool is_gone = tree->is_gone;
    watch_table_unlock(tree->table);
    return is_gone;
}

/* ---- its beginning ---- */

/* Watches what there is. 0, or -1 with errno. */
static int watch_tree(struct change_stream *stream, const struct change_query *query,
                      const struct stop_check *check)
{
    struct watched_tree *tree = stream->tree;
    tree->waker = &stream->source.waker;
    if (query->resumes) {
        tree->gap = GAP_RESUMED;
    }
    tree_events_watch_above(tree);
    tree_scan(tree, check);
    watch_table_lock(tree->table);
    int number = tree->error != 0                     ? tree->error
                 : tree->is_gone                      ? ENOENT
                 : tree->root->watcher.descriptor < 0 ? EACCES
                 : stop_check_asks(check)             ? ECANCELED
                                                      : 0;
    watch_table_unlock(tree->table);
    errno = number;
    return number == 0 ? 0 : -1;
}

/* 0, or -1 with errno. */
static int set_up_stream(struct change_stream *stream, const struct change_query *query)
{
    char random[IO_RANDOM_NAME_SIZE];
    stream->source = (struct stream_source){.directory = -1,
                                            .name = "/file_changes_streaming",
                                            .failure = "The changes cannot be sent",
                                            .next = next_of_changes,
                                            .unread = unread_changes,
                                            .is_between_events = is_between_changes,
                                            .is_complete = has_last_change,
                                            .free = close_source};
    stream->glob = query->glob;
    stream->root = strdup(query->path);
    if (stream->root == NULL || io_random_name(random, "") != 0) {
        return -1;
    }
    stream->style = (struct change_style){.root = stream->root, .glob = stream->glob};
    memcpy(stream->style.tag, random, EVENT_TAG_LENGTH);
    return 0;
}

struct change_stream *change_stream_new(const struct change_query *query, int root,
                                        const struct stop_check *check)
{
    struct watch_table *table = streams_watches();
    struct change_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        glob_free(query->glob);
        return NULL;
    }
    if (set_up_stream(stream, query) == 0) {
        if (table->fd < 0) {
            errno = WATCH_NO_INSTANCE;
        } else {
            stream->tree = watched_tree_new(table, root, query->is_recursive, &tree_events);
        }
    }
    if (stream->tree == NULL) {
        int number = errno;
        change_stream_clear(stream);
        errno = number;
        return NULL;
    }
    if (watch_tree(stream, query, check) != 0) {
        int number = errno;
        change_stream_free(stream);
        errno = number;
        return NULL;
    }
    return stream;
}

void change_stream_open(struct request *request, struct change_stream *stream,
                        struct admission *admission)
{
    stream_open(request, &stream->source, admission);
}
