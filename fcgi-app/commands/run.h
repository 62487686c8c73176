/*
 * What the two endpoints that run commands in the foreground share.
 */
#ifndef FCGI_APP_COMMANDS_RUN_H
#define FCGI_APP_COMMANDS_RUN_H

#include <stdint.h>

/* Remembers how many bytes of output /run answers at most, 0: any number. Call once, before
 * threads. */
void run_init(uint64_t output_max);

/* What both endpoints say of a command whose runner died. */
#define RUN_LOST "The command's runner died: the command may have run"

#endif
