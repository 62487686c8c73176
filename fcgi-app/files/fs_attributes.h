/*
 * What a file is beside its content: owner, group, mode, access control list, extended attributes.
 * Part of fs; nobody else needs it.
 */
#ifndef FCGI_APP_FILES_FS_ATTRIBUTES_H
#define FCGI_APP_FILES_FS_ATTRIBUTES_H

/*
 * Makes the new file `to` (open for writing) such that nobody can tell by its attributes that it is
 * not `from` (O_PATH) with another content. 0, or -1 with errno where that cannot be: another
 * user's file, one with several names, a set-user-ID file or one with a digest of its content,
 * whose attributes the kernel changes with the content. `to` may have some of them then.
 * Thread-safe.
 */
int fs_attributes_copy(int from, int to);

#endif
