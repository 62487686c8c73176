/*
 * Where the package has its files, and what names a sandbox may have.
 */
#ifndef LAUNCHER_PACKAGE_H
#define LAUNCHER_PACKAGE_H

#include <stdbool.h>

#define PACKAGE_ETC   "/etc/nginx-sandbox"     /* settings, secrets, what nginx includes */
#define PACKAGE_STATE "/var/lib/nginx-sandbox" /* the run directory of each sandbox, by its name   \
                                                */
#define PACKAGE_DEFAULT "default" /* the sandbox that is there without being asked for */

#define PACKAGE_NAME_MOST 32

/* [a-z0-9][a-z0-9-]{0,31} */
bool package_is_name(const char *name);

/* The same; a line on standard error says so when it is none. */
bool package_check_name(const char *name);

#endif
