/*
 * The FastCGI records that fcgi-app and guard write (FastCGI specification 1.0, section 3.3).
 */
#pragma once

#include <stddef.h>

#define RECORD_HEADER_SIZE 8

/* A record may hold 65,535 bytes; a multiple of 8 needs no padding. */
#define RECORD_MAX ((size_t)65528)

enum record_type {
    RECORD_BEGIN_REQUEST = 1,
    RECORD_END_REQUEST = 3,
    RECORD_PARAMS = 4,
    RECORD_STDIN = 5,
    RECORD_STDOUT = 6
};

static inline void record_header(unsigned char *header, enum record_type type, int request_id,
                                 size_t length)
{
    header[0] = 1; /* version */
    header[1] = (unsigned char)type;
    header[2] = (unsigned char)(request_id >> 8);
    header[3] = (unsigned char)request_id;
    header[4] = (unsigned char)(length >> 8);
    header[5] = (unsigned char)length;
    header[6] = 0; /* padding */
    header[7] = 0;
}
