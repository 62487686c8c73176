#pragma once

/*
 * Removes `name` in the directory, and everything below it. It follows no links and stops at a
 * mount (EBUSY). It gives a directory that its owner may not change the owner's rights first, if
 * the owner is this process's user. Entries that are gone already count as removed. Whatever the
 * depth, which a command may have chosen, it takes few descriptors, little stack, and memory for
 * the names of the directories on its way. 0, or -1 with errno when some entries are left.
 * Thread-safe.
 */
int tree_remove(int directory, const char *name);

/*
 * The same. On failure *refused is the path of the entry that could not be removed, seen from
 * `directory` (the caller frees it), or NULL when no memory is left for it.
 */
int tree_remove_naming(int directory, const char *name, char **refused);
