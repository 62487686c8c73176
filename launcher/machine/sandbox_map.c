#include "launcher/machine/sandbox_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "launcher/base/file.h"
#include "launcher/base/subcommand.h"
#include "launcher/base/trim.h"
#include "launcher/render/rendering.h"

#define FILE_MOST (1 << 20) /* bytes */

/* Whether nginx reads it as one word: in double quotes without one inside, or without characters
 * that mean something to nginx. */
static bool is_one_word(const char *key)
{
    size_t length = strlen(key);
    if (*key == '"') {
        return length > 2 && strcspn(key + 1, "\"\\") == length - 2 && key[length - 1] == '"';
    }
    return length > 0 && key[strcspn(key, SPACES "\"'\\;{}#$")] == '\0';
}

/* Cuts an entry into its key, where it begins, and its name; false if it is no entry. */
static bool map_split_line(char *line, char **name)
{
    size_t length = strlen(line);
    if (length == 0 || line[length - 1] != ';') {
        return false;
    }
    line[length - 1] = '\0';
    (void)trim(line);
    char *space = strrchr(line, ' ');
    char *tab = strrchr(line, '\t');
    char *before = tab > space ? tab : space;
    if (before == NULL) {
        return false;
    }
    *name = before + 1;
    *before = '\0';
    (void)trim(line);
    return true;
}

bool site_has(const struct site *site, const char *name)
{
    for (size_t i = 0; i < site->count; i++) {
        if (strcmp(site->sandboxes[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Appends the entry. 1, 0 if the line has none, or -1 after one line of error. */
static int map_read_line(FILE *out, const char *path, char *line, const struct site *site)
{
    char *name = NULL;
    line = trim(line);
    if (*line == '\0' || *line == '#') {
        return 0;
    }
    if (strcmp(line, "hostnames;") == 0) {
        (void)fprintf(out, "%s\n", line);
        return 0;
    }
    if (!map_split_line(line, &name) || !is_one_word(line)) {
        log_line("%s: lines must be such as `host.example.org NAME;`", path);
        return -1;
    }
    if (!site_has(site, name)) {
        return log_failure("%s: there is no sandbox named %s", path, name);
    }
    (void)fprintf(out, "%s %s;\n", line, name);
    return 1;
}

char *sandbox_map_read(const char *path, const struct site *site)
{
    cleanup_free char *text = file_read(AT_FDCWD, path, FILE_MOST);
    if (text == NULL && errno != ENOENT) {
        log_line("%s: %s", path, file_reason(errno));
        return NULL;
    }
    char *entries = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&entries, &length);
    if (out == NULL) {
        log_line("%s: %m", path);
        return NULL;
    }
    int found = 0;
    int result = 0;
    char *rest = text == NULL ? NULL : text + (file_skip_mark(text) - text);
    for (char *line; result >= 0 && (line = strsep(&rest, "\n")) != NULL; found |= result) {
        result = map_read_line(out, path, line, site);
    }
    if (result >= 0 && found == 0) {
        (void)fputs("default " DEFAULT_SANDBOX ";\n", out);
        if (!site_has(site, DEFAULT_SANDBOX)) {
            log_line("%s has no entry, so that all requests are for %s, which is not there", path,
                     DEFAULT_SANDBOX);
            result = -1;
        }
    }
    if (fclose(out) != 0 && result >= 0) {
        log_line("%s: %m", path);
        result = -1;
    }
    if (result < 0) {
        free(entries);
        return NULL;
    }
    return entries;
}
