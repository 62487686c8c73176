/*
 * Attributes by the path of a descriptor, because fgetxattr(2) and its like do not take O_PATH
 * ones.
 */
#include "fcgi-app/files/fs_attributes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"

struct bytes {
    char *data; /* owned; NULL when there are none */
    size_t size;
};

static void bytes_clear(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){.data = NULL};
}

/* Fills `bytes` with the value of an attribute, or with the names of all (NULL), each with its NUL.
 * 0 or -1 with errno. */
static int attribute_get(const char *path, const char *name, struct bytes *bytes)
{
    ssize_t size = name == NULL ? listxattr(path, NULL, 0) : getxattr(path, name, NULL, 0);
    *bytes = (struct bytes){.data = NULL};
    if (size <= 0) {
        return size == 0 || (name == NULL && errno == ENOTSUP) ? 0 : -1;
    }
    bytes->data = malloc((size_t)size);
    if (bytes->data == NULL) {
        return -1;
    }
    size = name == NULL ? listxattr(path, bytes->data, (size_t)size)
                        : getxattr(path, name, bytes->data, (size_t)size);
    if (size < 0) { /* ERANGE: it grew meanwhile */
        bytes_clear(bytes);
        return -1;
    }
    bytes->size = (size_t)size;
    return 0;
}

static bool has_name(const struct bytes *names, const char *name)
{
    for (size_t at = 0; at < names->size; at += strlen(names->data + at) + 1) {
        if (strcmp(names->data + at, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Gives `to` one attribute of `from`. 0 or -1 with errno. */
static int attribute_copy(const char *from, const char *to, const char *name)
{
    cleanup_(bytes_clear) struct bytes value = {.data = NULL}, present = {.data = NULL};
    if (attribute_get(from, name, &value) != 0) {
        return -1;
    }
    if (attribute_get(to, name, &present) == 0 && present.size == value.size &&
        (value.size == 0 || memcmp(present.data, value.data, value.size) == 0)) {
        return 0; /* such as a security label, which few may set */
    }
    if (strcmp(name, "security.ima") == 0 || strcmp(name, "security.evm") == 0) {
        errno = EPERM; /* digests of the old content */
        return -1;
    }
    return setxattr(to, name, value.data, value.size, 0);
}

/* Gives `to` all attributes that `from` has, and no others: it may have some from its directory. */
static int attributes_copy(const char *from, const char *to)
{
    cleanup_(bytes_clear) struct bytes wanted = {.data = NULL}, present = {.data = NULL};
    if (attribute_get(from, NULL, &wanted) != 0 || attribute_get(to, NULL, &present) != 0) {
        return -1;
    }
    for (size_t at = 0; at < present.size; at += strlen(present.data + at) + 1) {
        const char *name = present.data + at;
        if (!has_name(&wanted, name) && removexattr(to, name) != 0) {
            return -1;
        }
    }
    for (size_t at = 0; at < wanted.size; at += strlen(wanted.data + at) + 1) {
        const char *name = wanted.data + at;
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

int fs_attributes_copy(int from, int to)
{
    struct stat old, new;
    char from_path[DESCRIPTOR_PATH_SIZE], to_path[DESCRIPTOR_PATH_SIZE];
    if (fstat(from, &old) != 0 || fstat(to, &new) != 0) {
        return -1;
    }
    if (old.st_nlink > 1 || (old.st_mode & (S_ISUID | S_ISGID)) != 0) {
        errno = EPERM;
        return -1;
    }
    if ((old.st_uid != new.st_uid || old.st_gid != new.st_gid) &&
        fchown(to, old.st_uid, old.st_gid) != 0) {
        return -1;
    }
    /* The mode comes last: of a list it is the mask, and is part of it. */
    if (attributes_copy(descriptor_path(from, from_path), descriptor_path(to, to_path)) != 0 ||
        fchmod(to, old.st_mode & 07777) != 0 || fstat(to, &new) != 0) {
        return -1;
    }
    if (!is_like(&old, &new)) {
        errno = EPERM;
        return -1;
    }
    return 0;
}
