/*
 * Repairs a log whose runner has died (job_files.h).
 *
 * Thread-safe.
 */
#pragma once

/*
 * Cuts the newest segment behind its last whole event, and writes a position file that agrees with
 * the disk. Its counts may lack lines that a full disk has cost just before the runner died. 0, or
 * -1 with errno.
 */
int job_log_repair(int directory);
