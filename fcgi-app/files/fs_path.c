#include "fcgi-app/files/fs_path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"

const char *fs_name(const char *path, size_t *length)
{
    const char *end = path + strlen(path);
    while (end > path + 1 && end[-1] == '/') {
        end--;
    }
    const char *name = end;
    while (name > path && name[-1] != '/') {
        name--;
    }
    name -= name == end && name > path; /* the root */
    *length = (size_t)(end - name);
    return name;
}

int fs_open_plain(const char *path, int flags)
{
    const struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC,
                                 .resolve = RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

static int place_open(struct fs_place *place, const char *path, bool plain)
{
    const int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    size_t length;
    const char *name = fs_name(path, &length);
    *place = (struct fs_place){.directory = -1, .name = strndup(name, length)};
    if (place->name == NULL) {
        return -1;
    }
    if (name[0] == '/' || name[0] == '\0') {
        errno = EBUSY;
        return -1;
    }
    if (strcmp(place->name, ".") == 0 || strcmp(place->name, "..") == 0) {
        errno = EINVAL;
        return -1;
    }
    /* up to and with the slash: "/" of "/x" */
    cleanup_free char *directory =
        name == path ? strdup(".") : strndup(path, (size_t)(name - path));
    if (directory == NULL) {
        return -1;
    }
    place->directory = plain ? fs_open_plain(directory, flags) : open(directory, flags);
    return place->directory < 0 ? -1 : 0;
}

int fs_place_open(struct fs_place *place, const char *path)
{
    return place_open(place, path, false);
}

int fs_place_open_plain(struct fs_place *place, const char *path)
{
    return place_open(place, path, true);
}

void fs_place_clear(struct fs_place *place)
{
    close_fd(&place->directory);
    free(place->name);
    place->name = NULL;
}
