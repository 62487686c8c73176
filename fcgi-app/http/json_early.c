#include "fcgi-app/http/json_early.h"

#include <errno.h>
#include <sys/types.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "fcgi-app/json/json_scan.h"

#define PIECE_SIZE 16384 /* of content: on the stack */

/* Does nothing when writing has failed before. */
static void write_decoded(struct json_early *early, struct json_span string)
{
    char piece[PIECE_SIZE];
    while (string.length > 0 && early->failure == 0) {
        size_t length = json_decode(&string, piece, sizeof(piece));
        if (io_write_all(early->fd, piece, length) != 0) {
            early->failure = errno;
            close_fd(&early->fd); /* the room on the disk is another's now */
        }
    }
}

size_t json_early_take(struct json_early *early, const char *text, size_t length)
{
    size_t part = json_string_part(text, length);
    write_decoded(early, (struct json_span){text, part});
    early->length += part;
    if (part < length && (text[part] == '"' || length - part > JSON_CUT_MAX)) {
        early->state = JSON_EARLY_OVER;
    }
    return part;
}

int json_early_read(const struct json_early *early,
                    int (*sink)(void *context, const char *data, size_t length), void *context)
{
    char piece[PIECE_SIZE];
    ssize_t length;
    for (off_t at = 0; (length = io_read_at(early->fd, piece, sizeof(piece), at)) > 0;
         at += length) {
        int result = sink(context, piece, (size_t)length);
        if (result != 0) {
            return result;
        }
    }
    return length < 0 ? -1 : 0;
}
