/*
 * Theory of operation: the buffer holds a part of the file. Its whole lines are searched, except
 * those that a match before them would want to have behind it. Then what is not searched yet, and
 * what a match there would want to have before it, moves to the beginning of the buffer. Newlines
 * are counted only up to what is found, and where the buffer moves on.
 */
#include "fcgi-app/search/file_search.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/io.h"

#define BUFFER_SIZE SEARCH_LINE_MAX
#define BINARY_LOOK ((size_t)8 << 10) /* bytes among which there is a NUL in a binary file */
#define CHECK_EVERY 50                /* milliseconds */
#define CONTEXT_MAX (BUFFER_SIZE / 4) /* bytes kept before the lines that are searched */

struct file_search {
    struct text_pattern *pattern;
    size_t context_lines;
    char *buffer;

    /* of the file that is searched; offsets are in the buffer */
    int fd;
    uint64_t size;
    uint64_t got; /* bytes */
    bool is_at_end;
    size_t filled;
    size_t searched;  /* up to here: the beginning of a line, or of a piece of one */
    size_t counted;   /* the same; not behind `searched` */
    uint64_t line;    /* the number of the line at `counted` */
    uint64_t skipped; /* bytes of a line whose next piece is at the beginning of the buffer */
    uint64_t first;

    int64_t check_at; /* when it is to be asked again whether to stop */
};

struct file_search *file_search_new(struct text_pattern *pattern, size_t context_lines)
{
    struct file_search *search = calloc(1, sizeof(*search));
    if (search != NULL) {
        search->pattern = pattern;
        search->context_lines = context_lines;
        search->buffer = malloc(BUFFER_SIZE);
    }
    if (search == NULL || search->buffer == NULL) {
        free(search);
        return NULL;
    }
    return search;
}

void file_search_free(struct file_search *search)
{
    if (search != NULL) {
        free(search->buffer);
        free(search);
    }
}

/* ---- lines of the buffer ---- */

static uint64_t count_newlines(const char *begin, const char *end)
{
    uint64_t count = 0;
    for (; begin < end; begin++) {
        count += *begin == '\n';
    }
    return count;
}

/* Counts the lines up to an offset. */
static void count_up_to(struct file_search *search, size_t offset)
{
    search->line += count_newlines(search->buffer + search->counted, search->buffer + offset);
    search->counted = offset;
}

/* Where the line begins that is `lines` lines before `offset`, or the first of the lines from
 * `least` on. */
static size_t lines_before(const struct file_search *search, size_t offset, size_t lines,
                           size_t least)
{
    for (; lines > 0 && offset > least; lines--) {
        const char *newline = memrchr(search->buffer + least, '\n', offset - least - 1);
        offset = newline == NULL ? least : (size_t)(newline - search->buffer) + 1;
    }
    return offset;
}

/* ---- the buffer ---- */

/* Reads on. 0, or -1 with errno. */
static int fill(struct file_search *search)
{
    size_t room = BUFFER_SIZE - search->filled;
    ssize_t got = io_read_some(search->fd, search->buffer + search->filled, room);
    if (got < 0) {
        return -1;
    }
    search->filled += (size_t)got;
    search->got += (uint64_t)got;
    search->is_at_end = got == 0 || ((size_t)got < room && search->got >= search->size);
    return 0;
}

/* Up to where lines can be searched now. */
static size_t find_search_end(const struct file_search *search)
{
    const size_t searched = search->searched;
    const bool is_full = search->filled == BUFFER_SIZE;
    if (search->is_at_end) {
        return search->filled;
    }
    const char *newline = memrchr(search->buffer + searched, '\n', search->filled - searched);
    if (newline == NULL) { /* a line that fills the buffer is searched in pieces */
        return is_full && searched == 0 ? search->filled : searched;
    }
    size_t end = (size_t)(newline - search->buffer) + 1;
    size_t early = lines_before(search, end, search->context_lines, searched);
    /* without room for what is to come behind, a match has less of it */
    return early > searched || !is_full ? early : end;
}

/* Drops what was searched, except the lines that the next ones have before them. */
static void drop_searched(struct file_search *search)
{
    const size_t searched = search->searched;
    size_t kept = searched;
    if (searched > 0 && search->buffer[searched - 1] != '\n') {
        search->skipped += searched;
    } else if (searched > 0) {
        kept = lines_before(search, searched, search->context_lines, 0);
        search->skipped = 0;
    }
    if (searched - kept > CONTEXT_MAX || search->filled - kept == BUFFER_SIZE) {
        kept = searched;
    }
    count_up_to(search, searched);
    memmove(search->buffer, search->buffer + kept, search->filled - kept);
    search->filled -= kept;
    search->searched -= kept;
    search->counted -= kept;
}

/* ---- searching ---- */

/* Whether the search goes on. */
static bool hand_line_out(struct file_search *search, const struct matched_line *matched,
                          found_line_function *function, void *context)
{
    const char *filled = search->buffer + search->filled;
    const size_t begin = (size_t)(matched->begin - search->buffer);
    count_up_to(search, begin);
    if (search->line < search->first) {
        return true;
    }
    const char *behind = memchr(matched->end, '\n', (size_t)(filled - matched->end));
    const char *last = search->is_at_end ? NULL : memrchr(search->buffer, '\n', search->filled);
    const uint64_t skipped = begin == 0 ? search->skipped : 0;
    const struct found_line line = {
        .number = search->line,
        .column = skipped + (uint64_t)(matched->match - matched->begin) + 1,
        .skipped = skipped,
        .text = matched->begin,
        .length = (size_t)(matched->end - matched->begin),
        .before_begin = search->buffer + lines_before(search, begin, search->context_lines, 0),
        .before_end = matched->begin,
        .after_begin = behind == NULL ? filled : behind + 1,
        .after_end = behind == NULL || last == NULL ? filled : last + 1,
    };
    return function(context, &line);
}

static enum search_result search_lines(struct file_search *search, size_t end,
                                       const struct stop_check *check,
                                       found_line_function *function, void *context)
{
    struct matched_line matched;
    enum pattern_result result;
    text_pattern_begin(search->pattern, check, search->buffer + search->searched,
                       search->buffer + end);
    while ((result = text_pattern_next(search->pattern, &matched)) == PATTERN_FOUND) {
        if (!hand_line_out(search, &matched, function, context)) {
            return SEARCH_ENOUGH;
        }
    }
    if (result == PATTERN_EXPLODED) {
        count_up_to(search, (size_t)(matched.begin - search->buffer));
        return SEARCH_EXPLODED;
    }
    if (result == PATTERN_NO_MEMORY || result == PATTERN_STOPPED) {
        errno = result == PATTERN_STOPPED ? ECANCELED : ENOMEM;
        return SEARCH_FAILED;
    }
    search->searched = end;
    return SEARCH_DONE;
}

static bool is_binary(const struct file_search *search)
{
    size_t looked = search->filled < BINARY_LOOK ? search->filled : BINARY_LOOK;
    return memchr(search->buffer, '\0', looked) != NULL;
}

/* Whether the check asks to stop (errno): a buffer may take its time. */
static bool is_to_end(struct file_search *search, const struct stop_check *check)
{
    int64_t now = clock_monotonic_ms();
    if (now < search->check_at) {
        return false;
    }
    search->check_at = now + CHECK_EVERY;
    errno = ECANCELED;
    return stop_check_asks(check);
}

static void begin_file(struct file_search *search, int fd, uint64_t size, uint64_t first)
{
    search->fd = fd;
    search->size = size;
    search->first = first;
    search->line = 1;
    search->got = search->skipped = 0;
    search->filled = search->searched = search->counted = 0;
}

enum search_result file_search_run(struct file_search *search, int fd, uint64_t size,
                                   uint64_t first, const struct stop_check *check,
                                   found_line_function *function, void *context, uint64_t *line)
{
    begin_file(search, fd, size, first);
    for (bool is_first = true;; is_first = false) {
        if (is_to_end(search, check) || fill(search) != 0) {
            return SEARCH_FAILED;
        }
        if (is_first && is_binary(search)) {
            return SEARCH_DONE;
        }
        enum search_result result =
            search_lines(search, find_search_end(search), check, function, context);
        *line = search->line;
        if (result != SEARCH_DONE || search->is_at_end) {
            return result;
        }
        drop_searched(search);
    }
}
