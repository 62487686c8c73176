/*
 * The user that fcgi-app and terminal run as. With SANDBOX_USER they start as root. Before one of
 * them reads a byte it becomes a process that only root can touch, and that has the rights of
 * SANDBOX_USER to files and no other rights: real, effective and saved user are nginx's worker
 * user, the *file-system* user and the groups are SANDBOX_USER's.
 */
#pragma once

#include "common/settings.h"

/*
 * Takes that identity for ever. In any case the process can gain no rights from then on
 * (no_new_privs). Call it when everything that only root can open is open, before threads. `run` is
 * the run directory. 0, or -1 when that was logged.
 */
int identity_take(const struct settings *settings, const char *run);
