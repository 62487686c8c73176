/*
 * The directory in which this process keeps what it cannot pass on at once (common/spool.h).
 */
#pragma once

/* Remembers the directory (borrowed descriptor). Call once, before threads. */
void spools_init(int directory_fd);

/* That descriptor, for spool_new() and its like; -1 before spools_init(): then spools stay in
 * memory or fail. Thread-safe. */
int spools_directory(void);
