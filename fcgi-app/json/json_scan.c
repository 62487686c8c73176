/*
 * Theory of operation: a loop takes one value after the other. The objects and arrays that are open
 * at a position are a stack of bits, so a deep text needs no deep recursion. A value that ends at
 * level 1 is that of a member.
 */
#include "fcgi-app/json/json_scan.h"

#include <assert.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "common/json_text.h"
#include "common/utf8.h"

struct scanner {
    const char *at, *end;
    const char *reason;    /* what is wrong at `at` */
    const char *value;     /* where that of a member begins; NULL between two members */
    struct json_span name; /* of that member */
    json_member_function *function;
    void *context;
    bool stopped;     /* the function has had enough */
    const char *high; /* the newest escape of a high surrogate, or NULL */
    unsigned depth;
    uint64_t objects[JSON_DEPTH_MAX / 64 + 1]; /* bit d: level d is an object, not an array */
};

static bool scanner_fail(struct scanner *scanner, const char *reason)
{
    scanner->reason = reason;
    return false;
}

/* The byte at the position, or -1 at the end. */
static inline int peek(const struct scanner *scanner)
{
    return scanner->at < scanner->end ? (unsigned char)*scanner->at : -1;
}

static inline bool take_byte(struct scanner *scanner, char byte)
{
    if (peek(scanner) != byte) {
        return false;
    }
    scanner->at++;
    return true;
}

static inline void skip_whitespace(struct scanner *scanner)
{
    const char *at = scanner->at;
    while (at < scanner->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    scanner->at = at;
}

/* ---- strings ---- */

static int hex_value(unsigned char byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

#define ESCAPE_LENGTH 6 /* of \uXXXX */

/* The code unit of the \uXXXX at data[0..available), or -1. */
static int code_unit(const char *data, size_t available)
{
    int unit = 0;
    if (available < ESCAPE_LENGTH || data[0] != '\\' || data[1] != 'u') {
        return -1;
    }
    for (int i = 2; i < ESCAPE_LENGTH; i++) {
        int digit = hex_value((unsigned char)data[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit << 4 | digit;
    }
    return unit;
}

static inline bool is_high_surrogate(int unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static inline bool is_low_surrogate(int unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* At a backslash. */
static bool scan_escape(struct scanner *scanner)
{
    size_t left = (size_t)(scanner->end - scanner->at);
    if (left >= 2 && scanner->at[1] != '\0' && strchr("\"\\/bfnrt", scanner->at[1]) != NULL) {
        scanner->at += 2;
        return true;
    }
    int unit = code_unit(scanner->at, left);
    if (unit < 0) {
        return scanner_fail(scanner, "invalid escape in a string");
    }
    scanner->high = is_high_surrogate(unit) ? scanner->at : scanner->high;
    scanner->at += ESCAPE_LENGTH;
    return true;
}

/* The inside of a string, up to the closing quote. */
static bool scan_inside(struct scanner *scanner)
{
    for (;;) {
        scanner->at += json_plain_length(scanner->at, (size_t)(scanner->end - scanner->at));
        int byte = peek(scanner);
        if (byte == '"') {
            return true;
        }
        if (byte == '\\') {
            if (!scan_escape(scanner)) {
                return false;
            }
            continue;
        }
        if (byte < 0) {
            return scanner_fail(scanner, "unterminated string");
        }
        if (byte < 0x20) {
            return scanner_fail(scanner, "control character in a string");
        }
        int sequence =
            utf8_sequence((const unsigned char *)scanner->at, (size_t)(scanner->end - scanner->at));
        if (sequence <= 0) {
            return scanner_fail(scanner, "invalid UTF-8 in a string");
        }
        scanner->at += sequence;
    }
}

/* At the opening quote. *inside becomes what is between the quotes. */
static bool scan_string(struct scanner *scanner, struct json_span *inside)
{
    const char *begin = ++scanner->at;
    if (!scan_inside(scanner)) {
        return false;
    }
    *inside = (struct json_span){begin, (size_t)(scanner->at - begin)};
    scanner->at++;
    return true;
}

size_t json_string_part(const char *text, size_t length)
{
    struct scanner scanner = {.at = text, .end = text + length};
    (void)scan_inside(&scanner); /* it ends where that does, well or not */
    const char *at = scanner.at;
    size_t left = (size_t)(scanner.end - at);
    bool is_cut = left == 0 || (left < ESCAPE_LENGTH && *at == '\\');
    if (is_cut && scanner.high != NULL && scanner.high + ESCAPE_LENGTH == at) {
        at = scanner.high; /* what is to come may be the other half of the pair */
    }
    return (size_t)(at - text);
}

/* ---- numbers and words ---- */

static bool scan_digits(struct scanner *scanner)
{
    const char *begin = scanner->at;
    while (scanner->at < scanner->end && *scanner->at >= '0' && *scanner->at <= '9') {
        scanner->at++;
    }
    return scanner->at > begin || scanner_fail(scanner, "a digit is missing in a number");
}

static bool scan_number(struct scanner *scanner)
{
    (void)take_byte(scanner, '-');
    if (!take_byte(scanner, '0') && !scan_digits(scanner)) {
        return false;
    }
    if (take_byte(scanner, '.') && !scan_digits(scanner)) {
        return false;
    }
    if (take_byte(scanner, 'e') || take_byte(scanner, 'E')) {
        if (!take_byte(scanner, '+')) {
            (void)take_byte(scanner, '-');
        }
        return scan_digits(scanner);
    }
    return true;
}

static bool scan_word(struct scanner *scanner, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(scanner->end - scanner->at) < length || memcmp(scanner->at, word, length) != 0) {
        return scanner_fail(scanner, "a value is expected");
    }
    scanner->at += length;
    return true;
}

/* A value that is neither object nor array. */
static bool scan_scalar(struct scanner *scanner)
{
    struct json_span inside;
    switch (peek(scanner)) {
    case '"': return scan_string(scanner, &inside);
    case 't': return scan_word(scanner, "true");
    case 'f': return scan_word(scanner, "false");
    case 'n': return scan_word(scanner, "null");
    case '-':
    case '0' ... '9': return scan_number(scanner);
    default: return scanner_fail(scanner, "a value is expected");
    }
}

/* ---- objects and arrays ---- */

static inline bool in_object(const struct scanner *scanner)
{
    return (scanner->objects[scanner->depth / 64] >> (scanner->depth % 64) & 1) != 0;
}

/* At an opening bracket. */
static bool open_container(struct scanner *scanner)
{
    if (scanner->depth == JSON_DEPTH_MAX) {
        return scanner_fail(scanner, "nested too deeply");
    }
    scanner->depth++;
    uint64_t bit = UINT64_C(1) << (scanner->depth % 64);
    if (*scanner->at++ == '{') {
        scanner->objects[scanner->depth / 64] |= bit;
    } else {
        scanner->objects[scanner->depth / 64] &= ~bit;
    }
    return true;
}

/* The name of a member and its colon. */
static bool scan_name(struct scanner *scanner)
{
    struct json_span name;
    if (peek(scanner) != '"') {
        return scanner_fail(scanner, "a member name in quotes is expected");
    }
    if (!scan_string(scanner, &name)) {
        return false;
    }
    skip_whitespace(scanner);
    if (!take_byte(scanner, ':')) {
        return scanner_fail(scanner, "a colon is expected");
    }
    if (scanner->depth == 1) {
        scanner->name = name;
    }
    return true;
}

/* By the first byte of a value; of a number it is one of many. */
static const enum json_type types[UCHAR_MAX + 1] = {
    ['"'] = JSON_TYPE_STRING,  ['{'] = JSON_TYPE_OBJECT,  ['['] = JSON_TYPE_ARRAY,
    ['t'] = JSON_TYPE_BOOLEAN, ['f'] = JSON_TYPE_BOOLEAN, ['n'] = JSON_TYPE_NULL};

/* A value ends at the position: hands out that of a member. False when that was enough. */
static bool end_value(struct scanner *scanner)
{
    if (scanner->depth > 1) {
        return true;
    }
    struct json_span value = {scanner->value, (size_t)(scanner->at - scanner->value)};
    enum json_type type = types[(unsigned char)*value.data];
    if (type == JSON_TYPE_STRING) {
        value = (struct json_span){value.data + 1, value.length - 2};
    }
    scanner->value = NULL;
    scanner->stopped = !scanner->function(scanner->context, scanner->name, type, value);
    return !scanner->stopped;
}

/* From the first byte of the outermost object or array to its last. */
static bool scan_outermost(struct scanner *scanner)
{
    for (;;) {
        int byte = peek(scanner);
        bool opened = byte == '{' || byte == '[';
        if (opened ? !open_container(scanner) : !scan_scalar(scanner) || !end_value(scanner)) {
            return false;
        }
        skip_whitespace(scanner);
        while (take_byte(scanner, in_object(scanner) ? '}' : ']')) {
            opened = false;
            if (--scanner->depth == 0) {
                return true;
            }
            if (!end_value(scanner)) {
                return false;
            }
            skip_whitespace(scanner);
        }
        if (!opened && !take_byte(scanner, ',')) {
            return scanner_fail(scanner, in_object(scanner) ? "a comma or } is expected"
                                                            : "a comma or ] is expected");
        }
        skip_whitespace(scanner);
        if (in_object(scanner) && !scan_name(scanner)) {
            return false;
        }
        skip_whitespace(scanner);
        if (scanner->depth == 1) {
            scanner->value = scanner->at;
        }
    }
}

/* What both functions do; `bracket` opens what the text must be. */
static int scan_text(const char *text, size_t length, char bracket, json_member_function *function,
                     void *context, struct json_scan_error *error)
{
    struct scanner scanner = {
        .at = text, .end = text + length, .function = function, .context = context};
    skip_whitespace(&scanner);
    bool valid = peek(&scanner) == bracket
                     ? scan_outermost(&scanner)
                     : scanner_fail(&scanner, bracket == '{' ? "an object is expected"
                                                             : "an array is expected");
    if (scanner.stopped) {
        return 1;
    }
    skip_whitespace(&scanner);
    if (valid && scanner.at != scanner.end) {
        valid = scanner_fail(&scanner, bracket == '{' ? "something follows the object"
                                                      : "something follows the array");
    }
    if (valid) {
        return 0;
    }
    const char *value = scanner.value;
    bool in_string = value != NULL && value < scanner.end && *value == '"';
    *error = (struct json_scan_error){(size_t)(scanner.at - text), scanner.reason,
                                      in_string ? value + 1 : NULL, scanner.name};
    return -1;
}

int json_scan_object(const char *text, size_t length, json_member_function *function, void *context,
                     struct json_scan_error *error)
{
    return scan_text(text, length, '{', function, context, error);
}

int json_scan_array(const char *text, size_t length, json_member_function *function, void *context,
                    struct json_scan_error *error)
{
    return scan_text(text, length, '[', function, context, error);
}

/* ---- decoding ---- */

static size_t put_utf8(char *out, unsigned code)
{
    static const unsigned leads[] = {0, 0, 0xc0, 0xe0, 0xf0}; /* by length */
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code >>= 6) {
        out[i] = (char)(0x80 | (code & 0x3f));
    }
    out[0] = (char)(leads[length] | code);
    return length;
}

#define REPLACEMENT 0xfffd /* U+FFFD */

/* The character of the \uXXXX at the beginning of a scanned string, REPLACEMENT for half a pair.
 * *taken becomes its length. */
static unsigned unicode_escape(struct json_span string, size_t *taken)
{
    int unit = code_unit(string.data, string.length);
    *taken = ESCAPE_LENGTH;
    if (is_high_surrogate(unit)) {
        int low = code_unit(string.data + ESCAPE_LENGTH, string.length - ESCAPE_LENGTH);
        if (is_low_surrogate(low)) {
            *taken = 12;
            return 0x10000 + (((unsigned)unit - 0xd800) << 10) + ((unsigned)low - 0xdc00);
        }
    }
    return is_high_surrogate(unit) || is_low_surrogate(unit) ? REPLACEMENT : (unsigned)unit;
}

bool json_has_lone_surrogate(struct json_span string)
{
    while (string.length > 0) {
        const char *escape = memchr(string.data, '\\', string.length);
        if (escape == NULL) {
            return false;
        }
        string.length -= (size_t)(escape - string.data);
        string.data = escape;
        size_t taken = 2;
        /* The character itself is written plainly or as \ufffd, which is no surrogate. */
        if (escape[1] == 'u' && unicode_escape(string, &taken) == REPLACEMENT &&
            code_unit(escape, string.length) != REPLACEMENT) {
            return true;
        }
        string.data += taken;
        string.length -= taken;
    }
    return false;
}

/* Decodes the escape at the beginning of *string; writes up to 4 bytes. */
static size_t decode_escape(struct json_span *string, char *out)
{
    static const char values[128] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                     ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
    unsigned char letter = (unsigned char)string->data[1];
    size_t taken = 2, written = 1;
    if (letter == 'u') {
        written = put_utf8(out, unicode_escape(*string, &taken));
    } else {
        assert(letter < sizeof(values) && values[letter] != 0);
        *out = values[letter];
    }
    string->data += taken;
    string->length -= taken;
    return written;
}

size_t json_decode(struct json_span *string, char *out, size_t room)
{
    size_t written = 0;
    while (string->length > 0 && room - written >= 4) {
        if (*string->data == '\\') {
            written += decode_escape(string, out + written);
            continue;
        }
        size_t length = room - written < string->length ? room - written : string->length;
        const char *backslash = memchr(string->data, '\\', length);
        length = backslash != NULL ? (size_t)(backslash - string->data) : length;
        memcpy(out + written, string->data, length);
        written += length;
        string->data += length;
        string->length -= length;
    }
    return written;
}

bool json_decodes_to(struct json_span string, const char *text)
{
    size_t left = strlen(text);
    while (string.length > 0) {
        char piece[16];
        size_t length = json_decode(&string, piece, sizeof(piece));
        if (length > left || memcmp(piece, text, length) != 0) {
            return false;
        }
        text += length;
        left -= length;
    }
    return left == 0;
}
