/*
 * Lines about ourselves on standard error: each is formatted in one buffer and leaves in one write.
 */
#include "common/logger.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log_drops.h"
#include "common/log_output.h"

/* A longer line is cut; below PIPE_BUF, so that a write is never split. */
#define LINE_MAX_SIZE 1024

static const char *program = "nginx-sandbox";
static int least = LOG_NOTICE;        /* the least severe level that is logged */
static bool is_journal;               /* the reader takes levels as sd-daemon(3) writes them */
static atomic_llong dropped;          /* lines that no line of the log reports yet */
static char request[REQUEST_ID_SIZE]; /* that all lines concern, or "" */

/* systemd names the file that it has made our standard error. A redirection leaves the variable as
 * it is, so the file is compared. */
static bool stderr_is_journal(void)
{
    char own[64];
    struct stat status;
    const char *journal = getenv("JOURNAL_STREAM");
    if (journal == NULL || fstat(STDERR_FILENO, &status) < 0) {
        return false;
    }
    (void)snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(own, journal) == 0;
}

void logger_open(const char *name)
{
    program = name;
    is_journal = stderr_is_journal();
}

void logger_set_level(int level)
{
    least = level;
}

void logger_set_request(const char *request_id)
{
    (void)snprintf(request, sizeof(request), "%s", request_id == NULL ? "" : request_id);
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

/* Everything before the message. As snprintf(3). */
static int begin_line(char *line, size_t size, int level, const char *request_id)
{
    static const char *const words[] = {
        [LOG_WARNING] = "warning: ",
        [LOG_NOTICE] = "notice: ",
        [LOG_INFO] = "info: ",
        [LOG_DEBUG] = "debug: ",
    };
    char priority[8] = "";
    if (is_journal) {
        (void)snprintf(priority, sizeof(priority), "<%d>", level);
    }
    const char *word = is_journal || level <= LOG_ERR ? "" : words[level];
    if (request_id == NULL || request_id[0] == '\0') {
        request_id = request;
    }
    return request_id[0] == '\0'
               ? snprintf(line, size, "%s%s: %s", priority, program, word)
               : snprintf(line, size, "%s%s: %s[%s] ", priority, program, word, request_id);
}

/* Logs how many lines before were not written. */
static void report_drops(void)
{
    char line[LINE_MAX_SIZE];
    long long lines = atomic_exchange(&dropped, 0);
    if (lines == 0 || least < LOG_WARNING) {
        return;
    }
    int used = begin_line(line, sizeof(line) - 1, LOG_WARNING, NULL);
    used += snprintf(line + used, sizeof(line) - 1 - (size_t)used,
                     "%lld lines of this log were dropped: nobody read them, or they could not be "
                     "written",
                     lines);
    if (log_output_write(STDERR_FILENO, line, neutralise(line, (size_t)used)) < 0) {
        atomic_fetch_add(&dropped, lines); /* it is no line of the log itself */
    }
}

void log_request(int level, const char *request_id, const char *format, ...)
{
    int saved = errno;
    char line[LINE_MAX_SIZE];
    const size_t room = sizeof(line) - 1; /* the last byte is for the newline */
    if (level > least) {
        return;
    }
    int used = begin_line(line, room, level, request_id);
    size_t length = used < 0 ? 0 : (size_t)used;
    if (length < room) {
        va_list arguments;
        errno = saved; /* for %m */
        va_start(arguments, format);
        used = vsnprintf(line + length, room - length, format, arguments);
        va_end(arguments);
        length += used < 0 ? 0 : (size_t)used;
    }
    if (length >= room) {
        length = room - 1; /* what snprintf would have written did not fit */
    }
    /* Does not wait for a reader: the program has more to do. */
    if (log_output_write(STDERR_FILENO, line, neutralise(line, length)) < 0) {
        atomic_fetch_add(&dropped, 1);
        log_drops_add(1);
    } else {
        report_drops();
    }
    errno = saved;
}
