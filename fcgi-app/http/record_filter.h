/*
 * The FastCGI records that come in, checked before libfcgi reads them. Its parser writes beyond its
 * buffers or aborts on some that no web server sends (2.4.2: management records, names of 2 GiB);
 * what passes here is one request after the other as a web server sends them:
 *
 *   BEGIN_REQUEST (responder), PARAMS..., an empty PARAMS, STDIN..., an empty STDIN
 *
 * with one id, whose parameters are whole and at most 1 MiB in all.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/fastcgi_record.h"

/* Where a connection is in its records. Zeroed: at its beginning. One thread at a time. */
struct record_filter {
    enum { STAGE_BEGIN, STAGE_PARAMS, STAGE_STDIN, STAGE_REFUSED } stage; /* of the request */
    int request_id;
    enum record_type type; /* of the record whose content comes */
    unsigned char header[RECORD_HEADER_SIZE];
    size_t header_filled;
    size_t content_left, padding_left;
    size_t params_size; /* of the request, so far */
    uint64_t body_size; /* likewise */

    /* in the parameters: pairs of a name's length, a value's length, and both texts */
    unsigned lengths;      /* read of this pair: 0 or 1 */
    unsigned length_bytes; /* that a length begun still has */
    uint32_t length;
    size_t text_left; /* of this pair, length by length, then byte by byte */
};

/* Takes the next bytes of the connection, as one read(2) gave them. False when they are not what
 * may come: the connection must go, and nothing passes any more. */
bool record_filter_pass(struct record_filter *filter, const unsigned char *data, size_t length);
