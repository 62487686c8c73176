/*
 * What fcgi.c does of request.h, over memory.
 */
#include "tests/unit/fake_request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct request fake_request(const char *body, size_t length)
{
    return (struct request){.body = body, .body_length = length};
}

void fake_request_clear(struct request *request)
{
    free(request->answer);
    request->answer = NULL;
}

const char *request_method(const struct request *request)
{
    (void)request;
    return "POST";
}

const char *request_path(const struct request *request)
{
    (void)request;
    return "/test";
}

bool request_only_reads(const struct request *request)
{
    return request->only_reads;
}

const char *request_param(const struct request *request, const char *name)
{
    if (strcmp(name, "HTTP_CONTENT_ENCODING") == 0) {
        return request->content_encoding == NULL ? "" : request->content_encoding;
    }
    return request->param == NULL ? "" : request->param;
}

uint64_t request_body_length(const struct request *request)
{
    return request->body_length;
}

int request_write_file(struct request *request, int file, off_t offset, uint64_t length)
{
    (void)request;
    (void)file;
    (void)offset;
    (void)length;
    return -1; /* no endpoint that is tested with this writes one */
}

const char *request_query(const struct request *request)
{
    return request->query == NULL ? "" : request->query;
}

const char *request_id(const struct request *request)
{
    (void)request;
    return "test";
}

ssize_t request_read(struct request *request, void *data, size_t length)
{
    size_t left = request->body_length - request->body_read;
    if (left == 0) {
        return request->cut ? -1 : 0;
    }
    length = length < left ? length : left;
    if (request->piece_max != 0 && length > request->piece_max) {
        length = request->piece_max;
    }
    memcpy(data, request->body + request->body_read, length);
    request->body_read += length;
    return (ssize_t)length;
}

int request_fd(const struct request *request)
{
    (void)request;
    return -1;
}

bool request_gone(struct request *request)
{
    return request->cut;
}

void request_note(struct request *request, const char *header)
{
    request->note = header;
}

int request_begin(struct request *request, int status, const char *content_type,
                  const char *headers)
{
    (void)content_type;
    (void)headers;
    assert(request->status == 0); /* one answer to a request */
    request->status = status;
    return 0;
}

int request_write(struct request *request, const void *data, size_t length)
{
    assert(request->status != 0);
    if (request->writable_max != 0 && request->answer_length + length > request->writable_max) {
        return -1;
    }
    if (!request->discard) {
        if (request->answer_length + length + 1 > request->answer_capacity) {
            request->answer_capacity = (request->answer_length + length + 1) * 2;
            request->answer = realloc(request->answer, request->answer_capacity);
            assert(request->answer != NULL);
        }
        memcpy(request->answer + request->answer_length, data, length);
        request->answer[request->answer_length + length] = '\0';
    }
    request->answer_length += length;
    return 0;
}

int request_flush(struct request *request)
{
    (void)request;
    return 0;
}

void request_abort(struct request *request)
{
    request->aborted = true;
}
