/*
 * A file or directory with all that is in it.
 */
#ifndef COMMON_TREE_H
#define COMMON_TREE_H

/*
 * Removes `name` in the directory, and everything below it. Links are not followed, mounts are not
 * left out (EBUSY). What is gone already is removed. It takes two descriptors, little stack, and
 * memory for the names of the directories on its way, whatever the depth: somebody else may have
 * made what is there. 0, or -1 with errno and the rest still there. Thread-safe.
 */
int tree_remove(int directory, const char *name);

#endif
