#include "fcgi-app/processes/start_terminal.h"

#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/settings.h"
#include "common/user.h"
#include "fcgi-app/http/answer.h"
#include "procd/log/terminal_size.h"

#define COLS_DEFAULT 80
#define ROWS_DEFAULT 24
#define TERM_DEFAULT "xterm-256color"
#define TERM_PREFIX  "TERM="
#define TERM_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.+-_"

static char shell[256] = "/bin/sh";
static const char *const shell_argv[] = {shell};

/* Accounts of services have a shell that says no. */
static bool is_shell(const char *path)
{
    const char *name = strrchr(path, '/');
    return path[0] == '/' && strcmp(name, "/nologin") != 0 && strcmp(name, "/false") != 0 &&
           strlen(path) < sizeof(shell) && access(path, X_OK) == 0;
}

void start_terminal_init(const struct settings *settings)
{
    char error[256];
    cleanup_user struct user user;
    int found = user_find(settings->user, &user, error, sizeof(error));
    const struct passwd *account =
        found == 0 ? getpwuid(geteuid()) : NULL; /* NOLINT(concurrency-mt-unsafe): no threads yet */
    const char *path = found > 0 ? user.shell : account != NULL ? account->pw_shell : NULL;
    if (path != NULL && is_shell(path)) {
        (void)snprintf(shell, sizeof(shell), "%s", path);
    }
}

static bool is_length(uint64_t number)
{
    return number >= 1 && number <= TERMINAL_SIZE_MAX;
}

bool terminal_size_wanted(const struct json_body *body, int *cols, int *rows, const char **problem)
{
    uint64_t wanted_cols = json_count(body, "cols", COLS_DEFAULT);
    uint64_t wanted_rows = json_count(body, "rows", ROWS_DEFAULT);
    *problem = NULL;
    if (!is_length(wanted_cols) || !is_length(wanted_rows)) {
        *problem = "cols and rows must be from 1 to 65535";
        return false;
    }
    *cols = (int)wanted_cols;
    *rows = (int)wanted_rows;
    return true;
}

/* What is wrong with the type of a terminal, or NULL. */
static const char *problem_of_term(const char *term)
{
    bool is_good = term[strspn(term, TERM_LETTERS)] == '\0' &&
                   strlen(term) <= TERM_VARIABLE_SIZE - sizeof(TERM_PREFIX);
    return is_good ? NULL : "term must be the name of a terminal, such as xterm-256color";
}

static bool read_terminal(struct request *request, const struct json_body *terminal,
                          struct command *command, char variable[TERM_VARIABLE_SIZE])
{
    const char *term = json_text(terminal, "term");
    const char *problem = terminal == NULL ? "memory is out" : terminal->refusal.message;
    term = term == NULL ? TERM_DEFAULT : term;
    if (terminal == NULL || terminal->refusal.status >= 500) {
        answer_error(request, 500, ERROR_internal, "Out of memory");
        return false;
    }
    if (terminal->refusal.status == 0 &&
        terminal_size_wanted(terminal, &command->cols, &command->rows, &problem)) {
        problem = problem_of_term(term);
    }
    if (problem != NULL) {
        answer_error(request, 400, ERROR_invalid_request, "pty: %s", problem);
        return false;
    }
    (void)snprintf(variable, TERM_VARIABLE_SIZE, TERM_PREFIX "%s", term);
    command->term = variable;
    return true;
}

bool start_terminal_read(struct request *request, const struct json_body *body,
                         struct command *command, char term[TERM_VARIABLE_SIZE])
{
    static const struct json_member members[] = {
        {JSON_MEMBER("cols", COUNT, "Its width.")},
        {JSON_MEMBER("rows", COUNT, "Its height.")},
        {JSON_MEMBER("term", TEXT, "Its type, for the variable TERM.")},
    };
    if (!json_is_given(body, "pty")) {
        return true;
    }
    cleanup_(json_freep) struct json_body *terminal =
        json_item(body, json_nested(body, "pty"), members, sizeof(members) / sizeof(members[0]));
    if (command->cmd == NULL && command->argc == 0) {
        command->argv = shell_argv;
        command->argc = 1;
    }
    return read_terminal(request, terminal, command, term);
}
