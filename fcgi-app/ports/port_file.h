/*
 * Small files that nginx reads, in the directory of the ports.
 */
#pragma once

#include <stddef.h>

/* Makes a file of that name, which nothing may have yet. nginx's workers, which may be another
 * user, can read it whatever our umask is. 0, or -1 with errno: then a part of it may be there.
 * Thread-safe. */
int port_file_write(int directory, const char *name, const char *text, size_t length);
