#include "fcgi-app/files/raw_answer.h"

#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/request.h"

int raw_status(enum api_error error)
{
    switch (error) {
    case ERROR_not_found:
    case ERROR_not_a_directory: return 404;
    case ERROR_permission_denied:
    case ERROR_read_only:
    case ERROR_unsupported: return 403;
    case ERROR_exists:
    case ERROR_in_use:
    case ERROR_is_a_directory:
    case ERROR_not_empty: return 409;
    case ERROR_no_space: return 507;
    case ERROR_unavailable: return 503;
    case ERROR_invalid_path:
    case ERROR_invalid_request: return 400;
    default: return 500;
    }
}

void raw_refuse(struct request *request, const struct fs_error *error)
{
    answer_error(request, raw_status(error->code), error->code, "%s", error->message);
}

void raw_refuse_write(struct request *request, const struct fs_error *error)
{
    bool has_no_directory = error->code == ERROR_not_found || error->code == ERROR_not_a_directory;
    answer_error(request, has_no_directory ? 409 : raw_status(error->code), error->code, "%s",
                 error->message);
}

int raw_check_coding(struct request *request)
{
    const char *coding = request_param(request, "HTTP_CONTENT_ENCODING");
    if (*coding == '\0' || strcasecmp(coding, "identity") == 0) {
        return 0;
    }
    answer_error_with(request, 415, ERROR_unsupported, "Accept-Encoding: identity\r\n", 0,
                      "A file must come without Content-Encoding");
    return -1;
}

/* In hexadecimal, with a character before it. Returns its end. */
static char *put_hex(char *out, char before, uint64_t number)
{
    int shift = number == 0 ? 0 : (63 - __builtin_clzll(number)) / 4 * 4;
    *out++ = before;
    for (; shift >= 0; shift -= 4) {
        *out++ = "0123456789abcdef"[number >> shift & 15];
    }
    return out;
}

const char *raw_etag(const struct stat *status, char etag[RAW_ETAG_SIZE])
{
    char *out = put_hex(etag, '"', (uint64_t)status->st_mtim.tv_sec);
    out = put_hex(out, '.', (uint64_t)status->st_mtim.tv_nsec);
    out = put_hex(out, '-', (uint64_t)status->st_ctim.tv_sec);
    out = put_hex(out, '.', (uint64_t)status->st_ctim.tv_nsec);
    out = put_hex(out, '-', (uint64_t)status->st_size);
    out = put_hex(out, '-', status->st_ino);
    *out++ = '"';
    *out = '\0';
    return etag;
}
