#include "common/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/tree.h"

DIR *directory_list(int directory)
{
    cleanup_fd int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (entries != NULL) {
        (void)steal_fd(&fd); /* the stream's now */
    }
    return entries;
}

const char *directory_next(DIR *entries)
{
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(entries); /* NOLINT(concurrency-mt-unsafe): own DIR */
        if (entry == NULL) {
            return NULL;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            return entry->d_name;
        }
    }
}

bool directory_has(int directory, const char *name)
{
    struct stat status;
    return fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

int directory_is_empty(int directory)
{
    cleanup_directory DIR *entries = directory_list(directory);
    if (entries == NULL) {
        return -1;
    }
    if (directory_next(entries) != NULL) {
        return 0;
    }
    return errno == 0 ? 1 : -1;
}

int directory_empty(int directory)
{
    static const char *const none[] = {NULL};
    return directory_empty_but(directory, none);
}

static bool is_one_of(const char *const names[], const char *name)
{
    while (*names != NULL && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

int directory_empty_but(int directory, const char *const kept[])
{
    cleanup_directory DIR *entries = directory_list(directory);
    if (entries == NULL) {
        return -1;
    }
    for (const char *name; (name = directory_next(entries)) != NULL;) {
        if (!is_one_of(kept, name) && tree_remove(directory, name) < 0) {
            return -1;
        }
    }
    return errno == 0 ? 0 : -1;
}
