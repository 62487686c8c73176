/*
 * Lines about ourselves on standard error: each is formatted in one buffer and leaves in one write.
 */
#include "common/logger.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_MAX_SIZE                                                                              \
    1024 /* a longer line is cut; below PIPE_BUF, so that a write is never split */

static const char *program = "nginx-sandbox";

void logger_open(const char *name)
{
    program = name;
}

/* Makes one line of what stands in line[0..length): nothing in it may look like another line. */
static size_t neutralise(char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)line[i];
        if (byte < 0x20 || byte == 0x7f) {
            line[i] = '?';
        }
    }
    line[length] = '\n';
    return length + 1;
}

__attribute__((format(printf, 2, 0))) static void
log_arguments(const char *request_id, const char *format, va_list arguments)
{
    int saved = errno;
    char line[LINE_MAX_SIZE];
    const size_t room = sizeof(line) - 1; /* the last byte is for the newline */
    int used = request_id ? snprintf(line, room, "%s: [%s] ", program, request_id)
                          : snprintf(line, room, "%s: ", program);
    size_t length = used < 0 ? 0 : (size_t)used;
    if (length < room) {
        errno = saved; /* for %m */
        used = vsnprintf(line + length, room - length, format, arguments);
        length += used < 0 ? 0 : (size_t)used;
    }
    if (length >= room) {
        length = room - 1; /* what snprintf would have written did not fit */
    }
    length = neutralise(line, length);
    /* Standard error is all there is to tell; when it fails nobody is left to hear. */
    while (write(STDERR_FILENO, line, length) < 0 && errno == EINTR) {
    }
    errno = saved;
}

void log_line(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_arguments(NULL, format, arguments);
    va_end(arguments);
}

void log_request(const char *request_id, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_arguments(request_id, format, arguments);
    va_end(arguments);
}
