/*
 * Theory of operation: braces are expanded first, into alternatives without braces. An alternative
 * is compared from left to right. What did not fit goes back to the last * of this name, which
 * takes one character more, or to the last **, which takes one directory more. Further back there
 * is no need to go: whatever an earlier one would take, the last one can take, too.
 */
#include "fcgi-app/search/glob.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/utf8.h"

#define GLOB_MAX         1024 /* bytes */
#define ALTERNATIVES_MAX 64

struct alternative {
    char *text; /* owned */
    bool is_of_name;
};

struct glob {
    struct alternative alternatives[ALTERNATIVES_MAX];
    size_t count;
};

void glob_free(struct glob *glob)
{
    for (size_t i = 0; glob != NULL && i < glob->count; i++) {
        free(glob->alternatives[i].text);
    }
    free(glob);
}

static void glob_freep(struct glob **glob)
{
    glob_free(*glob);
}

/* ---- the text ---- */

/* Behind the class that begins at `at`, or NULL when it does not end. */
static const char *skip_class(const char *at)
{
    at++;
    at += *at == '!' || *at == '^';
    for (bool is_first = true; is_first || *at != ']'; is_first = false) {
        at += *at == '\\';
        if (*at == '\0') {
            return NULL;
        }
        at++;
    }
    return at + 1;
}

/* Behind the element that begins at `at`: a class, an escaped character, or one byte. NULL when it
 * does not end. */
static const char *skip_element(const char *at)
{
    if (*at == '[') {
        return skip_class(at);
    }
    at += *at == '\\';
    return *at == '\0' ? NULL : at + 1;
}

/* What is wrong with a glob, or NULL. */
static const char *find_glob_fault(const char *text)
{
    size_t depth = 0;
    if (strlen(text) > GLOB_MAX) {
        return "it is longer than 1024 bytes";
    }
    for (const char *at = text; *at != '\0';) {
        depth += *at == '{';
        depth -= *at == '}' && depth > 0;
        const char *next = skip_element(at);
        if (next == NULL) {
            return *at == '[' ? "a [ is not closed" : "a \\ is its last character";
        }
        at = next;
    }
    return depth > 0 ? "a { is not closed" : NULL;
}

/* ---- braces ---- */

/* The first brace of a glob without faults; its end if there is none. */
static const char *find_brace(const char *text)
{
    while (*text != '\0' && *text != '{') {
        text = skip_element(text);
    }
    return text;
}

/* The end of the part that begins at `at`, within braces: its comma or closing brace. */
static const char *find_part_end(const char *at)
{
    size_t depth = 0;
    while (depth > 0 || (*at != ',' && *at != '}')) {
        depth += *at == '{';
        depth -= *at == '}';
        at = skip_element(at);
    }
    return at;
}

/* Adds a text (taken over, in any case). 0, or -1: memory is out, or there are too many. */
static int add_alternative(struct glob *glob, char *text)
{
    if (text == NULL || glob->count == ALTERNATIVES_MAX) {
        free(text);
        return -1;
    }
    glob->alternatives[glob->count++].text = text;
    return 0;
}

/* Replaces an alternative by those of its first braces. 1, 0 when it has none, or -1. */
static int expand(struct glob *glob, size_t index)
{
    cleanup_free char *text = glob->alternatives[index].text;
    const char *brace = find_brace(text), *behind = brace;
    if (*brace == '\0') {
        text = NULL; /* it stays */
        return 0;
    }
    do {
        behind = find_part_end(behind + 1);
    } while (*behind == ',');
    glob->alternatives[index] = glob->alternatives[--glob->count];
    for (const char *part = brace, *end; *part != '}'; part = end) {
        char *whole;
        end = find_part_end(++part);
        if (asprintf(&whole, "%.*s%.*s%s", (int)(brace - text), text, (int)(end - part), part,
                     behind + 1) < 0 ||
            add_alternative(glob, whole) != 0) {
            return -1;
        }
    }
    return 1;
}

/* Without what says the same: ./ or / at the beginning (then it is of the path), / at the end. */
static void simplify(struct alternative *alternative)
{
    char *text = alternative->text;
    size_t skipped = strncmp(text, "./", 2) == 0 ? 2 : strspn(text, "/");
    size_t length = strlen(text + skipped);
    memmove(text, text + skipped, length + 1);
    if (length > 1 && text[length - 1] == '/') {
        text[length - 1] = '\0';
    }
    alternative->is_of_name = skipped == 0 && strchr(text, '/') == NULL;
}

struct glob *glob_new(const char *text, char *fault)
{
    const char *wrong = find_glob_fault(text);
    fault[0] = '\0';
    if (wrong != NULL) {
        (void)snprintf(fault, GLOB_FAULT_SIZE, "%s", wrong);
        return NULL;
    }
    cleanup_(glob_freep) struct glob *glob = calloc(1, sizeof(*glob));
    if (glob == NULL || add_alternative(glob, strdup(text)) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < glob->count;) {
        int expanded = expand(glob, i);
        if (expanded < 0 && glob->count == ALTERNATIVES_MAX) {
            (void)snprintf(fault, GLOB_FAULT_SIZE, "it has more than %d alternatives",
                           ALTERNATIVES_MAX);
        }
        if (expanded < 0) {
            return NULL;
        }
        i += expanded == 0;
    }
    for (size_t i = 0; i < glob->count; i++) {
        simplify(&glob->alternatives[i]);
    }
    return steal_pointer(glob);
}

/* ---- comparing ---- */

/* How many bytes the character at `text` has; one that is no UTF-8 has one. */
static size_t character_length(const char *text)
{
    int length = (unsigned char)*text < 0x80
                     ? 1
                     : utf8_sequence((const unsigned char *)text, strnlen(text, 4));
    return length > 0 ? (size_t)length : 1;
}

/* The character at *text as a number, by which ranges are compared; moves *text behind it. */
static unsigned next_character(const char **text)
{
    size_t length = character_length(*text);
    unsigned character = 0;
    for (size_t i = 0; i < length; i++) { /* the order of UTF-8 is that of the characters */
        character = character << 8 | (unsigned char)(*text)[i];
    }
    *text += length;
    return character;
}

/* One side of a range in a class. */
static unsigned class_character(const char **class)
{
    *class += **class == '\\';
    return next_character(class);
}

/* Whether the class that begins at `at` has the character. */
static bool class_has(const char *at, unsigned character)
{
    bool found = false, is_negated = at[1] == '!' || at[1] == '^';
    at += is_negated ? 2 : 1;
    for (bool is_first = true; is_first || *at != ']'; is_first = false) {
        unsigned low = class_character(&at), high = low;
        if (at[0] == '-' && at[1] != ']') {
            at++;
            high = class_character(&at);
        }
        found = found || (low <= character && character <= high);
    }
    return found != is_negated;
}

/* Whether one element of the glob, which is no star, takes the character at *text. Moves both. */
static bool take_one(const char **glob, const char **text)
{
    const char *element = *glob;
    if (*element == '?' || *element == '[') {
        if (**text == '/' || **text == '\0') {
            return false;
        }
        unsigned character = next_character(text);
        *glob = skip_element(element);
        return *element == '?' || class_has(element, character);
    }
    element += *element == '\\';
    if (*element == '\0' || *element != **text) {
        return false;
    }
    *glob = element + 1;
    (*text)++;
    return true;
}

struct star {
    const char *glob; /* what follows it; NULL: there is none */
    const char *text; /* where that is compared from */
};

/* Lets the star of a name take one character more. */
static bool extend_star(struct star *star)
{
    if (star->glob == NULL || *star->text == '\0' || *star->text == '/') {
        star->glob = NULL;
        return false;
    }
    star->text += character_length(star->text);
    return true;
}

/* Lets the star of directories take one more. */
static bool extend_directories(struct star *star)
{
    const char *slash = star->glob == NULL ? NULL : strchr(star->text, '/');
    star->text = slash == NULL ? NULL : slash + 1;
    return slash != NULL;
}

/* Whether the stars at `at` are two that stand for directories. */
static bool is_of_directories(const char *begin, const char *at)
{
    return at[0] == '*' && at[1] == '*' && (at == begin || at[-1] == '/') &&
           (at[2] == '/' || at[2] == '\0');
}

static size_t alternative_depth(const struct alternative *alternative)
{
    size_t depth = 1;
    const char *text = alternative->text;
    if (alternative->is_of_name) {
        return SIZE_MAX;
    }
    for (const char *at = text; *at != '\0'; at = skip_element(at)) {
        if (is_of_directories(text, at)) {
            return SIZE_MAX;
        }
        depth += *at == '/' || (at[0] == '\\' && at[1] == '/');
    }
    return depth;
}

size_t glob_depth(const struct glob *glob)
{
    size_t deepest = glob == NULL ? SIZE_MAX : 0;
    for (size_t i = 0; glob != NULL && i < glob->count; i++) {
        size_t depth = alternative_depth(&glob->alternatives[i]);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest;
}

static bool alternative_matches(const char *glob, const char *text)
{
    const char *begin = glob;
    struct star name = {.glob = NULL}, directories = {.glob = NULL};
    for (;;) {
        if (is_of_directories(begin, glob)) {
            if (glob[2] == '\0') {
                return *text != '\0';
            }
            glob += 3;
            directories = (struct star){glob, text};
            name.glob = NULL;
            continue;
        }
        if (*glob == '*') {
            glob += strspn(glob, "*");
            name = (struct star){glob, text};
            continue;
        }
        if (*glob == '\0' && *text == '\0') {
            return true;
        }
        if (*glob != '\0' && take_one(&glob, &text)) {
            continue;
        }
        const struct star *star = extend_star(&name) ? &name : &directories;
        if (star == &directories && !extend_directories(&directories)) {
            return false;
        }
        glob = star->glob;
        text = star->text;
    }
}

bool glob_chooses(const struct glob *glob, const char *path, const char *name)
{
    for (size_t i = 0; glob != NULL && i < glob->count; i++) {
        const struct alternative *alternative = &glob->alternatives[i];
        if (alternative_matches(alternative->text, alternative->is_of_name ? name : path)) {
            return true;
        }
    }
    return glob == NULL;
}
