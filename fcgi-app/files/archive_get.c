/*
 * GET of a tree. What tar writes goes to the client as it comes, less its end: the bytes that make
 * the archive whole leave only when tar has ended well. So neither a client nor a tar behind it
 * takes an archive for whole that is not.
 */
#include "fcgi-app/files/archive_get.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/files/archive.h"
#include "fcgi-app/files/disposition.h"
#include "fcgi-app/files/fs_path.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/served_file.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/request.h"

#define BLOCK  512 /* bytes of tar */
#define RECORD 128 /* blocks that tar writes at once */

#define EARLY_SIZE ((size_t)RECORD * BLOCK) /* an archive that small leaves when tar has ended */
#define END_MOST   (2 * EARLY_SIZE)         /* of an archive's end */

/* Room for the headers beside the disposition. */
#define HEADERS_SIZE (DISPOSITION_SIZE + 256)

/* An archive on its way into an answer. */
struct archive_download {
    struct request *request; /* borrowed, as the next two */
    const char *path;
    const struct archive_kind *kind;
    struct name_list environment;
    int excludes, includes;
    /* EARLY_SIZE bytes: the beginning, until the answer is begun; then the end of a compressed one
     */
    char *early;
    size_t early_length;
    bool begun;
    uint64_t sent;
    /* The bytes at the end, all of one value: of a plain archive the zeros that end it. */
    char held_byte;
    size_t held;
    struct archive_complaint complaint;
};

static void archive_download_clear(struct archive_download *download)
{
    name_list_clear(&download->environment);
    free(download->early);
}

/* ---- the script ---- */

/* Names and what is beneath them, by the rules that tar has for --exclude. */
static void append_includes(char *script, int count)
{
    for (int i = 0; i < count; i++) {
        archive_append(script,
                       "%s-path \"$include_%d\" -o -path \"*/$include_%d\" -o "
                       "-path \"$include_%d/*\" -o -path \"*/$include_%d/*\"",
                       i == 0 ? "" : " -o ", i, i, i, i);
    }
}

static void append_tar(char *script, const struct archive_download *download)
{
    archive_append(script,
                   "tar --create --file=- --format=gnu --sparse --quoting-style=escape "
                   "--blocking-factor=%d %s --no-anchored --wildcards --wildcards-match-slash",
                   RECORD, download->kind->options);
    for (int i = 0; i < download->excludes; i++) {
        archive_append(script, " --exclude=\"$exclude_%d\"", i);
    }
}

/*
 * With globs to include, find lists the names. Its failure must not be lost: it is reported over
 * descriptor 3, as the status of tar is; descriptor 4 is standard output.
 */
static void script_to_create(const struct archive_download *download,
                             char script[ARCHIVE_SCRIPT_SIZE])
{
    script[0] = '\0';
    archive_append(script, ARCHIVE_SCRIPT, download->kind->programs);
    if (download->includes == 0) {
        archive_append(script, "exec ");
        append_tar(script, download);
        archive_append(script, " .");
        return;
    }
    archive_append(script, "{ ends=$({ { find . -ignore_readdir_race \\( ");
    append_includes(script, download->includes);
    archive_append(script, " \\) -print0 || echo find >&3; } | ");
    append_tar(script, download);
    archive_append(script, " --null --verbatim-files-from --no-recursion --files-from=- >&4 3>&-; "
                           "echo $? >&3; } 3>&1); } 4>&1\n"
                           "case $ends in *find*) exit 2;; esac\n"
                           "exit $ends");
}

/* ---- the answer ---- */

static const char *describe_archive(const struct archive_download *download,
                                    char headers[HEADERS_SIZE])
{
    size_t length;
    char disposition[DISPOSITION_SIZE], extension[16];
    const char *name = fs_name(download->path, &length);
    if (*name == '/') {
        name = "root";
        length = strlen(name);
    }
    (void)snprintf(extension, sizeof(extension), ".%s", download->kind->name);
    (void)snprintf(headers, HEADERS_SIZE,
                   "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"
                   "Content-Security-Policy: sandbox; default-src 'none'\r\n%s",
                   disposition_header(disposition, name, length, extension));
    return headers;
}

static int begin(struct archive_download *download)
{
    char headers[HEADERS_SIZE];
    download->begun = true;
    return request_begin(download->request, 200, download->kind->content_type,
                         describe_archive(download, headers));
}

static int send_archive(struct archive_download *download, const char *data, size_t length)
{
    if (length > 0 && request_write(download->request, data, length) < 0) {
        return -1;
    }
    download->sent += length;
    metrics_transferred(TRANSFER_OUT, length);
    return 0;
}

/* Sends so many of the bytes that are held. */
static int release(struct archive_download *download, size_t length)
{
    char block[4096];
    memset(block, download->held_byte, sizeof(block));
    download->held -= length;
    while (length > 0) {
        size_t size = length < sizeof(block) ? length : sizeof(block);
        if (send_archive(download, block, size) < 0) {
            return -1;
        }
        length -= size;
    }
    return 0;
}

/* Sends all but the equal bytes at the end. */
static int send_beginning(struct archive_download *download, const char *data, size_t length)
{
    char last = data[length - 1];
    size_t first = length - 1;
    while (first > 0 && data[first - 1] == last) {
        first--;
    }
    bool continues = first == 0 && (download->held == 0 || download->held_byte == last);
    if (!continues &&
        (release(download, download->held) < 0 || send_archive(download, data, first) < 0)) {
        return -1;
    }
    download->held_byte = last;
    download->held += length - first;
    return download->held <= END_MOST ? 0 : release(download, download->held - END_MOST);
}

static int send_early(struct archive_download *download)
{
    size_t length = download->early_length;
    download->early_length = 0;
    if (!download->begun && begin(download) < 0) {
        return -1;
    }
    return length == 0 ? 0 : send_beginning(download, download->early, length);
}

static bool is_compressed(const struct archive_download *download)
{
    return *download->kind->options != '\0';
}

/* Sends all but the last EARLY_SIZE bytes, without which nothing can be unpacked to its end: a
 * checksum alone is missed by a tar that has seen its end before. */
static int take_compressed(struct archive_download *download, const char *data, size_t length)
{
    size_t held = download->early_length, total = held + length;
    size_t due = total > EARLY_SIZE ? total - EARLY_SIZE : 0;
    size_t of_held = due < held ? due : held;
    if (due > 0 && ((!download->begun && begin(download) < 0) ||
                    send_archive(download, download->early, of_held) < 0 ||
                    send_archive(download, data, due - of_held) < 0)) {
        return -1;
    }
    memmove(download->early, download->early + of_held, held - of_held);
    memcpy(download->early + held - of_held, data + due - of_held, length - (due - of_held));
    download->early_length = total - due;
    return 0;
}

static int take_archive(struct archive_download *download, const char *data, size_t length)
{
    if (is_compressed(download)) {
        return take_compressed(download, data, length);
    }
    if (!download->begun && length <= EARLY_SIZE - download->early_length) {
        memcpy(download->early + download->early_length, data, length);
        download->early_length += length;
        return 0;
    }
    if (!download->begun && send_early(download) < 0) {
        return -1;
    }
    return send_beginning(download, data, length);
}

static int take_output(void *context, enum pump_stream stream, const char *data, size_t length)
{
    struct archive_download *download = context;
    if (stream == PUMP_STDOUT) {
        return take_archive(download, data, length);
    }
    archive_hear(&download->complaint, data, length);
    return 0;
}

static int flush_archive(void *context)
{
    const struct archive_download *download = context;
    return download->begun ? request_flush(download->request) : 0;
}

/* ---- the end ---- */

/* Whether a line of tar's ends so. */
static bool line_ends(const char *line, size_t length, const char *end)
{
    size_t size = strlen(end);
    return length >= size && strncmp(line + length - size, end, size) == 0;
}

/*
 * Whether all that tar complains about are names that find had seen before they went, and what is
 * no failure: where tar finds the names itself, one that goes is no failure, either. A line of tar
 * ends with a text of tar's, whatever names of files are in it.
 */
static bool only_misses_what_went(const struct archive_complaint *complaint)
{
    static const char *const ends[] = {": No such file or directory",
                                       ": file changed as we read it",
                                       ": File removed before we read it",
                                       " bytes; padding with zeros",
                                       ": socket ignored",
                                       ": Exiting with failure status due to previous errors"};
    const char *line = complaint->text;
    for (size_t length; *line != '\0'; line += length + (line[length] == '\n')) {
        size_t i = 0;
        length = strcspn(line, "\n");
        while (i < sizeof(ends) / sizeof(ends[0]) && !line_ends(line, length, ends[i])) {
            i++;
        }
        if (i == sizeof(ends) / sizeof(ends[0])) {
            return false;
        }
    }
    return !complaint->is_cut && line != complaint->text;
}

/* A file that changed while it was read is no failure (1): trees of running programs change. */
static bool is_whole(const struct archive_download *download, const struct ending *ending)
{
    if (ending->lost || ending->reason != END_EXIT) {
        return false;
    }
    return ending->code == 0 || ending->code == 1 ||
           (ending->code == 2 && download->includes > 0 &&
            only_misses_what_went(&download->complaint));
}

static void finish(struct archive_download *download)
{
    if ((!download->begun || is_compressed(download)) && send_early(download) < 0) {
        return;
    }
    if (release(download, download->held) == 0) {
        (void)request_flush(download->request);
    }
}

/*
 * Ends what has been sent so that tar(1) sees that it is not whole. An archive that only stops
 * between two files is whole to any tar. A block that is no header is an error to GNU tar, and half
 * a block to bsdtar.
 */
static void spoil(struct archive_download *download)
{
    static const char blocks[BLOCK + BLOCK / 2] = "This archive is not whole: it was cut here.";
    size_t padding = (BLOCK - download->sent % BLOCK) % BLOCK;
    if (!is_compressed(download)) {
        if (download->held_byte != '\0' || padding > download->held) {
            padding = download->held;
        }
        if (release(download, padding) == 0 &&
            send_archive(download, blocks, sizeof(blocks)) == 0) {
            (void)request_flush(download->request);
        }
    }
    request_abort(download->request);
}

static void refuse(struct archive_download *download, const struct ending *ending,
                   const char *reason)
{
    enum api_error error = archive_error_of(&download->complaint, ERROR_io_error);
    int status = raw_status(error);
    if (!ending->lost && ending->code == ARCHIVE_NO_PROGRAM) {
        error = ERROR_unsupported;
        status = 501;
    }
    answer_error(download->request, status, error, "archive %s: %s", download->path, reason);
}

/* Why there is no whole archive. */
static const char *reason_of(struct archive_download *download, enum pump_result result,
                             const struct ending *ending)
{
    return result != PUMP_ENDED            ? pump_failure(result, 0)
           : ending->lost                  ? COMMAND_LOST
           : ending->reason == END_TIMEOUT ? "tar took longer than SANDBOX_MAX_TIMEOUT"
           : ending->reason == END_OOM     ? "tar was out of memory"
                                           : archive_complaint_text(&download->complaint);
}

static void stream(struct archive_download *download, struct foreground *foreground)
{
    static const struct pump_sink sink = {.data = take_output, .rest = flush_archive};
    struct ending ending = {.lost = true};
    enum pump_result result = pump_run(foreground, download->request, &sink, download, &ending);
    if (result == PUMP_ENDED && is_whole(download, &ending)) {
        finish(download);
        return;
    }
    const char *reason = reason_of(download, result, &ending);
    if (reason == NULL) {
        return; /* the client has left */
    }
    log_request(LOG_WARNING, request_id(download->request), "archive: %s", reason);
    if (download->begun) {
        spoil(download);
    } else if (result == PUMP_STOPPING) {
        answer_stopping(download->request);
    } else {
        refuse(download, &ending, reason);
    }
}

/* ---- the request ---- */

/* False when it has been answered that it is no directory that can be served. */
static bool check_directory(struct request *request, const char *path)
{
    struct fs_error error;
    struct served_file file;
    if (served_file_open(&file, path, &error) != 0) {
        raw_refuse(request, &error);
        return false;
    }
    if (file.fd >= 0) {
        close_fd(&file.fd);
        answer_error(request, 400, ERROR_not_a_directory,
                     "archive %s: Not a directory: an archive is of a tree", path);
        return false;
    }
    return true;
}

void archive_get(struct request *request, const struct json_body *query, const char *path)
{
    char script[ARCHIVE_SCRIPT_SIZE];
    cleanup_(archive_download_clear) struct archive_download download = {
        .request = request, .path = path, .kind = archive_kind_of(request, query)};
    if (download.kind == NULL ||
        (download.excludes = archive_read_globs(request, "exclude", &download.environment)) < 0 ||
        (download.includes = archive_read_globs(request, "include", &download.environment)) < 0 ||
        !check_directory(request, path)) {
        return;
    }
    if (strcmp(request_method(request), "HEAD") == 0) {
        (void)begin(&download);
        return;
    }
    download.early = malloc(EARLY_SIZE);
    if (download.early == NULL) {
        answer_error(request, 503, ERROR_unavailable, "Out of memory");
        return;
    }
    script_to_create(&download, script);
    cleanup_(foreground_end) struct foreground foreground = FOREGROUND_NONE;
    if (archive_start(request, script, path, &download.environment, -1, &foreground)) {
        stream(&download, &foreground);
    }
}
