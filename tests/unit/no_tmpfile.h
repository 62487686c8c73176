/*
 * Stands for a file system without O_TMPFILE (older overlayfs, NFS, FUSE). A test that uses it is
 * linked with --wrap=openat.
 */
#pragma once

/* While it is an errno and not 0, openat(2) refuses O_TMPFILE with it. */
extern int no_tmpfile;
