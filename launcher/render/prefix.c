#include "launcher/render/prefix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/variables.h"
#include "launcher/base/trim.h"

/* Characters that mean the same to nginx in a path, in a regular expression and without quotes. */
#define PLAIN "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

/* "" or "/a/b": as nginx has a path once it has merged slashes. */
static bool prefix_is_good(const char *path)
{
    while (*path == '/') {
        size_t length = strspn(path + 1, PLAIN);
        if (length == 0) {
            return false;
        }
        path += 1 + length;
    }
    return *path == '\0';
}

static int prefix_add(struct prefixes *prefixes, const struct variables *from, char *path)
{
    size_t at = prefixes->count;
    for (size_t i = 0; i < prefixes->count; i++) {
        if (strcmp(prefixes->path[i], path) == 0) {
            return 0;
        }
    }
    if (prefixes->count == PREFIXES_MOST) {
        return variables_fail(from, PREFIX_VARIABLE " may name %d paths", PREFIXES_MOST);
    }
    for (; at > 0 && strlen(prefixes->path[at - 1]) < strlen(path); at--) {
        prefixes->path[at] = prefixes->path[at - 1];
    }
    prefixes->path[at] = path;
    prefixes->count++;
    return 0;
}

/* Reads one of the list, with the spaces around it and a slash at its end. */
static int prefix_read_one(struct prefixes *prefixes, const struct variables *from, char *path)
{
    path = trim(path);
    size_t length = strlen(path);
    if (length > 0 && path[length - 1] == '/') {
        path[--length] = '\0';
    } else if (length == 0) {
        return 0;
    }
    if (!prefix_is_good(path)) {
        return variables_fail(from, PREFIX_VARIABLE
                              " must be paths such as /sandbox, of letters, digits, - and _, with "
                              "commas between them");
    }
    return prefix_add(prefixes, from, path);
}

int prefixes_read(struct prefixes *prefixes, const struct variables *from, bool with_root)
{
    const char *setting = variables_get(from, PREFIX_VARIABLE);
    *prefixes = (struct prefixes){.text = strdup(setting == NULL ? "" : setting)};
    if (prefixes->text == NULL) {
        return variables_fail(from, PREFIX_VARIABLE ": %s", strerror(errno));
    }
    char *end = prefixes->text + strlen(prefixes->text);
    int result = 0;
    char *rest = prefixes->text;
    for (char *path; result == 0 && (path = strsep(&rest, ",")) != NULL;) {
        result = prefix_read_one(prefixes, from, path);
    }
    if (result == 0 && (with_root || prefixes->count == 0)) {
        result = prefix_add(prefixes, from, end);
    }
    if (result < 0) {
        prefixes_free(prefixes);
    }
    return result;
}

void prefixes_free(struct prefixes *prefixes)
{
    free(prefixes->text);
    *prefixes = (struct prefixes){0};
}
