/*
 * What the two endpoints that run commands in the foreground share.
 */
#ifndef FCGI_APP_RUN_H
#define FCGI_APP_RUN_H

/* Remembers the directory for spools (borrowed descriptor). Call once, before threads. */
void run_init(int spool_directory_fd);
int run_spool_directory(void);

/* What both endpoints say of a command whose runner died. */
#define RUN_LOST "The command's runner died: the command may have run"

#endif
