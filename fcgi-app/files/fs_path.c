#include "fcgi-app/files/fs_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

int fs_place_open(struct fs_place *place, const char *path)
{
    *place = (struct fs_place){.directory = -1};
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/') {
        length--;
    }
    const char *slash = memrchr(path, '/', length);
    const char *name = slash == NULL ? path : slash + 1;
    place->name = strndup(name, length - (size_t)(name - path));
    if (place->name == NULL) {
        return -1;
    }
    if (place->name[0] == '\0' || strcmp(place->name, ".") == 0 || strcmp(place->name, "..") == 0) {
        errno = length == 0 ? EBUSY : EINVAL;
        return -1;
    }
    /* up to and with the slash: "/" of "/x" */
    cleanup_free char *directory =
        slash == NULL ? strdup(".") : strndup(path, (size_t)(name - path));
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
