/*
 * The records of uploads that an earlier start of the server has left in its run directory, because
 * it was killed. They survive the emptying of the directory: only fcgi-app, with the rights of the
 * commands' user, may follow what they say, and remove the unfinished files that they name. All
 * take the run directory, and return 0, or -1 with errno.
 */
#pragma once

/* The directory in which they wait, in the run directory. */
#define OLD_UPLOADS "uploads-old"

/* Moves them there. */
int old_uploads_save(int run);

/* Moves them to the directory of uploads, which is new, as records that nobody goes on with. */
int old_uploads_give_back(int run);
