/*
 * Stands for a file system without O_TMPFILE (older overlayfs, NFS, FUSE). A test that uses it is
 * linked with --wrap=openat.
 */
#ifndef TESTS_UNIT_NO_TMPFILE_H
#define TESTS_UNIT_NO_TMPFILE_H

/* While it is an errno and not 0, openat(2) refuses O_TMPFILE with it. */
extern int no_tmpfile;

#endif
