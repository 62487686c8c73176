/*
 * POST /search_files: the lines of files that match a pattern, while the tree is walked through.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/name_text.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/served_file.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/search/file_search.h"
#include "fcgi-app/search/text_pattern.h"
#include "fcgi-app/search/tree_query.h"

#define TEXT_SHOWN   ((size_t)1024) /* bytes of a line */
#define TEXT_BEFORE  ((size_t)256)  /* of them before the match, in a line that is longer */
#define CONTEXT_MOST 20             /* lines on each side */

#define SEARCHED_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

struct searching {
    struct tree_query query;
    struct text_pattern *pattern;
    struct file_search *search;
    size_t context_lines;
    /* of the file that is being searched: */
    const char *path;
    size_t path_length;
    uint64_t last_line; /* that was handed out */
};

static void searching_clear(struct searching *searching)
{
    file_search_free(searching->search);
    text_pattern_free(searching->pattern);
    tree_query_clear(&searching->query);
}

/* ---- a line that was found ---- */

static bool is_within_character(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* The part of a long line that is shown: around the match. */
static void write_shown(struct writer *writer, const struct found_line *line)
{
    size_t match = (size_t)(line->column - 1 - line->skipped);
    size_t begin = match > TEXT_BEFORE ? match - TEXT_BEFORE : 0;
    for (int i = 0; i < 3 && begin < match && is_within_character(line->text[begin]); i++) {
        begin++;
    }
    size_t length = line->length - begin < TEXT_SHOWN ? line->length - begin : TEXT_SHOWN;
    for (int i = 0; i < 3 && begin + length < line->length && length > 0 &&
                    is_within_character(line->text[begin + length]);
         i++) {
        length--;
    }
    (void)writer_text(writer, line->text + begin, length);
    if (begin + line->skipped > 0 || length < line->length) {
        (void)writer_string(writer, "\",\"text_column\":");
        (void)writer_number(writer, line->skipped + begin + 1);
    } else {
        (void)writer_string(writer, "\"");
    }
}

/* The first lines of [begin, end), as an array. */
static void write_context(const struct searching *searching, struct writer *writer,
                          const char *name, const char *begin, const char *end)
{
    (void)writer_format(writer, ",\"%s\":[", name);
    for (size_t i = 0; i < searching->context_lines && begin < end; i++) {
        const char *newline = memchr(begin, '\n', (size_t)(end - begin));
        const char *behind = newline == NULL ? end : newline;
        size_t length = (size_t)(behind - begin);
        length -= length > 0 && begin[length - 1] == '\r';
        (void)writer_string(writer, i > 0 ? ",\"" : "\"");
        (void)writer_text(writer, begin, length < TEXT_SHOWN ? length : TEXT_SHOWN);
        (void)writer_string(writer, "\"");
        begin = newline == NULL ? end : newline + 1;
    }
    (void)writer_string(writer, "]");
}

static bool write_match(void *context, const struct found_line *line)
{
    struct searching *searching = context;
    struct writer *writer = &searching->query.writer;
    bool is_last = tree_query_next(&searching->query);
    (void)writer_string(writer, "{");
    (void)name_text_write(writer, "path", searching->path, searching->path_length);
    (void)writer_format(writer, ",\"line\":%llu,\"column\":%llu,\"text\":\"",
                        (unsigned long long)line->number, (unsigned long long)line->column);
    write_shown(writer, line);
    if (searching->context_lines > 0) {
        write_context(searching, writer, "before", line->before_begin, line->before_end);
        write_context(searching, writer, "after", line->after_begin, line->after_end);
    }
    (void)writer_string(writer, "}");
    searching->last_line = line->number;
    return !is_last && !writer->failed;
}

/* ---- a file ---- */

/* Searches an open file. Whether the search goes on; if not the answer has its end. */
static bool search_open_file(struct searching *searching, int fd, uint64_t size, const char *below,
                             uint64_t first)
{
    uint64_t line;
    struct tree_query *query = &searching->query;
    searching->path = tree_query_path(query, below, &searching->path_length);
    if (searching->path == NULL) {
        tree_query_fail_with(query, ENOMEM);
        return false;
    }
    switch (file_search_run(searching->search, fd, size, first, &query->plan.check, write_match,
                            searching, &line)) {
    case SEARCH_DONE: return true;
    case SEARCH_ENOUGH: tree_query_cut(query, below, searching->last_line); return false;
    case SEARCH_EXPLODED:
        tree_query_fail(query, 400, ERROR_invalid_request,
                        "pattern: It needs too many steps in line %llu of %.300s",
                        (unsigned long long)line, searching->path);
        return false;
    case SEARCH_FAILED:
        if (errno == ECANCELED || errno == ENOMEM) {
            tree_query_fail_with(query, errno);
            return false;
        }
        tree_query_note_unreadable(query, errno);
        return true;
    }
    return true;
}

/* The line of a file from which on it is searched: the cursor may say so. */
static uint64_t first_wanted_line(const struct tree_query *query, const char *below)
{
    bool is_cursors = query->from != NULL && strcmp(query->from, below) == 0;
    return is_cursors ? query->from_line + 1 : 0;
}

/* Searches a regular file of the tree. Whether the search goes on. */
static bool search_entry(struct searching *searching, const struct tree_entry *entry)
{
    struct stat status;
    struct tree_query *query = &searching->query;
    cleanup_fd int fd = openat(entry->directory, entry->name, SEARCHED_FLAGS);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
        tree_query_fail_with(query, errno);
        return false;
    }
    if (fd < 0 || fstat(fd, &status) != 0) {
        tree_query_note_unreadable(query, errno);
        return true;
    }
    return !S_ISREG(status.st_mode) ||
           search_open_file(searching, fd, (uint64_t)status.st_size, entry->path,
                            first_wanted_line(query, entry->path));
}

static bool search_visited(void *context, const struct tree_entry *entry)
{
    return entry->type != DT_REG || search_entry(context, entry);
}

/* ---- the request ---- */

/* Whether it is a file system of the kernel's, whose files may do anything when they are read. */
static bool is_in_kernels_files(int fd)
{
    struct statfs system;
    return fstatfs(fd, &system) == 0 &&
           (system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC);
}

/* Opens the file or directory of the request. The descriptor, or -1 with the error. */
static int open_root(const char *path, struct served_file *file, struct fs_error *error)
{
    if (served_file_open(file, path, error) != 0) {
        return -1;
    }
    int fd = file->fd >= 0 ? file->fd : open(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return fs_fail(error, errno, "open", path);
    }
    if (is_in_kernels_files(fd)) {
        close_fd(&fd);
        return fs_refuse(error, ERROR_unsupported, "search", path,
                         "Files of the kernel are not searched");
    }
    return fd;
}

static void search_root(struct searching *searching)
{
    struct fs_error error;
    struct served_file file;
    struct tree_query *query = &searching->query;
    int root = open_root(query->root, &file, &error);
    if (root < 0) {
        raw_refuse(query->request, &error);
    } else if (file.fd < 0) {
        tree_query_walk(query, root, search_visited, searching);
    } else {
        cleanup_fd int fd = root;
        if (search_open_file(searching, fd, (uint64_t)file.status.st_size, "",
                             first_wanted_line(query, ""))) {
            tree_query_end(query);
        }
    }
}

/* 0, or -1 when the request has been answered. */
static int read_search(struct searching *searching, struct request *request,
                       const struct json_body *body)
{
    char fault[PATTERN_FAULT_SIZE];
    uint64_t context_lines = json_count(body, "context_lines", 0);
    if (tree_query_begin(&searching->query, request, body, "matches") != 0) {
        return -1;
    }
    if (context_lines > CONTEXT_MOST) {
        answer_error(request, 400, ERROR_invalid_request, "context_lines must be at most %d",
                     CONTEXT_MOST);
        return -1;
    }
    searching->context_lines = (size_t)context_lines;
    searching->pattern = text_pattern_new(json_text(body, "pattern"), json_flag(body, "fixed"),
                                          json_flag(body, "ignore_case"), fault);
    if (searching->pattern == NULL && *fault != '\0') {
        answer_error(request, 400, ERROR_invalid_request, "%s", fault);
        return -1;
    }
    searching->search = searching->pattern == NULL
                            ? NULL
                            : file_search_new(searching->pattern, searching->context_lines);
    if (searching->search == NULL) {
        answer_error(request, 503, ERROR_unavailable, "Out of memory");
        return -1;
    }
    return 0;
}

static void handle_search_files(struct request *request, const struct json_body *body)
{
    cleanup_(searching_clear) struct searching searching = {.pattern = NULL};
    if (read_search(&searching, request, body) == 0) {
        search_root(&searching);
    }
}

static const struct json_member search_members[] = {
    {JSON_MEMBER("path", TEXT, "The directory, or the one file, to search."), .required = true},
    {JSON_MEMBER("pattern", TEXT, "A regular expression of PCRE2, or a text if fixed."),
     .required = true},
    {JSON_MEMBER("fixed", FLAG, "The pattern is a text.")},
    {JSON_MEMBER("ignore_case", FLAG, "Letters in either case are the same.")},
    {JSON_MEMBER("context_lines", COUNT, "Lines around each match: at most 20 on each side.")},
    TREE_QUERY_MEMBERS("matches"),
};
const struct endpoint search_files_endpoint = {
    API_ROW(search_files),
    .about = "Searches files for lines that match a pattern.",
    MEMBERS(search_members),
    .handle = handle_search_files,
};
