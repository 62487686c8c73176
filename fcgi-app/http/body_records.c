#include "fcgi-app/http/body_records.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>

#include "common/io.h"
#include "common/logger.h"

#define PADDING_MAX 255

static ssize_t read_parts(int connection, const struct iovec *parts)
{
    ssize_t got;
    do {
        got = readv(connection, parts, 2);
    } while (got < 0 && errno == EINTR);
    return got;
}

/* Whether the filter lets bytes pass, and a body still comes. */
static bool passes(struct record_filter *filter, const void *data, size_t length)
{
    if (filter->stage == STAGE_STDIN && record_filter_pass(filter, data, length)) {
        return true;
    }
    log_at(LOG_WARNING, "a connection was dropped: its FastCGI is not a web server's");
    return false;
}

/* Adds a part, or moves it behind the last one if there are many. */
static void add_part(struct body_parts *parts, char *data, size_t length)
{
    struct body_part *last = &parts->part[BODY_PARTS - 1];
    if (parts->count < BODY_PARTS) {
        parts->part[parts->count++] = (struct body_part){data, length};
        return;
    }
    memmove(last->data + last->length, data, length);
    last->length += length;
}

/* How many of `length` bytes are of the same kind as the first. */
static size_t bytes_of_a_kind(const struct record_filter *filter, size_t length)
{
    size_t most = filter->content_left > 0   ? filter->content_left
                  : filter->padding_left > 0 ? filter->padding_left
                                             : RECORD_HEADER_SIZE - filter->header_filled;
    return length < most ? length : most;
}

/* Takes what was read apart. The bytes of the body, or -1: what follows the body is refused. */
static ssize_t take_records(struct record_filter *filter, char *data, size_t length,
                            struct body_parts *parts)
{
    size_t taken = 0;
    while (length > 0) {
        bool is_content = filter->content_left > 0;
        size_t step = bytes_of_a_kind(filter, length);
        if (!passes(filter, data, step)) {
            return -1;
        }
        if (is_content) {
            add_part(parts, data, step);
            taken += step;
        }
        data += step;
        length -= step;
    }
    return (ssize_t)taken;
}

ssize_t body_records_read_parts(int connection, struct record_filter *filter, char *buffer,
                                size_t size, struct body_parts *parts)
{
    parts->count = 0;
    while (filter->stage == STAGE_STDIN) {
        ssize_t got = io_read_some(connection, buffer, size);
        ssize_t taken = got <= 0 ? -1 : take_records(filter, buffer, (size_t)got, parts);
        if (taken != 0) {
            return taken;
        }
    }
    return filter->stage == STAGE_BEGIN ? 0 : -1;
}

ssize_t body_records_read(int connection, struct record_filter *filter, void *data, size_t length)
{
    unsigned char between[PADDING_MAX + RECORD_HEADER_SIZE];
    while (filter->stage == STAGE_STDIN) {
        /* The content of a record, if one has begun, and then all up to that of the next one. */
        size_t content = filter->content_left < length ? filter->content_left : length;
        size_t rest = filter->padding_left + RECORD_HEADER_SIZE - filter->header_filled;
        const struct iovec parts[] = {{data, content},
                                      {between, content < filter->content_left ? 0 : rest}};
        ssize_t got = read_parts(connection, parts);
        size_t taken = got > (ssize_t)content ? content : (size_t)got;
        size_t rest_taken = got <= 0 ? 0 : (size_t)got - taken;
        if (got <= 0 || (taken > 0 && !passes(filter, data, taken)) ||
            (rest_taken > 0 && !passes(filter, between, rest_taken))) {
            return -1;
        }
        if (taken > 0) {
            return (ssize_t)taken;
        }
    }
    return filter->stage == STAGE_BEGIN ? 0 : -1;
}
