/*
 * Globs and patterns. The first line of the input is a glob or a pattern, the second one a name or
 * flags, the rest a text. A glob is compared with a matcher that tries everything; the lines that a
 * pattern finds in a file are those that it finds in each line alone, and those that PCRE2 finds.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include <assert.h>
#include <pcre2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/utf8.h"
#include "fcgi-app/search/file_search.h"
#include "fcgi-app/search/glob.h"
#include "fcgi-app/search/literal.h"
#include "tests/fuzz/fuzz.h"

/* ---- globs: of letters, slashes, ?, * and ** only, which are simple to match slowly ---- */

static bool matches_slowly(const char *begin, const char *glob, const char *text, unsigned *steps)
{
    if (++*steps > 100000) {
        return false;
    }
    bool is_first = glob == begin || glob[-1] == '/';
    if (is_first && strncmp(glob, "**", 2) == 0 && (glob[2] == '\0' || glob[2] == '/')) {
        if (glob[2] == '\0') {
            return *text != '\0';
        }
        for (const char *at = text;; at++) {
            if (matches_slowly(begin, glob + 3, at, steps)) {
                return true;
            }
            at = strchr(at, '/');
            if (at == NULL) {
                return false;
            }
        }
    }
    if (*glob == '*') {
        for (const char *at = text;; at++) {
            if (matches_slowly(begin, glob + strspn(glob, "*"), at, steps)) {
                return true;
            }
            if (*at == '\0' || *at == '/') {
                return false;
            }
        }
    }
    if (*glob == '\0' || *text == '\0') {
        return *glob == *text;
    }
    bool fits = *glob == '?' ? *text != '/' : *glob == *text;
    return fits && matches_slowly(begin, glob + 1, text + 1, steps);
}

static bool is_simple(const char *text, const char *more)
{
    for (; *text != '\0'; text++) {
        if ((*text < 'a' || *text > 'z') && strchr(more, *text) == NULL) {
            return false;
        }
    }
    return true;
}

static void check_glob(const char *text, const char *path)
{
    char fault[GLOB_FAULT_SIZE];
    struct glob *glob = glob_new(text, fault);
    assert(glob != NULL || *fault != '\0');
    if (glob == NULL) {
        return;
    }
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    bool chooses = glob_chooses(glob, path, name);
    size_t components = 1;
    for (const char *at = path; *at != '\0'; at++) {
        components += *at == '/';
    }
    assert(!chooses || components <= glob_depth(glob) || *path == '\0');
    size_t length = strlen(text);
    if (is_simple(text, "/*?") && is_simple(path, "/") && length > 0 && text[0] != '/' &&
        text[length - 1] != '/') {
        unsigned steps = 0;
        bool slowly = matches_slowly(text, text, strchr(text, '/') == NULL ? name : path, &steps);
        assert(steps > 100000 || slowly == chooses);
    }
    glob_free(glob);
}

/* ---- patterns ---- */

#define LINES_MOST 64

struct lines {
    uint64_t numbers[LINES_MOST];
    size_t count;
};

static bool note_line(void *context, const struct found_line *line)
{
    struct lines *lines = context;
    assert(line->column >= 1 && line->column - 1 - line->skipped <= line->length);
    assert(line->before_begin <= line->before_end && line->after_begin <= line->after_end);
    lines->numbers[lines->count++] = line->number;
    return lines->count < LINES_MOST;
}

/* Searches a text as a file. */
static enum search_result search_text(struct text_pattern *pattern, const char *text, size_t length,
                                      struct lines *lines)
{
    uint64_t line;
    const struct stop_check never = {NULL, NULL};
    cleanup_fd int fd = memfd_create("text", MFD_CLOEXEC);
    assert(fd >= 0 && write(fd, text, length) == (ssize_t)length && lseek(fd, 0, SEEK_SET) == 0);
    struct file_search *search = file_search_new(pattern, length % 3);
    assert(search != NULL);
    enum search_result result =
        file_search_run(search, fd, length, 0, &never, note_line, lines, &line);
    file_search_free(search);
    return result;
}

/* What PCRE2 itself says of a line: 1, 0, or -1: too many steps, or nothing that is to be compared:
 * of bytes that are no UTF-8 even ^ is nowhere for it. */
static int ask_pcre2(const pcre2_code *code, const char *begin, const char *end)
{
    end -= end > begin && end[-1] == '\n';
    end -= end > begin && end[-1] == '\r';
    if (utf8_valid_length(begin, (size_t)(end - begin)) != (size_t)(end - begin)) {
        return -1;
    }
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    assert(data != NULL && context != NULL && pcre2_set_match_limit(context, 100000) == 0);
    int result = pcre2_match(code, (PCRE2_SPTR)begin, (size_t)(end - begin), 0, 0, data, context);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
    return result >= 0 ? 1 : result == PCRE2_ERROR_NOMATCH ? 0 : -1;
}

/* The pattern as PCRE2 takes it. */
static pcre2_code *plain_code(const char *text)
{
    int error;
    size_t offset;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    assert(context != NULL && pcre2_set_newline(context, PCRE2_NEWLINE_ANYCRLF) == 0);
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
                                     PCRE2_MULTILINE | PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &error,
                                     &offset, context);
    pcre2_compile_context_free(context);
    return code;
}

/* Compares the lines that were found with those of PCRE2. Cases of letters depend on UTF-8. */
static void check_by_pcre2(const char *text, const struct lines *lines, const char *at,
                           const char *end)
{
    pcre2_code *code =
        strstr(text, "(?") == NULL && strstr(text, "(*") == NULL ? plain_code(text) : NULL;
    size_t found = 0;
    for (uint64_t number = 1; code != NULL && at < end && found < LINES_MOST; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *behind = newline == NULL ? end : newline + 1;
        bool is_found = found < lines->count && lines->numbers[found] == number;
        int expected = ask_pcre2(code, at, behind);
        assert(expected < 0 || is_found == (expected == 1));
        found += is_found;
        at = behind;
    }
    pcre2_code_free(code);
}

static void check_pattern(const char *text, unsigned flags, const char *content, size_t length)
{
    char fault[PATTERN_FAULT_SIZE];
    struct lines all = {.count = 0};
    if (*text == '\0' || memchr(content, '\0', length) != NULL) {
        return;
    }
    struct text_pattern *pattern = text_pattern_new(text, flags & 1, (flags & 2) != 0, fault);
    assert(pattern != NULL || *fault != '\0');
    if (pattern == NULL) {
        return;
    }
    enum search_result result = search_text(pattern, content, length, &all);
    size_t found = 0;
    uint64_t number = 1;
    for (const char *at = content, *end = content + length; at < end && result == SEARCH_DONE;
         number++) {
        struct lines one = {.count = 0};
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *behind = newline == NULL ? end : newline + 1;
        result = search_text(pattern, at, (size_t)(behind - at), &one);
        if (result == SEARCH_DONE) {
            bool is_found = found < all.count && all.numbers[found] == number;
            assert(is_found == (one.count == 1));
            found += is_found;
        }
        at = behind;
    }
    assert(result != SEARCH_DONE || found == all.count);
    if (result == SEARCH_DONE && (flags & 3) == 0) {
        check_by_pcre2(text, &all, content, content + length);
    }
    text_pattern_free(pattern);
}

/* ---- fixed texts ---- */

static void check_literal(const char *text, const char *content, size_t length)
{
    if (*text == '\0') {
        return;
    }
    struct literal literal = literal_of(text, strlen(text));
    assert(literal_find(&literal, content, content + length) ==
           memmem(content, length, text, strlen(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *input = (const char *)data, *end = input + size;
    const char *first = size == 0 ? NULL : memchr(input, '\n', size);
    const char *second = first == NULL ? NULL : memchr(first + 1, '\n', (size_t)(end - first - 1));
    if (second == NULL || second - input > 300 || end - second > 2000) {
        return 0;
    }
    cleanup_free char *text = strndup(input, (size_t)(first - input));
    cleanup_free char *name = strndup(first + 1, (size_t)(second - first - 1));
    assert(text != NULL && name != NULL);
    check_glob(text, name);
    check_literal(text, second + 1, (size_t)(end - second - 1));
    check_pattern(text, (unsigned char)*name, second + 1, (size_t)(end - second - 1));
    return 0;
}
