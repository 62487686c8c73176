/*
 * The service directories of the supervisor in the run directory.
 */
#pragma once

#include <stdbool.h>

#include "launcher/start/layout.h"
#include "launcher/start/run_dir.h"

/* RUN/service/ and RUN/bin/: links into the installed tree, since a container's tmpfs may be
 * noexec; and RUN/cwd, the working directory of commands: `cwd`, or NULL for ours. nginx and the
 * service of a claim only where they are wanted. 0, or -1 after one line to standard error. */
int services_link(const struct run_dir *run, const struct layout *layout, const char *cwd,
                  bool with_nginx, bool with_claim);
