/*
 * The output of a command in an answer, in base64: every byte as it was. It comes in pieces, cut
 * anywhere. Belongs to one thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct spool;
struct writer;

/* Begin with zeros. */
struct base64_output {
    char group[3]; /* the beginning of a group of three bytes, which waits for more */
    size_t length;
};

/* Both: 0, or -1 when the client has left. */
int base64_output_piece(struct base64_output *output, struct writer *writer, const char *data,
                        size_t length);
int base64_output_end(struct base64_output *output, struct writer *writer);

/* The first `length` bytes of a spool, in bounded memory. -2 with errno when they cannot be read.
 */
int base64_output_spool(struct base64_output *output, struct writer *writer, struct spool *spool,
                        uint64_t length);
