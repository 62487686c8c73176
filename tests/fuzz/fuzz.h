/*
 * What the fuzz targets have in common. Each fuzz_*.c is one target: libFuzzer's entry point, which
 * must neither crash nor run for long nor break what it asserts, whatever the bytes. `make fuzz`
 * links a target with libFuzzer, `make test` with replay.c.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's name for the entry point. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- structure out of bytes: what is missing at the end is zero ---- */

struct input {
    const uint8_t *data;
    size_t left;
};

/* The next `size` bytes (at most 8) as a number, the lowest first. */
static inline uint64_t input_number(struct input *input, size_t size)
{
    uint64_t number = 0;
    for (size_t i = 0; i < size && input->left > 0; i++, input->left--) {
        number |= (uint64_t)*input->data++ << (8 * i);
    }
    return number;
}

/* The next bytes, as many as there are up to *length, which becomes their number. Borrowed. */
static inline const char *input_bytes(struct input *input, size_t *length)
{
    const char *bytes = (const char *)input->data;
    *length = *length < input->left ? *length : input->left;
    input->data += *length;
    input->left -= *length;
    return bytes;
}

/* ---- files ---- */

/*
 * An empty directory of this process, removed at its end; each call empties it again. Borrowed.
 * It is made in $TMPDIR or /tmp.
 */
int scratch_directory(void);

/* Writes a file into it. */
void scratch_file(const char *name, const void *data, size_t length);

/* The lowest free descriptor: the same before and after what leaks none. */
int lowest_descriptor(void);
