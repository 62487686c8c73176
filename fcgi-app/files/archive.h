/*
 * A tree as an archive: the output or the input of tar(1), which is run like any command. What both
 * ways share: the kinds of archives, the command, and what it says when it fails.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "api/errors.h"
#include "common/name_list.h"
#include "fcgi-app/commands/pump.h"

struct command;
struct json_body;
struct request;

struct archive_kind {
    const char *name; /* in the query, and the extension of a file */
    const char *content_type;
    const char *options;   /* for tar that packs; "": without compression */
    const char *unpacking; /* for tar that extracts */
    const char *programs;  /* what the command needs beside a shell */
};

/* The kind that the query asks for. NULL when the request has been answered: there is no such kind.
 * Thread-safe, as all here. */
const struct archive_kind *archive_kind_of(struct request *request, const struct json_body *query);

/* Reads the globs of a query, at most ARCHIVE_GLOBS of them, into *environment, as variables from
 * "<parameter>_0" on: no byte of a request comes into the text of a command. Their number, or -1:
 * the request has been answered. */
#define ARCHIVE_GLOBS 64
int archive_read_globs(struct request *request, const char *parameter,
                       struct name_list *environment);

/* ---- the command ---- */

/* The beginning of each script (a format for the programs): ends with ARCHIVE_NO_PROGRAM if one is
 * missing, and takes from tar what the environment would tell it. */
#define ARCHIVE_NO_PROGRAM 127
#define ARCHIVE_SCRIPT                                                                             \
    "for program in %s; do path=$(command -v $program) || "                                        \
    "{ echo \"$program is not installed\" >&2; exit 127; }; done\n"                                \
    "unset TAR_OPTIONS POSIXLY_CORRECT GZIP ZSTD_CLEVEL ZSTD_NBTHREADS\n"                          \
    "export LC_ALL=C.UTF-8\n"

/* Appends to a script, which stays within its size. */
#define ARCHIVE_SCRIPT_SIZE ((size_t)16384)
__attribute__((format(printf, 2, 3))) void archive_append(char script[ARCHIVE_SCRIPT_SIZE],
                                                          const char *format, ...);

/* Starts a script in the directory `path`, with these variables. False when it cannot be started,
 * which has been answered, unless the request was before. `input`: its standard input, or -1. */
bool archive_start(struct request *request, const char *script, const char *path,
                   const struct name_list *environment, int input, struct foreground *foreground);

/* ---- what tar says ---- */

/* The first bytes of standard error. */
struct archive_complaint {
    char text[8192];
    size_t length;
    bool is_cut; /* there was more */
};

/* Takes the next bytes of standard error; what does not fit is dropped. */
void archive_hear(struct archive_complaint *complaint, const char *data, size_t length);

/* What tar said, without the line feed at its end. Not empty. */
const char *archive_complaint_text(struct archive_complaint *complaint);

/* The error code for it: by the system's reasons in the text, otherwise `fallback`. */
enum api_error archive_error_of(const struct archive_complaint *complaint, enum api_error fallback);
