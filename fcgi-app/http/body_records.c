#include "fcgi-app/http/body_records.h"

#include <errno.h>
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

/* Whether the filter lets bytes pass. */
static bool passes(struct record_filter *filter, const unsigned char *data, size_t length)
{
    if (record_filter_pass(filter, data, length)) {
        return true;
    }
    log_at(LOG_WARNING, "a connection was dropped: its FastCGI is not a web server's");
    return false;
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
        if (got <= 0 || !passes(filter, data, taken) ||
            !passes(filter, between, (size_t)got - taken)) {
            return -1;
        }
        if (taken > 0) {
            return (ssize_t)taken;
        }
    }
    return filter->stage == STAGE_BEGIN ? 0 : -1;
}
