/*
 * Who fcgi-app is. With SANDBOX_USER it starts as root and becomes, before it reads a byte, a
 * process that nobody but root can touch and that has nobody's rights but to files: real, effective
 * and saved user are nginx's worker user, the *file-system* user and the groups are SANDBOX_USER's.
 */
#ifndef FCGI_APP_IDENTITY_IDENTITY_H
#define FCGI_APP_IDENTITY_IDENTITY_H

#include "common/settings.h"

/*
 * Takes that identity for ever, and in any case the promise to gain no rights (no_new_privs). Call
 * when everything that only root can open is open, before threads. `run` is the run directory. 0,
 * or -1 when that was logged.
 */
int identity_take(const struct settings *settings, const char *run);

#endif
