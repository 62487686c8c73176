#include "launcher/machine/environment_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "common/variables.h"
#include "launcher/base/file.h"
#include "launcher/base/trim.h"

#define FILE_MOST (1 << 16) /* bytes */

#define NAME "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

/* The value without the quotes around it; NULL if it is not understood. */
static char *unquote(char *value)
{
    char quote = *value;
    if (quote == '"' || quote == '\'') {
        size_t length = strlen(++value);
        if (length == 0 || value[length - 1] != quote) {
            return NULL;
        }
        value[length - 1] = '\0';
    }
    return strpbrk(value, "\\\"'") == NULL ? value : NULL;
}

/* Reads one line. Returns what is wrong with it, or NULL. */
static const char *environment_read_line(struct variables *variables, char *line)
{
    line = trim(line);
    if (*line == '\0' || *line == '#' || *line == ';') {
        return NULL;
    }
    size_t length = strspn(line, NAME);
    if (length == 0 || line[length] != '=') {
        return "is not KEY=value";
    }
    line[length] = '\0';
    char *value = unquote(trim(line + length + 1));
    if (value == NULL) {
        return "has a quote or a backslash where none is allowed";
    }
    return variables_add(variables, line, value) == 0 ? NULL : strerror(errno);
}

int environment_file_read(struct variables *variables, const char *path)
{
    variables->where = strdup(path);
    if (variables->where == NULL) {
        return log_failure("%s: %m", path);
    }
    cleanup_free char *text = file_read(AT_FDCWD, path, FILE_MOST);
    if (text == NULL && errno == ENOENT) {
        return 0;
    }
    if (text == NULL) {
        return log_failure("%s: %s", path, file_reason(errno));
    }
    if (file_skip_mark(text) != text) {
        return log_failure(
            "%s: begins with a byte order mark, which systemd does not read: save it without",
            path);
    }
    char *rest = text;
    int number = 1;
    for (char *line; (line = strsep(&rest, "\n")) != NULL; number++) {
        const char *wrong = environment_read_line(variables, line);
        if (wrong != NULL) {
            return log_failure("%s: line %d %s", path, number, wrong);
        }
    }
    return 0;
}
