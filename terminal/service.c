#include "terminal/service.h"

#include <stdbool.h>
#include <string.h>

const struct service *service_find(const struct service *const *services, const char *path)
{
    for (; *services != NULL; services++) {
        const char *known = (*services)->path;
        size_t length = strlen(known);
        bool has_below = known[length - 1] == '/';
        if (has_below ? strncmp(path, known, length) == 0 : strcmp(path, known) == 0) {
            return *services;
        }
    }
    return NULL;
}
