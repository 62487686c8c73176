/*
 * Removes uploads whose time is over: their records, and what has come of their files.
 */
#pragma once

/* Starts the thread that does it, first with what an earlier start of the server has left. 0, or -1
 * with errno. Call once, after upload_records_init(). */
int upload_cleaner_start(void);

/* The process ends. If all of the server does, removes every upload that goes on. */
void upload_cleaner_stop(void);
