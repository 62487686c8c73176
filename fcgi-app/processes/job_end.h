/*
 * How a background process has ended, by the files in its directory (procd/log/job_files.h): a stop
 * of the server that has ended it may have ended procd, too.
 *
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>

struct job;

/* 1 when it has ended with its log whole, or has been forgotten; 0 when it has not; -1 with errno
 * when that is unknown. */
int job_end_is_there(int directory);

/* Whether it is ending: it does not run any more, and its record will be there in a moment, of
 * which procd may have spoken already. */
bool job_end_is_near(int directory);

/* Waits for that moment, if it is near. */
void job_end_await(int directory);

/* The longest that it is waited for, ms. */
#define JOB_END_MOST_MS 2000

/* Reads the status, the time and the ending into *job. False with errno when that cannot be read:
 * ENOENT when it has been forgotten. */
bool job_end_read(int directory, struct job *job);

/* The same where the process has ended, and otherwise the status JOB_RUNNING. 0, or -1 with errno,
 * ENOENT when it has been forgotten. */
int job_end_look(int directory, struct job *job);
