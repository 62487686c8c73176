/*
 * A file or directory with all that is in it.
 */
#ifndef COMMON_TREE_H
#define COMMON_TREE_H

/*
 * Removes `name` in the directory, and everything below it. Links are not followed, mounts are not
 * left out (EBUSY). A directory on the way that its owner may not change gets the owner's rights
 * first, if the owner is this process's user. What is gone already is removed. It takes few
 * descriptors, little stack, and memory for the names of the directories on its way, whatever the
 * depth: somebody else may have made what is there. 0, or -1 with errno and the rest still there.
 * Thread-safe.
 */
int tree_remove(int directory, const char *name);

/*
 * The same. On failure *refused is the path of the entry that could not be removed, seen from
 * `directory` (the caller frees it), or NULL when no memory is left for it.
 */
int tree_remove_naming(int directory, const char *name, char **refused);

#endif
