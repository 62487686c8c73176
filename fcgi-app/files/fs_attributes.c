/*
 * Attributes by the path of a descriptor, because fgetxattr(2) and its like do not take O_PATH
 * ones.
 */
#include "fcgi-app/files/fs_attributes.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"

/* Whether neither has any: nearly no file has. By the descriptor where it can be, which costs less.
 */
static bool have_no_attributes(int from, int to)
{
    char path[DESCRIPTOR_PATH_SIZE];
    ssize_t size = flistxattr(from, NULL, 0);
    if (size < 0 && errno == EBADF) {
        size = listxattr(descriptor_path(from, path), NULL, 0);
    }
    return size == 0 && flistxattr(to, NULL, 0) == 0;
}

/* The names of all attributes, each with its NUL. As listxattr(2). */
static ssize_t attribute_names(const char *path, char names[XATTR_LIST_MAX])
{
    ssize_t size = listxattr(path, names, XATTR_LIST_MAX);
    return size < 0 && errno == ENOTSUP ? 0 : size;
}

static bool has_name(const char *names, ssize_t size, const char *name)
{
    for (const char *at = names; at < names + size; at += strlen(at) + 1) {
        if (strcmp(at, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Gives `to` one attribute of `from`. 0 or -1 with errno. */
static int attribute_copy(const char *from, const char *to, const char *name)
{
    cleanup_free char *wanted = malloc(XATTR_SIZE_MAX), *present = malloc(XATTR_SIZE_MAX);
    if (wanted == NULL || present == NULL) {
        return -1;
    }
    ssize_t size = getxattr(from, name, wanted, XATTR_SIZE_MAX);
    if (size < 0) {
        return -1;
    }
    if (getxattr(to, name, present, XATTR_SIZE_MAX) == size &&
        memcmp(wanted, present, (size_t)size) == 0) {
        return 0; /* such as a security label, which few may set */
    }
    if (strcmp(name, "security.ima") == 0 || strcmp(name, "security.evm") == 0) {
        errno = EPERM; /* digests of the old content */
        return -1;
    }
    return setxattr(to, name, wanted, (size_t)size, 0);
}

/* Gives `to` all attributes that `from` has, and no others: it may have some from its directory. */
static int attributes_copy(const char *from, const char *to)
{
    cleanup_free char *wanted = malloc(XATTR_LIST_MAX), *present = malloc(XATTR_LIST_MAX);
    if (wanted == NULL || present == NULL) {
        return -1;
    }
    ssize_t size = attribute_names(from, wanted), present_size = attribute_names(to, present);
    if (size < 0 || present_size < 0) {
        return -1;
    }
    for (const char *name = present; name < present + present_size; name += strlen(name) + 1) {
        if (!has_name(wanted, size, name) && removexattr(to, name) != 0) {
            return -1;
        }
    }
    for (const char *name = wanted; name < wanted + size; name += strlen(name) + 1) {
        /* capabilities end with a write, in place as well */
        if (strcmp(name, "security.capability") != 0 && attribute_copy(from, to, name) != 0) {
            return -1;
        }
    }
    return 0;
}

static bool is_like(const struct stat *one, const struct stat *other)
{
    return one->st_uid == other->st_uid && one->st_gid == other->st_gid &&
           (one->st_mode & 07777) == (other->st_mode & 07777);
}

/* Makes `to` like the old file, with its attributes if there are any. 0 or -1 with errno. */
static int make_like(int from, const struct stat *old, int to, const struct stat *new, bool bare)
{
    char from_path[DESCRIPTOR_PATH_SIZE], to_path[DESCRIPTOR_PATH_SIZE];
    struct stat made;
    if ((old->st_uid != new->st_uid || old->st_gid != new->st_gid) &&
        fchown(to, old->st_uid, old->st_gid) != 0) {
        return -1;
    }
    /* The mode comes last: of a list it is the mask, and is part of it. */
    if ((!bare &&
         attributes_copy(descriptor_path(from, from_path), descriptor_path(to, to_path)) != 0) ||
        fchmod(to, old->st_mode & 07777) != 0 || fstat(to, &made) != 0) {
        return -1;
    }
    if (!is_like(old, &made)) {
        errno = EPERM;
        return -1;
    }
    return 0;
}

int fs_attributes_copy(int from, const struct stat *old, int to)
{
    struct stat new;
    if (fstat(to, &new) != 0) {
        return -1;
    }
    if (old->st_nlink > 1 || (old->st_mode & (S_ISUID | S_ISGID)) != 0) {
        errno = EPERM;
        return -1;
    }
    bool bare = have_no_attributes(from, to);
    return bare && is_like(old, &new) ? 0 : make_like(from, old, to, &new, bare);
}
