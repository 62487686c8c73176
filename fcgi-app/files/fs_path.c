#include "fcgi-app/files/fs_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

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

int fs_place_open(struct fs_place *place, const char *path)
{
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
    place->directory = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return place->directory < 0 ? -1 : 0;
}

void fs_place_clear(struct fs_place *place)
{
    close_fd(&place->directory);
    free(place->name);
    place->name = NULL;
}
