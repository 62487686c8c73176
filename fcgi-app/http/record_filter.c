/*
 * A machine that goes through the bytes once and keeps none but a header.
 */
#include "fcgi-app/http/record_filter.h"

#define VERSION    1
#define RESPONDER  1
#define BEGIN_SIZE ((size_t)8)
#define PARAMS_MAX ((size_t)1 << 20) /* nginx sends 64 KiB at most */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- the parameters ---- */

/* Whether a pair's lengths are known, and only text of it may be left. */
static bool has_lengths(const struct record_filter *filter)
{
    return filter->lengths == 0 && filter->length_bytes == 0;
}

/* A length is one byte, or four of which the first has its highest bit set. */
static bool take_length_byte(struct record_filter *filter, unsigned char byte)
{
    if (filter->length_bytes > 0) {
        filter->length = filter->length << 8 | byte;
        filter->length_bytes--;
    } else if (byte >= 0x80) {
        filter->length = byte & 0x7fU;
        filter->length_bytes = 3;
    } else {
        filter->length = byte;
    }
    if (filter->length_bytes > 0) {
        return true;
    }
    filter->text_left += filter->length;
    filter->lengths = 1 - filter->lengths;
    return filter->text_left <= PARAMS_MAX;
}

static bool take_params(struct record_filter *filter, const unsigned char *data, size_t length)
{
    while (length > 0) {
        size_t step = 1;
        if (filter->text_left > 0 && has_lengths(filter)) {
            step = least(length, filter->text_left);
            filter->text_left -= step;
        } else if (!take_length_byte(filter, *data)) {
            return false;
        }
        data += step;
        length -= step;
    }
    return true;
}

/* ---- records ---- */

/* Which record it is, and whether it may come now. */
static bool take_header(struct record_filter *filter)
{
    const unsigned char *header = filter->header;
    int id = header[2] << 8 | header[3];
    filter->type = (enum record_type)header[1];
    filter->content_left = (size_t)header[4] << 8 | header[5];
    filter->padding_left = header[6];
    bool is_empty = filter->content_left == 0;
    if (header[0] != VERSION || id == 0 ||
        (filter->stage != STAGE_BEGIN && id != filter->request_id)) {
        return false;
    }
    /* libfcgi forgets padding where one stream ends and another begins. */
    if (filter->padding_left > 0 && (filter->stage == STAGE_BEGIN || is_empty)) {
        return false;
    }
    switch (filter->stage) {
    case STAGE_BEGIN:
        filter->request_id = id;
        filter->params_size = 0;
        filter->body_size = 0;
        filter->stage = STAGE_PARAMS;
        return filter->type == RECORD_BEGIN_REQUEST && filter->content_left == BEGIN_SIZE;
    case STAGE_PARAMS:
        filter->params_size += filter->content_left;
        filter->stage = is_empty ? STAGE_STDIN : STAGE_PARAMS;
        return filter->type == RECORD_PARAMS && filter->params_size <= PARAMS_MAX &&
               (!is_empty || (filter->text_left == 0 && has_lengths(filter)));
    case STAGE_STDIN:
        filter->stage = is_empty ? STAGE_BEGIN : STAGE_STDIN;
        return filter->type == RECORD_STDIN;
    case STAGE_REFUSED: break;
    }
    return false;
}

/* Of a BEGIN_REQUEST: the role comes first. The flags may be any. */
static bool take_begin(const struct record_filter *filter, const unsigned char *data, size_t length)
{
    static const unsigned char role[] = {0, RESPONDER};
    for (size_t at = BEGIN_SIZE - filter->content_left; at < sizeof(role) && length > 0; at++) {
        if (*data++ != role[at]) {
            return false;
        }
        length--;
    }
    return true;
}

static bool take_content(struct record_filter *filter, const unsigned char *data, size_t length)
{
    if (filter->type == RECORD_BEGIN_REQUEST) {
        return take_begin(filter, data, length);
    }
    if (filter->type == RECORD_STDIN) {
        filter->body_size += length;
        return true;
    }
    return take_params(filter, data, length);
}

/* Whether the last byte of a request has come. */
static bool is_between_requests(const struct record_filter *filter)
{
    return filter->stage == STAGE_BEGIN && filter->header_filled == 0 &&
           filter->padding_left == 0 && filter->type == RECORD_STDIN;
}

/* Takes the next bytes, as many of them as are of one kind. How many, or 0. */
static size_t take_some(struct record_filter *filter, const unsigned char *data, size_t length)
{
    size_t step;
    if (filter->content_left > 0) {
        step = least(length, filter->content_left);
        bool fits = take_content(filter, data, step);
        filter->content_left -= step;
        return fits ? step : 0;
    }
    if (filter->padding_left > 0) {
        step = least(length, filter->padding_left);
        filter->padding_left -= step;
        return step;
    }
    filter->header[filter->header_filled++] = *data;
    if (filter->header_filled < RECORD_HEADER_SIZE) {
        return 1;
    }
    filter->header_filled = 0;
    return take_header(filter) ? 1 : 0;
}

bool record_filter_pass(struct record_filter *filter, const unsigned char *data, size_t length)
{
    while (length > 0 && filter->stage != STAGE_REFUSED) {
        size_t taken = take_some(filter, data, length);
        data += taken;
        length -= taken;
        /* libfcgi would lose what comes before the request is answered. */
        if (taken == 0 || (length > 0 && is_between_requests(filter))) {
            filter->stage = STAGE_REFUSED;
        }
    }
    return filter->stage != STAGE_REFUSED;
}
