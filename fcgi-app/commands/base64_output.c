#include "fcgi-app/commands/base64_output.h"

#include "common/spool.h"
#include "fcgi-app/files/base64.h"
#include "fcgi-app/http/writer.h"

#define ENCODE_SIZE ((size_t)3 << 10) /* of a piece on the stack: whole groups */
#define SPOOL_SIZE  ((uint64_t)1 << 20)

/* Whole groups, or the end. */
static int encode(struct writer *writer, const char *data, size_t length)
{
    char text[BASE64_ENCODED_MAX(ENCODE_SIZE)];
    int written = 0;
    for (size_t at = 0, step; at < length && written == 0; at += step) {
        step = length - at < ENCODE_SIZE ? length - at : ENCODE_SIZE;
        written = writer_raw(writer, text, base64_encode(data + at, step, text));
    }
    return written;
}

int base64_output_piece(struct base64_output *output, struct writer *writer, const char *data,
                        size_t length)
{
    const size_t group = sizeof(output->group);
    while (output->length > 0 && output->length < group && length > 0) {
        output->group[output->length++] = *data++;
        length--;
    }
    if (output->length == group) {
        output->length = 0;
        if (encode(writer, output->group, group) < 0) {
            return -1;
        }
    }
    size_t whole = length - length % group;
    for (size_t i = whole; i < length; i++) {
        output->group[output->length++] = data[i];
    }
    return encode(writer, data, whole);
}

int base64_output_end(struct base64_output *output, struct writer *writer)
{
    size_t length = output->length;
    output->length = 0;
    return encode(writer, output->group, length);
}

int base64_output_spool(struct base64_output *output, struct writer *writer, struct spool *spool,
                        uint64_t length)
{
    const char *data = spool_view(spool);
    if (data == NULL) {
        return -2;
    }
    for (uint64_t at = 0, size; at < length; at += size) {
        size = length - at < SPOOL_SIZE ? length - at : SPOOL_SIZE;
        if (base64_output_piece(output, writer, data + at, (size_t)size) < 0) {
            return -1;
        }
        spool_relax_view(spool);
    }
    return 0;
}
