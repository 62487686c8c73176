/*
 * Removes what is put into a directory, in a thread of its own. unlink(2) of a large file waits for
 * the writes that are under way (truncate_inode_pages_final in the kernel), for a second on a busy
 * disk, and procd could answer nobody meanwhile.
 */
#pragma once

/*
 * Starts to remove what is in `directory`, which is borrowed for as long as the process lives.
 * There is one remover in a process; what it has not removed at the end of that is the next
 * remover's. What cannot be removed is logged, and tried again with the next. 0, or -1 with errno.
 */
int remover_open(int directory);

/* Reports that something has been put there. Neither is thread-safe. */
void remover_wake(void);
