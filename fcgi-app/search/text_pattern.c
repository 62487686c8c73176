/*
 * Theory of operation: a call of PCRE2 for each line is slow. So the lines are searched all at
 * once, and the line of a match is searched again alone. That finds what a search of each line
 * finds, if the pattern is monotone: what matches in a line matches at the same place in all of the
 * text, too. Then the first match in the text is not behind the first one in a line. Look-around,
 * atomic groups and anchors of the whole subject are not monotone; a pattern that could have any of
 * these is given each line alone.
 *
 * A pattern that may begin anywhere is slow where lines are searched all at once, too: each place
 * is a beginning. If PCRE2 knows a byte that all its matches have, only the lines with that byte
 * are searched, as long as they are few. PCRE2 does not tell whether such a byte stands for both
 * cases of a letter, so only a monotone pattern, which cannot have (?i), makes use of it.
 *
 * PCRE2 cannot be interrupted, and bounds the steps from one place only: many places, each with
 * many steps, would hold the thread for hours. So few steps are allowed at first. A line that needs
 * more is searched again in windows of a few places. Between them we look whether to stop.
 *
 * UTF-8 matters to a pattern only if a part of it may match a part of a character.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "fcgi-app/search/text_pattern.h"

#include <pcre2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/utf8.h"
#include "fcgi-app/search/literal.h"

#define STEPS_FEW   500        /* of backtracking, from one place, at first */
#define STEPS_MAX   1000000    /* the same of a line that needs more */
#define WINDOW      4          /* places of such a line that are tried at once */
#define HEAP_MAX    (16 << 10) /* KiB */
#define PATTERN_MAX (32 << 10) /* bytes */

#define LINE_NS_MAX ((uint64_t)10 * 1000000000) /* of a processor, for such a line */

/* Of fewer bytes for each line with the required byte it is faster to search all lines at once. */
#define BYTES_PER_CANDIDATE 128

struct text_pattern {
    bool is_literal;
    struct literal literal;
    const char *text; /* borrowed */
    uint32_t options;
    pcre2_code *code;
    pcre2_code *windowed; /* made for the first line that takes many steps */
    pcre2_match_data *data;
    pcre2_match_context *context;
    bool is_monotone;
    bool is_utf;
    int required;                 /* a byte of each match; -1: none is known, or none is of use */
    uint64_t candidates, offered; /* lines that were searched for their byte; bytes of all lines */
    const struct stop_check *check; /* borrowed */
    const char *at, *end;           /* what is left of the lines that are searched */
    bool is_valid;                  /* they are UTF-8 to their end */
    bool at_once;                   /* several of them may be searched at once, see above */
};

void text_pattern_free(struct text_pattern *pattern)
{
    if (pattern != NULL) {
        pcre2_match_context_free(pattern->context);
        pcre2_match_data_free(pattern->data);
        pcre2_code_free(pattern->code);
        pcre2_code_free(pattern->windowed);
        free(pattern);
    }
}

static void text_pattern_freep(struct text_pattern **pattern)
{
    text_pattern_free(*pattern);
}

/* ---- what a pattern may have ---- */

struct pattern_traits {
    bool is_monotone;
    bool needs_utf;
};

/* Behind the class that begins at `at`; NULL if it is not a simple one. */
static const char *skip_simple_class(const char *at, struct pattern_traits *traits)
{
    at++;
    if (*at == '^') {
        traits->needs_utf = true;
        at++;
    }
    if (*at == ']') {
        return NULL;
    }
    for (; *at != ']'; at++) {
        if (*at == '[' || *at == '\0') {
            return NULL;
        }
        if (*at == '\\') {
            at++;
            if (*at == '\0' || strchr("dws\\[]^-.$*+?(){}|/\"'tnrbfeh", *at) == NULL) {
                return NULL;
            }
            traits->needs_utf = traits->needs_utf || *at == 'h';
        }
        traits->needs_utf = traits->needs_utf || (*at & 0x80) != 0;
    }
    return at + 1;
}

/* Behind the element that begins at `at`; NULL if it is not a simple one. */
static const char *skip_simple(const char *at, struct pattern_traits *traits)
{
    switch (*at) {
    case '[': return skip_simple_class(at, traits);
    case '(': /* a group, and no other kind of parenthesis */
        return at[1] != '?' && at[1] != '*' ? at + 1 : at[1] == '?' && at[2] == ':' ? at + 3 : NULL;
    case '*':
    case '+':
    case '?':
    case '}': /* a quantifier; with + behind it, it would be possessive */
        return at[1] == '+' ? NULL : at + 1;
    case '.': traits->needs_utf = true; return at + 1;
    case '\\':
        traits->needs_utf = traits->needs_utf || strchr("DWShH", at[1]) != NULL;
        return at[1] != '\0' &&
                       strchr("dwshDWSHbtnrfe.\\/-[](){}^$*+?|\"'#@%&=:;,<>!~`_ ", at[1]) != NULL
                   ? at + 2
                   : NULL;
    default: traits->needs_utf = traits->needs_utf || (*at & 0x80) != 0; return at + 1;
    }
}

static struct pattern_traits look_at_pattern(const char *text)
{
    struct pattern_traits traits = {.is_monotone = true};
    while (text != NULL && *text != '\0') {
        text = skip_simple(text, &traits);
    }
    return text == NULL ? (struct pattern_traits){.needs_utf = true} : traits;
}

/* ---- a new pattern ---- */

static pcre2_code *compile(const char *text, uint32_t options, char *fault)
{
    int error;
    PCRE2_SIZE offset;
    PCRE2_UCHAR message[128];
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL) {
        return NULL;
    }
    (void)pcre2_set_newline(context, PCRE2_NEWLINE_ANYCRLF);
    (void)pcre2_set_max_pattern_length(context, PATTERN_MAX);
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, options, &error, &offset, context);
    pcre2_compile_context_free(context);
    if (code == NULL && error != PCRE2_ERROR_HEAP_FAILED) {
        (void)pcre2_get_error_message(error, message, sizeof(message));
        (void)snprintf(fault, PATTERN_FAULT_SIZE, "pattern, at byte %zu: %s", (size_t)offset,
                       (const char *)message);
    }
    return code;
}

/* A byte of each match of a monotone pattern; -1: PCRE2 knows none, or it finds the beginnings of
 * matches by a byte of its own. */
static int required_byte(const pcre2_code *code)
{
    uint32_t first = 0, last = 0, byte = 0;
    bool is_known = pcre2_pattern_info(code, PCRE2_INFO_FIRSTCODETYPE, &first) == 0 &&
                    pcre2_pattern_info(code, PCRE2_INFO_LASTCODETYPE, &last) == 0 &&
                    pcre2_pattern_info(code, PCRE2_INFO_LASTCODEUNIT, &byte) == 0;
    return is_known && first != 1 && last == 1 ? (int)byte : -1;
}

/* What is compiled is as fast as it can be; where no memory may be executable it is interpreted. */
static int prepare_pattern(struct text_pattern *pattern)
{
    (void)pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE);
    pattern->data = pcre2_match_data_create(1, NULL);
    pattern->context = pcre2_match_context_create(NULL);
    if (pattern->data == NULL || pattern->context == NULL) {
        return -1;
    }
    (void)pcre2_set_heap_limit(pattern->context, HEAP_MAX);
    return 0;
}

static bool is_ascii(const char *text)
{
    while (*text != '\0' && (*text & 0x80) == 0) {
        text++;
    }
    return *text == '\0';
}

struct text_pattern *text_pattern_new(const char *text, bool is_fixed, bool ignores_case,
                                      char *fault)
{
    fault[0] = '\0';
    cleanup_(text_pattern_freep) struct text_pattern *pattern = calloc(1, sizeof(*pattern));
    if (pattern == NULL) {
        return NULL;
    }
    if (is_fixed && strchr(text, '\n') != NULL) {
        (void)snprintf(fault, PATTERN_FAULT_SIZE,
                       "pattern: a fixed text with a line's end is in no line");
        return NULL;
    }
    if (is_fixed && !ignores_case) {
        pattern->is_literal = true;
        pattern->literal = literal_of(text, strlen(text));
        return steal_pointer(pattern);
    }
    struct pattern_traits traits = look_at_pattern(is_fixed ? "" : text);
    pattern->is_monotone = traits.is_monotone;
    pattern->is_utf = traits.needs_utf || (is_fixed && !is_ascii(text));
    pattern->text = text;
    pattern->options = (is_fixed ? PCRE2_LITERAL : PCRE2_MULTILINE) |
                       (ignores_case ? PCRE2_CASELESS : 0) |
                       (pattern->is_utf ? PCRE2_UTF | PCRE2_MATCH_INVALID_UTF : 0);
    pattern->code = compile(text, pattern->options, fault);
    if (pattern->code == NULL || prepare_pattern(pattern) != 0) {
        return NULL;
    }
    pattern->required = traits.is_monotone && !ignores_case ? required_byte(pattern->code) : -1;
    return steal_pointer(pattern);
}

/* ---- lines ---- */

static const char *line_begin(const char *begin, const char *at)
{
    const char *newline = memrchr(begin, '\n', (size_t)(at - begin));
    return newline == NULL ? begin : newline + 1;
}

/* Behind the newline of the line of `at`, or `end`. */
static const char *line_end(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return newline == NULL ? end : newline + 1;
}

/* The line [begin, behind) without its end. */
static struct matched_line bare_line(const char *begin, const char *behind)
{
    const char *end = behind;
    end -= end > begin && end[-1] == '\n';
    end -= end > begin && end[-1] == '\r';
    return (struct matched_line){.begin = begin, .end = end};
}

/* ---- searching: each function moves pattern->at behind the line that it has found ---- */

static enum pattern_result find_literal(struct text_pattern *pattern, struct matched_line *line)
{
    const char *match, *end = pattern->end;
    while ((match = literal_find(&pattern->literal, pattern->at, end)) != NULL) {
        const char *behind = line_end(match, end);
        *line = bare_line(line_begin(pattern->at, match), behind);
        line->match = match;
        pattern->at = behind;
        if (match + pattern->literal.length <= line->end) {
            return PATTERN_FOUND;
        }
    }
    return PATTERN_ABSENT;
}

/* What PCRE2 is to do. */
struct trial {
    const pcre2_code *code;
    uint32_t steps; /* at most, from one place */
    size_t from;    /* the first place */
    size_t last;    /* PCRE2_UNSET: all */
};

static int call_pcre2(const struct text_pattern *pattern, const struct trial *trial,
                      const char *begin, const char *end, uint32_t options)
{
    (void)pcre2_set_match_limit(pattern->context, trial->steps);
    (void)pcre2_set_offset_limit(pattern->context, trial->last);
    return pcre2_match(trial->code, (PCRE2_SPTR)begin, (PCRE2_SIZE)(end - begin), trial->from,
                       options | (pattern->is_valid ? PCRE2_NO_UTF_CHECK : 0), pattern->data,
                       pattern->context);
}

/* *match becomes the first match in the bytes. */
static enum pattern_result match_bytes(const struct text_pattern *pattern,
                                       const struct trial *trial, const char *begin,
                                       const char *end, const char **match)
{
    int result = call_pcre2(pattern, trial, begin, end, 0);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
        result = call_pcre2(pattern, trial, begin, end, PCRE2_NO_JIT);
    }
    if (result >= 0) {
        *match = begin + pcre2_get_ovector_pointer(pattern->data)[0];
        return PATTERN_FOUND;
    }
    return result == PCRE2_ERROR_NOMATCH    ? PATTERN_ABSENT
           : result == PCRE2_ERROR_NOMEMORY ? PATTERN_NO_MEMORY
                                            : PATTERN_EXPLODED;
}

/* The code whose matches can be asked for within some places. NULL: there is none. */
static const pcre2_code *windowed_code(struct text_pattern *pattern)
{
    char fault[PATTERN_FAULT_SIZE];
    /* \G would be the beginning of each window. */
    if (pattern->windowed == NULL && strstr(pattern->text, "\\G") == NULL) {
        pattern->windowed =
            compile(pattern->text, pattern->options | PCRE2_USE_OFFSET_LIMIT, fault);
        (void)pcre2_jit_compile(pattern->windowed, PCRE2_JIT_COMPLETE);
    }
    return pattern->windowed;
}

/* Where the window that begins at `offset` ends: not within a character. */
static size_t window_end(const char *begin, size_t offset, size_t length)
{
    offset += WINDOW;
    while (offset < length && ((unsigned char)begin[offset] & 0xc0) == 0x80) {
        offset++;
    }
    return offset;
}

/* match_bytes() of a line that takes many steps, a window of places after the other. */
static enum pattern_result match_slowly(struct text_pattern *pattern, const char *begin,
                                        const char *end, const char **match)
{
    const size_t length = (size_t)(end - begin);
    const uint64_t started = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    struct trial trial = {windowed_code(pattern), STEPS_MAX, 0, PCRE2_UNSET};
    if (trial.code == NULL) {
        trial.code = pattern->code;
        return match_bytes(pattern, &trial, begin, end, match);
    }
    enum pattern_result result = PATTERN_ABSENT;
    for (; result == PATTERN_ABSENT && trial.from <= length; trial.from = trial.last + 1) {
        if (stop_check_asks(pattern->check)) {
            return PATTERN_STOPPED;
        }
        trial.last = window_end(begin, trial.from, length) - 1;
        result = clock_ns(CLOCK_THREAD_CPUTIME_ID) - started > LINE_NS_MAX
                     ? PATTERN_EXPLODED
                     : match_bytes(pattern, &trial, begin, end, match);
    }
    return result;
}

/* Searches the line that begins at `begin` and ends at `behind`. */
static enum pattern_result match_line(struct text_pattern *pattern, const char *begin,
                                      const char *behind, struct matched_line *line)
{
    *line = bare_line(begin, behind);
    pattern->at = behind;
    const struct trial trial = {pattern->code, STEPS_FEW, 0, PCRE2_UNSET};
    enum pattern_result result = match_bytes(pattern, &trial, line->begin, line->end, &line->match);
    return result == PATTERN_EXPLODED ? match_slowly(pattern, line->begin, line->end, &line->match)
                                      : result;
}

static enum pattern_result find_by_line(struct text_pattern *pattern, struct matched_line *line)
{
    enum pattern_result result = PATTERN_ABSENT;
    while (result == PATTERN_ABSENT && pattern->at < pattern->end) {
        result = match_line(pattern, pattern->at, line_end(pattern->at, pattern->end), line);
    }
    return result;
}

static enum pattern_result find_at_once(struct text_pattern *pattern, struct matched_line *line)
{
    const char *candidate;
    const struct trial trial = {pattern->code, STEPS_FEW, 0, PCRE2_UNSET};
    enum pattern_result result = PATTERN_ABSENT;
    while (result == PATTERN_ABSENT && pattern->at < pattern->end) {
        result = match_bytes(pattern, &trial, pattern->at, pattern->end, &candidate);
        if (result == PATTERN_EXPLODED) {
            pattern->at_once = false; /* perhaps only because of many lines */
            return find_by_line(pattern, line);
        }
        if (result == PATTERN_NO_MEMORY || result == PATTERN_STOPPED) {
            return result;
        }
        /* behind the last newline there is no line */
        if (result == PATTERN_ABSENT || (candidate == pattern->end && pattern->end[-1] == '\n')) {
            pattern->at = pattern->end;
            return PATTERN_ABSENT;
        }
        result = match_line(pattern, line_begin(pattern->at, candidate),
                            line_end(candidate, pattern->end), line);
    }
    return result;
}

/* Searches lines that have the required byte. PATTERN_ABSENT: up to pattern->at, which is the end
 * unless such lines are too many. */
static enum pattern_result find_by_byte(struct text_pattern *pattern, struct matched_line *line)
{
    enum pattern_result result = PATTERN_ABSENT;
    while (result == PATTERN_ABSENT && pattern->at < pattern->end &&
           pattern->candidates * BYTES_PER_CANDIDATE <= pattern->offered) {
        const char *place =
            memchr(pattern->at, pattern->required, (size_t)(pattern->end - pattern->at));
        if (place == NULL) {
            pattern->at = pattern->end;
            break;
        }
        pattern->candidates++;
        result = match_line(pattern, line_begin(pattern->at, place), line_end(place, pattern->end),
                            line);
    }
    return result;
}

void text_pattern_begin(struct text_pattern *pattern, const struct stop_check *check,
                        const char *begin, const char *end)
{
    size_t length = (size_t)(end - begin);
    pattern->check = check;
    pattern->at = begin;
    pattern->end = end;
    pattern->offered += length;
    pattern->is_valid = pattern->is_utf && utf8_valid_length(begin, length) == length;
    /* of bytes that are no UTF-8 PCRE2 would check all each time */
    pattern->at_once = pattern->is_monotone && pattern->is_valid == pattern->is_utf;
}

enum pattern_result text_pattern_next(struct text_pattern *pattern, struct matched_line *line)
{
    if (pattern->is_literal) {
        return find_literal(pattern, line);
    }
    if (pattern->required >= 0) {
        enum pattern_result result = find_by_byte(pattern, line);
        if (result != PATTERN_ABSENT) {
            return result;
        }
    }
    return pattern->at_once ? find_at_once(pattern, line) : find_by_line(pattern, line);
}
