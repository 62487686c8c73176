#include "procd/runner/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/in_child.h"
#include "common/io.h"
#include "common/memory_file.h"
#include "common/shell_quote.h"
#include "procd/jobs/job_record.h"

/*
 * The kernel takes no argument longer than 32 pages with its NUL (MAX_ARG_STRLEN, execve(2)). A
 * longer command goes into a memory file, from which the shell reads it; its descriptor is closed
 * before any part of the command runs, and $0 stays the same.
 */
#define ARGUMENT_MAX ((size_t)131072 - 1)
/* The space in front, because eval may have options. */
#define SCRIPT_COMMAND "eval \" $(/bin/cat <&3)\" 3<&-"

/* Where a program is looked for without PATH, as execvp(3) does. */
#define DEFAULT_PATH "/bin:/usr/bin"

bool program_is_given(const struct incoming *command)
{
    return message_text(command, FIELD_CMD) != NULL ||
           message_text(command, FIELD_ARGUMENT) != NULL;
}

/* Returns the memory file with the command, above the descriptor that it will have in the shell. */
static int make_script(const char *cmd, size_t length)
{
    cleanup_fd int fd = memory_file_create("command");
    if (fd < 0 || io_write_all(fd, cmd, length) < 0 || lseek(fd, 0, SEEK_SET) < 0) {
        return -1;
    }
    return fcntl(fd, F_DUPFD_CLOEXEC, PROGRAM_SCRIPT_DESCRIPTOR + 1);
}

static int prepare_shell(const char *cmd, struct program *program)
{
    const char *const words[] = {"sh", "-c", "--", cmd, NULL};
    size_t length = strlen(cmd);
    program->path = "/bin/sh";
    program->arguments = calloc(sizeof(words) / sizeof(words[0]), sizeof(words[0]));
    if (program->arguments == NULL) {
        return -1;
    }
    memcpy(program->arguments, words, sizeof(words));
    if (length > ARGUMENT_MAX) {
        program->script = make_script(cmd, length);
        program->arguments[3] = SCRIPT_COMMAND;
        return program->script < 0 ? -1 : 0;
    }
    return 0;
}

/* The value of PATH in an environment. */
static const char *search_path(char *const *environment)
{
    static const char name[] = "PATH=";
    for (; *environment != NULL; environment++) {
        if (strncmp(*environment, name, sizeof(name) - 1) == 0) {
            return *environment + sizeof(name) - 1;
        }
    }
    return DEFAULT_PATH;
}

/* `name` is the first of them. */
static int prepare_arguments(const struct incoming *command, const char *name,
                             char *const *environment, struct program *program)
{
    size_t count = 0;
    struct field field = {0};
    while (message_next(command, &field)) {
        count += field.tag == FIELD_ARGUMENT;
    }
    program->arguments = calloc(count + 1, sizeof(*program->arguments));
    if (program->arguments == NULL) {
        return -1;
    }
    count = 0;
    field = (struct field){0};
    while (message_next(command, &field)) {
        if (field.tag == FIELD_ARGUMENT) {
            program->arguments[count++] = field.text;
        }
    }
    program->path = name;
    program->directories = strchr(name, '/') == NULL ? search_path(environment) : NULL;
    return 0;
}

int program_prepare(const struct incoming *command, char *const *environment,
                    struct program *program)
{
    const char *cmd = message_text(command, FIELD_CMD);
    const char *name = message_text(command, FIELD_ARGUMENT);
    if (cmd != NULL) {
        return prepare_shell(cmd, program);
    }
    if (name == NULL) {
        errno = EINVAL;
        return -1;
    }
    return prepare_arguments(command, name, environment, program);
}

void program_clear(struct program *program)
{
    free(program->arguments);
    program->arguments = NULL;
    close_fd(&program->script);
}

/* ---- in the child ---- */

/* Whether the next directory is looked into after execve(2) has failed with this error. */
IN_CHILD static bool is_elsewhere(int error)
{
    return error == ENOENT || error == ENOTDIR || error == EACCES || error == ESTALE ||
           error == ENODEV || error == ETIMEDOUT;
}

/* The length of a text up to `end` or its own end. */
IN_CHILD static size_t length_before(const char *text, char end)
{
    size_t length = 0;
    while (text[length] != end && text[length] != '\0') {
        length++;
    }
    return length;
}

IN_CHILD static char *append(char *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        *out++ = text[i];
    }
    return out;
}

/* Executes the program of that name in the first directory in which it can be. */
IN_CHILD static int search(const struct program *program, char *const *environment)
{
    static char candidate[PATH_MAX + NAME_MAX + 2];
    size_t name_length = length_before(program->path, '\0');
    bool is_denied = false;
    if (name_length == 0 || name_length > NAME_MAX) {
        errno = name_length == 0 ? ENOENT : ENAMETOOLONG;
        return -1;
    }
    for (const char *at = program->directories;; at++) {
        size_t length = length_before(at, ':');
        if (length < PATH_MAX) { /* an empty one is the working directory */
            char *end = append(candidate, at, length);
            end = append(end, "/", length == 0 ? 0 : 1);
            *append(end, program->path, name_length) = '\0';
            (void)execve(candidate, (char *const *)program->arguments, environment);
            if (!is_elsewhere(errno)) {
                return -1;
            }
            is_denied = is_denied || errno == EACCES;
        }
        at += length;
        if (*at == '\0') {
            errno = is_denied ? EACCES : ENOENT;
            return -1;
        }
    }
}

IN_CHILD int program_execute(const struct program *program, char *const *environment)
{
    if (program->directories != NULL) {
        return search(program, environment);
    }
    /* It writes to none of them. */
    return execve(program->path, (char *const *)program->arguments, environment);
}

/* ---- in lists ---- */

char *program_shown(const struct incoming *command)
{
    const char *cmd = message_text(command, FIELD_CMD);
    if (cmd != NULL) {
        return command_shown(cmd);
    }
    /* One byte more than is shown says that it is cut. */
    cleanup_free char *text = malloc(COMMAND_SHOWN_MAX + 2);
    if (text == NULL) {
        return NULL;
    }
    size_t used = 0;
    struct field field = {0};
    while (message_next(command, &field)) {
        if (field.tag == FIELD_ARGUMENT) {
            used = shell_quote_append(text, used, COMMAND_SHOWN_MAX + 1, field.text);
        }
    }
    text[used] = '\0';
    return command_shown(text);
}
