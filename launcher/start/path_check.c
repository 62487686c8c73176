/*
 * A path is walked from the root, name by name, and at a link along its target: realpath(3) would
 * not report what was on the way.
 */
#include "launcher/start/path_check.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/logger.h"
#include "common/user.h"

#define VARIABLE "SANDBOX_USER"

/* As many links as the kernel follows (path_resolution(7)). */
#define LINKS_MAX 40

/* As many directories as are nested; nftw(3) would open more again. */
#define TREE_DESCRIPTORS 8

/*
 * With an access control list the bits of the group are the most that it gives to any user
 * (acl(5)): it counts as if it gave that to this user.
 */
static bool user_may_write(const struct user *user, const char *path, const struct stat *status)
{
    bool listed = user_has_group(user, status->st_gid) ||
                  getxattr(path, "system.posix_acl_access", NULL, 0) > 0;
    return status->st_uid == user->uid || (status->st_mode & S_IWOTH) != 0 ||
           ((status->st_mode & S_IWGRP) != 0 && listed);
}

bool path_may_change(const struct user *user, const char *path, const struct stat *status)
{
    /* In a sticky directory users cannot remove the entries of others; links are checked by their
     * owner. */
    bool sticky = S_ISDIR(status->st_mode) && (status->st_mode & S_ISVTX) != 0;
    return sticky ? status->st_uid == user->uid : user_may_write(user, path, status);
}

struct way {
    const struct user *user;
    const char *path;        /* the whole path */
    char at[PATH_MAX + 256]; /* how far we are, without links; "" is the root */
    char rest[PATH_MAX * 2]; /* the names that are left */
    unsigned links;
};

static const char *way_place(const struct way *way)
{
    return way->at[0] == '\0' ? "/" : way->at;
}

static int way_fail(const struct way *way, const char *name, int number)
{
    errno = number;
    return log_failure(VARIABLE ": %s/%s: %m", way->at, name);
}

static int way_check_place(const struct way *way)
{
    struct stat status;
    if (stat(way_place(way), &status) < 0) {
        return log_failure(VARIABLE ": %s: %m", way_place(way));
    }
    if (path_may_change(way->user, way_place(way), &status)) {
        return log_failure(VARIABLE ": user %u may change %s, and so replace %s", way->user->uid,
                           way_place(way), way->path);
    }
    return 0;
}

/* Checks that the user cannot make an entry in the current directory, which may be sticky. */
static int check_nothing_can_be_made(const struct way *way, const char *name)
{
    struct stat status;
    if (stat(way_place(way), &status) < 0) {
        return log_failure(VARIABLE ": %s: %m", way_place(way));
    }
    if (user_may_write(way->user, way_place(way), &status)) {
        return log_failure(VARIABLE ": user %u may make %s/%s", way->user->uid, way->at, name);
    }
    return 0;
}

/* Puts the target of the link before the rest. */
static int way_follow(struct way *way, const char *name, const char *link,
                      const struct stat *status)
{
    char target[PATH_MAX * 2];
    ssize_t length = readlink(link, target, PATH_MAX);
    if (length < 0 || ++way->links > LINKS_MAX) {
        return way_fail(way, name, length < 0 ? errno : ELOOP);
    }
    if (status->st_uid == way->user->uid) {
        return log_failure(VARIABLE ": user %u may change %s, and so replace %s", way->user->uid,
                           link, way->path);
    }
    size_t behind = strlen(way->rest);
    if ((size_t)length + 1 + behind >= sizeof(way->rest)) {
        return way_fail(way, name, ENAMETOOLONG);
    }
    memmove(way->rest + length + 1, way->rest, behind + 1);
    memcpy(way->rest, target, (size_t)length);
    way->rest[length] = '/';
    if (target[0] == '/') {
        way->at[0] = '\0';
    }
    return 0;
}

/* The first name of the rest; NULL when there is none. */
static const char *way_take_name(struct way *way, char name[NAME_MAX + 1])
{
    size_t slashes = strspn(way->rest, "/");
    size_t length = strcspn(way->rest + slashes, "/");
    if (length == 0 || length > NAME_MAX) {
        return NULL;
    }
    memcpy(name, way->rest + slashes, length);
    name[length] = '\0';
    memmove(way->rest, way->rest + slashes + length, strlen(way->rest + slashes + length) + 1);
    return name;
}

/* Enters the entry `name`. 1 when there is no such entry. */
static int way_enter(struct way *way, const char *name)
{
    struct stat status;
    char next[sizeof(way->at)];
    if (strcmp(name, "..") == 0) {
        char *slash = strrchr(way->at, '/');
        way->at[slash == NULL ? 0 : slash - way->at] = '\0';
        return 0;
    }
    if (strcmp(name, ".") == 0) {
        return 0;
    }
    if (snprintf(next, sizeof(next), "%s/%s", way->at, name) >= PATH_MAX) {
        return way_fail(way, name, ENAMETOOLONG);
    }
    if (lstat(next, &status) < 0) {
        if (errno != ENOENT) {
            return way_fail(way, name, errno);
        }
        return check_nothing_can_be_made(way, name) < 0 ? -1 : 1;
    }
    if (S_ISLNK(status.st_mode)) {
        return way_follow(way, name, next, &status);
    }
    memcpy(way->at, next, sizeof(next));
    return way_check_place(way);
}

static int way_go(struct way *way)
{
    char name[NAME_MAX + 1];
    int result = way_check_place(way);
    while (result == 0 && way_take_name(way, name) != NULL) {
        result = way_enter(way, name);
    }
    if (result == 1) { /* what is not there has no links */
        size_t length = strlen(way->at);
        bool is_last = strspn(way->rest, "/") == strlen(way->rest);
        (void)snprintf(way->at + length, sizeof(way->at) - length, "/%s%s", name,
                       is_last ? "" : way->rest);
    } else if (result == 0 && strspn(way->rest, "/") < strlen(way->rest)) {
        return way_fail(way, "", ENAMETOOLONG);
    }
    return result < 0 ? -1 : 0;
}

int path_check(const struct user *user, const char *path, char resolved[PATH_MAX])
{
    struct way way = {.user = user, .path = path};
    if (snprintf(way.rest, sizeof(way.rest), "%s", path) >= PATH_MAX) {
        return way_fail(&way, path, ENAMETOOLONG);
    }
    if (way_go(&way) < 0) {
        return -1;
    }
    if (resolved != NULL && snprintf(resolved, PATH_MAX, "%s", way_place(&way)) >= PATH_MAX) {
        return way_fail(&way, "", ENAMETOOLONG);
    }
    return 0;
}

int path_check_made_again(const struct user *user, const char *path, char resolved[PATH_MAX])
{
    if (path_check(user, path, resolved) < 0) {
        return -1;
    }
    struct way way = {.user = user, .path = path};
    const char *name = strrchr(resolved, '/') + 1;
    (void)snprintf(way.at, sizeof(way.at), "%.*s", (int)(name - 1 - resolved), resolved);
    return check_nothing_can_be_made(&way, name);
}

/* ---- trees ---- */

static const struct user *visitor; /* nftw(3) hands nothing through */

/* Stops nftw(3) after one line. */
#define REPORTED 1

static int visit(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)at;
    if (type == FTW_DNR || type == FTW_NS) {
        log_line(VARIABLE ": cannot look at %s", path);
        return REPORTED;
    }
    if (S_ISLNK(status->st_mode) ? status->st_uid == visitor->uid
                                 : path_may_change(visitor, path, status)) {
        log_line(VARIABLE ": user %u may change %s, which root runs or reads", visitor->uid, path);
        return REPORTED;
    }
    return 0;
}

int path_check_tree(const struct user *user, const char *path)
{
    visitor = user;
    if (path_check(user, path, NULL) < 0) {
        return -1;
    }
    int result = nftw(path, visit, TREE_DESCRIPTORS, FTW_PHYS);
    if (result < 0) {
        log_line(VARIABLE ": %s: %m", path);
    }
    return result == 0 ? 0 : -1;
}
