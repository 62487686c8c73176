/*
 * What extracts an archive: scripts for archive_start().
 */
#pragma once

#include <time.h>

#include "fcgi-app/files/archive.h"

/*
 * The modes are those of the archive, the owner is the user of commands. No file may become larger
 * than SANDBOX_MAX_UPLOAD; a signal would end tar without a word. The list has modes and times, and
 * in UTC these cost nothing.
 */
void archive_script_to_extract(const struct archive_kind *kind, char script[ARCHIVE_SCRIPT_SIZE]);

/* Where commands are root, set-user-ID bits would be root's: those of files that were changed since
 * then go. */
void archive_script_to_clear_bits(time_t since, char script[ARCHIVE_SCRIPT_SIZE]);
