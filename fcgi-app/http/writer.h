/*
 * A writer renders the body of an answer in one large buffer, so that it leaves in few writes. An
 * answer that fits the buffer has not begun until writer_finish(): until then it can still become
 * an error. A writer belongs to one request and its thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request;
struct spool;

/*
 * Only an answer of up to this size has a Content-Length. It leaves in one write(2) with its
 * header, so nginx has all of it or nothing. When a longer answer is cut after its header, nginx
 * (1.22, without buffering) keeps the connection to the client. With a length the client would wait
 * for the rest until keepalive_timeout; without one it sees the end.
 */
#define ANSWER_AT_ONCE ((size_t)6144)

struct writer {
    struct request *request; /* borrowed */
    char *data;
    size_t used, capacity;
    int status;        /* of the answer, if the writer begins it */
    bool begun;        /* status and headers are written */
    bool failed;       /* the client has left */
    bool replaced;     /* a byte of a text was no UTF-8 and became U+FFFD */
    char headers[192]; /* of that answer */
    char cut[4]; /* the beginning of a UTF-8 sequence, of which writer_piece() waits for more */
    size_t cut_length;
};

/*
 * `begun`: the answer has been begun already. Otherwise the writer begins it with status
 * 200 and application/json. `capacity` >= 512. 0, or -1 with errno.
 */
int writer_init(struct writer *writer, struct request *request, size_t capacity, bool begun);
void writer_clear(struct writer *writer);

/* The same over the caller's buffer, with another status (0: the answer has been begun already).
 * 429 and 503 get a Retry-After. It is not cleared. */
struct writer writer_over(struct request *request, char *buffer, size_t capacity, int status);

/* Adds header lines, each with its \r\n, to the answer that the writer will begin. */
__attribute__((format(printf, 2, 3))) void writer_header(struct writer *writer, const char *format,
                                                         ...);

/* All return 0, or -1 when the client has left: then every later call does so, too, and it is
 * enough to look at the last one's result. */

int writer_raw(struct writer *writer, const char *data, size_t length);
int writer_string(struct writer *writer, const char *text);
int writer_number(struct writer *writer, uint64_t number); /* in decimal */
__attribute__((format(printf, 2, 3))) int writer_format(struct writer *writer, const char *format,
                                                        ...); /* at most 256 bytes */

/* A whole text, escaped for a JSON string. */
int writer_text(struct writer *writer, const char *data, size_t length);

/* A text that comes in pieces, cut anywhere; writer_piece_end() after the last. */
int writer_piece(struct writer *writer, const char *data, size_t length);
int writer_piece_end(struct writer *writer);

/* The first `length` bytes of a spool, as writer_piece(), in bounded memory. -2 with errno when
 * they cannot be read. */
int writer_spool(struct writer *writer, struct spool *spool, uint64_t length);

/* Instead of writer_piece_end() where a text is cut: drops the beginning of a character. Returns
 * how many bytes that is. */
size_t writer_piece_cut(struct writer *writer);

/* ---- members of a JSON object ---- */

/* A list of them ends with one without a name. */
struct answer_field {
    const char *name;
    enum { FIELD_TEXT, FIELD_NUMBER, FIELD_FLAG } kind;
    const char *text; /* borrowed; NULL: the member is left out */
    int64_t number;   /* also of a flag: 0 is false */
};
#define TEXT_FIELD(member, value)                                                                  \
    {                                                                                              \
        .name = (member), .kind = FIELD_TEXT, .text = (value)                                      \
    }
#define NUMBER_FIELD(member, value)                                                                \
    {                                                                                              \
        .name = (member), .kind = FIELD_NUMBER, .number = (int64_t)(value)                         \
    }
#define FLAG_FIELD(member, value)                                                                  \
    {                                                                                              \
        .name = (member), .kind = FIELD_FLAG, .number = (value)                                    \
    }
#define FIELDS(...) ((const struct answer_field[]){__VA_ARGS__, {.name = NULL}})

/* The members, with commas between them. */
int writer_fields(struct writer *writer, const struct answer_field *fields);

/* Writes the buffer and sends it. */
int writer_flush(struct writer *writer);

/* The end of an answer in JSON: writes what is left, with its length if that is all of it
 * and little (ANSWER_AT_ONCE). */
int writer_finish(struct writer *writer);
