/*
 * POST /find_files: the entries of a tree, in the order of their paths, while it is walked through.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "fcgi-app/files/file_entry.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/name_text.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/search/tree_query.h"

struct finding {
    struct tree_query query;
    const char *type; /* NULL: any */
    struct owner_names owners;
};

static void finding_clear(struct finding *finding)
{
    tree_query_clear(&finding->query);
}

/* 0, or -1 when it has been answered that there is no such type. */
static int check_type(struct request *request, const char *type)
{
    static const mode_t modes[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
    for (size_t i = 0; type != NULL && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(type, file_type_name(modes[i])) == 0) {
            return 0;
        }
    }
    if (type == NULL) {
        return 0;
    }
    answer_error(request, 400, ERROR_invalid_request,
                 "type must be file, directory, symlink, fifo, socket, character_device or "
                 "block_device");
    return -1;
}

static bool is_wanted_entry(const struct finding *finding, const struct tree_entry *entry)
{
    const char *from = finding->query.from;
    return (finding->type == NULL ||
            strcmp(finding->type, file_type_name(DTTOIF(entry->type))) == 0) &&
           (from == NULL || strcmp(from, entry->path) != 0);
}

/* Whether the answer may have more entries. -1 with errno when memory is out. */
static int write_found(struct finding *finding, const struct tree_entry *entry)
{
    struct stat status;
    size_t length;
    struct tree_query *query = &finding->query;
    bool is_seen = fstatat(entry->directory, entry->name, &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (!is_seen && errno == ENOENT) {
        return 1;
    }
    const char *path = tree_query_path(query, entry->path, &length);
    if (path == NULL) {
        return -1;
    }
    const struct file_entry found = {.name = entry->name,
                                     .name_length = strlen(entry->name),
                                     .status = &status,
                                     .directory = entry->directory,
                                     .link =
                                         is_seen && S_ISLNK(status.st_mode) ? entry->name : NULL};
    bool is_last = tree_query_next(query);
    (void)writer_string(&query->writer, "{");
    (void)name_text_write(&query->writer, "path", path, length);
    (void)writer_string(&query->writer, ",");
    if (is_seen) {
        (void)file_entry_write(&query->writer, &finding->owners, &found);
    } else { /* the directory may be read and not entered */
        (void)name_text_write(&query->writer, "name", found.name, found.name_length);
    }
    (void)writer_string(&query->writer, "}");
    return !is_last;
}

static bool find_visited(void *context, const struct tree_entry *entry)
{
    struct finding *finding = context;
    int more = is_wanted_entry(finding, entry) ? write_found(finding, entry) : 1;
    if (more < 0) {
        tree_query_fail_with(&finding->query, errno);
    } else if (more == 0) {
        tree_query_cut(&finding->query, entry->path, 0);
    }
    return more > 0;
}

static void handle_find_files(struct request *request, const struct json_body *body)
{
    struct fs_error error;
    cleanup_(finding_clear) struct finding finding = {.type = json_text(body, "type")};
    if (tree_query_begin(&finding.query, request, body, "entries") != 0 ||
        check_type(request, finding.type) != 0) {
        return;
    }
    const char *root_path = finding.query.root;
    int root = open(root_path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    if (root < 0) {
        (void)fs_fail(&error, errno, "open", root_path);
        raw_refuse(request, &error);
        return;
    }
    tree_query_walk(&finding.query, root, find_visited, &finding);
}

static const struct json_member find_members[] = {
    {JSON_MEMBER("path", TEXT, "The directory in which to look."), .required = true},
    {JSON_MEMBER("type", TEXT, "Only entries of this type, such as file or directory.")},
    TREE_QUERY_MEMBERS("entries"),
};
const struct endpoint find_files_endpoint = {
    API_ROW(find_files),
    .about = "Finds files below a directory by their names and types.",
    MEMBERS(find_members),
    .handle = handle_find_files,
};
