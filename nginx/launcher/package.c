/*
 * The names of sandboxes.
 */
#include "nginx/launcher/package.h"

#include <string.h>

#include "common/logger.h"

#define PLAIN "abcdefghijklmnopqrstuvwxyz0123456789"

bool package_is_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= PACKAGE_NAME_MOST && name[0] != '-' &&
           strspn(name, PLAIN "-") == length;
}

bool package_check_name(const char *name)
{
    if (!package_is_name(name)) {
        log_line("%s is no name of a sandbox: a-z, 0-9 and -, at most %d characters, no - in front",
                 name, PACKAGE_NAME_MOST);
        return false;
    }
    return true;
}
