/*
 * POST /set_mode. In a tree links are neither followed nor changed: each entry is held by a
 * descriptor while it is looked at and changed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/files/served_file.h"
#include "fcgi-app/files/tree_walk.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"

struct mode_change {
    const char *path;
    mode_t mode;
    bool changed; /* something already */
    bool canceled;
    struct stop_check check;
    struct fs_error error;
};

/* Octal digits. 0, or -1 for another text. */
static int read_octal_mode(const char *text, mode_t *mode)
{
    size_t length = strspn(text, "01234567");
    unsigned long value =
        length == 0 || length > 6 || text[length] != '\0' ? ULONG_MAX : strtoul(text, NULL, 8);
    *mode = (mode_t)value & 07777;
    return value <= 07777 ? 0 : -1;
}

static int fail_change(struct mode_change *change, int number, const char *entry)
{
    cleanup_free char *path = NULL;
    if (entry != NULL && asprintf(&path, "%s/%s", change->path, entry) < 0) {
        path = NULL;
    }
    return fs_fail(&change->error, number, "chmod", path == NULL ? change->path : path);
}

/* What is open (O_PATH) gets the mode. 0 or -1 with errno. */
static int change_open(struct mode_change *change, int fd, mode_t mode)
{
    char path[DESCRIPTOR_PATH_SIZE];
    if (chmod(descriptor_path(fd, path), mode) != 0) {
        return -1;
    }
    change->changed = true;
    return 0;
}

/* An entry of the tree. A directory that its owner may not read gets the rights for the walk first,
 * and its mode when all in it has changed. */
static int change_entry(struct mode_change *change, const struct tree_entry *entry, bool is_left)
{
    struct stat status;
    cleanup_fd int fd = entry->directory < 0 ? -1
                                             : openat(entry->directory, entry->name,
                                                      O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) { /* it has disappeared meanwhile */
        return entry->directory < 0 || errno == ENOENT ? 0
                                                       : fail_change(change, errno, entry->path);
    }
    if (fstat(fd, &status) != 0) {
        return fail_change(change, errno, entry->path);
    }
    if (S_ISLNK(status.st_mode)) {
        return 0;
    }
    mode_t mode = change->mode;
    if (S_ISDIR(status.st_mode) && !is_left) {
        if ((status.st_mode & S_IRWXU) == S_IRWXU) {
            return 0;
        }
        mode = (status.st_mode & 07777) | S_IRWXU;
    }
    return change_open(change, fd, mode) == 0 ? 0 : fail_change(change, errno, entry->path);
}

static int change_entries(struct mode_change *change, struct tree_walk *walk)
{
    for (;;) {
        struct tree_entry entry;
        int result = 0;
        enum tree_event event = tree_walk_next(walk, &entry);
        switch (event) {
        case TREE_ENTRY:
        case TREE_LEFT: result = change_entry(change, &entry, event == TREE_LEFT); break;
        case TREE_REFUSED:
            result = errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                         ? 0
                         : fail_change(change, errno, entry.path);
            break;
        case TREE_END: return 0;
        case TREE_FAILED:
            change->canceled = errno == ECANCELED;
            return fail_change(change, errno, NULL);
        }
        if (result != 0) {
            return -1;
        }
    }
}

/* All that is in the directory `fd` (O_PATH). */
static int change_tree(struct mode_change *change, int fd, const struct stat *status)
{
    const struct tree_walk_plan plan = {.check = change->check};
    if ((status->st_mode & S_IRWXU) != S_IRWXU &&
        change_open(change, fd, (status->st_mode & 07777) | S_IRWXU) != 0) {
        return fail_change(change, errno, NULL);
    }
    int root = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    cleanup_(tree_walk_freep) struct tree_walk *walk =
        root < 0 ? NULL : tree_walk_begin(root, &plan);
    return walk == NULL ? fail_change(change, errno, NULL) : change_entries(change, walk);
}

static int change_path(struct mode_change *change, bool is_recursive)
{
    struct stat status;
    if (served_file_check(change->path, 0, "chmod", &change->error) != 0) {
        return -1;
    }
    cleanup_fd int fd = open(change->path, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        return fail_change(change, errno, NULL);
    }
    if (is_recursive && S_ISDIR(status.st_mode) && change_tree(change, fd, &status) != 0) {
        return -1;
    }
    return change_open(change, fd, change->mode) == 0 ? 0 : fail_change(change, errno, NULL);
}

static void handle_set_mode(struct request *request, const struct json_body *body)
{
    struct mode_change change = {.path = requested_path(body), .check = stop_check_of(request)};
    if (read_octal_mode(json_text(body, "mode"), &change.mode) != 0) {
        answer_failure(request, 400, ERROR_invalid_request,
                       "mode must be a string of octal digits, such as 0644");
        return;
    }
    if (change_path(&change, json_flag(body, "recursive")) == 0) {
        answer_success(request);
    } else if (change.canceled && !change.changed) {
        answer_stopping(request); /* or the client has left */
    } else if (change.canceled) {
        answer_lost(request, "The server is stopping; some modes were changed");
    } else {
        int status = raw_status(change.error.code);
        /* Clients repeat every 5xx. */
        answer_failure(request, change.changed && status >= 500 ? 409 : status, change.error.code,
                       "%s", change.error.message);
    }
}

static const struct json_member set_mode_members[] = {
    {JSON_MEMBER("path", TEXT, "The file or directory; a link is followed."), .required = true},
    {JSON_MEMBER("mode", TEXT, "Octal digits, such as 0644."), .required = true},
    {JSON_MEMBER("recursive", FLAG, "Also of everything in it, but not of links.")},
};
const struct endpoint set_mode_endpoint = {
    API_ROW(set_mode),         .about = "Changes the mode of a file, a directory or a tree.",
    MEMBERS(set_mode_members), .flags = JSON_ANSWER_FAILURE,
    .handle = handle_set_mode,
};
