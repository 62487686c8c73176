#include "fcgi-app/commands/input_file.h"

#include <errno.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/spool.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/files/base64.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/spools.h"

#define DECODE_SIZE ((size_t)4096) /* characters of base64 decoded at once */

bool encoding_member_read(struct request *request, const struct json_body *body, const char *name,
                          bool *is_base64)
{
    const char *encoding = json_text(body, name);
    *is_base64 = encoding != NULL && strcasecmp(encoding, "base64") == 0;
    if (encoding == NULL || *is_base64 || strcasecmp(encoding, "utf-8") == 0 ||
        strcasecmp(encoding, "utf8") == 0) {
        return true;
    }
    answer_error(request, 400, ERROR_invalid_request, "%s must be utf-8 or base64", name);
    return false;
}

struct decoding {
    struct base64_decoder decoder;
    struct spool *spool; /* borrowed */
    bool is_wrong;       /* what the client sent, and not a failure here */
};

static int keep_piece(void *context, const char *data, size_t length)
{
    const struct decoding *decoding = context;
    return spool_write(decoding->spool, data, length);
}

static int decode_piece(void *context, const char *data, size_t length)
{
    struct decoding *decoding = context;
    char decoded[BASE64_DECODED_MAX(DECODE_SIZE)];
    for (size_t step; length > 0; data += step, length -= step) {
        step = length < DECODE_SIZE ? length : DECODE_SIZE;
        ssize_t size = base64_decode(&decoding->decoder, data, step, decoded);
        decoding->is_wrong = size < 0;
        if (size < 0 || spool_write(decoding->spool, decoded, (size_t)size) != 0) {
            return -1;
        }
    }
    return 0;
}

static void answer_wrong_base64(struct request *request, const struct decoding *decoding)
{
    if (decoding->is_wrong) {
        answer_error(request, 400, ERROR_invalid_request,
                     "stdin is not base64: character %llu has no place there",
                     (unsigned long long)decoding->decoder.taken + 1);
    } else {
        answer_error(request, 400, ERROR_invalid_request,
                     "stdin is not base64: it ends within a group of four");
    }
}

static void answer_unkept(struct request *request, int error)
{
    bool is_shortage = command_is_shortage(error);
    answer_error(request, is_shortage ? 503 : 500, is_shortage ? ERROR_unavailable : ERROR_internal,
                 "The standard input could not be kept: %s", error_text(error));
}

bool input_file_open(struct request *request, const struct json_body *body, int *fd)
{
    bool is_base64;
    *fd = -1;
    if (!encoding_member_read(request, body, "stdin_encoding", &is_base64)) {
        return false;
    }
    if (!json_is_given(body, "stdin")) {
        return true;
    }
    cleanup_(spool_freep) struct spool *spool = spool_new(spools_directory(), 0);
    struct decoding decoding = {.spool = spool};
    bool is_kept =
        spool != NULL &&
        json_content(body, "stdin", is_base64 ? decode_piece : keep_piece, &decoding) == 0;
    if (decoding.is_wrong || (is_kept && base64_decode_end(&decoding.decoder) != 0)) {
        answer_wrong_base64(request, &decoding);
        return false;
    }
    *fd = is_kept ? spool_open_reader(spool) : -1;
    if (*fd < 0) {
        answer_unkept(request, errno);
    }
    return *fd >= 0;
}
