/*
 * The end of a log whose runner has died (job_files.h).
 *
 * Thread-safe.
 */
#ifndef PROCD_LOG_LOG_REPAIR_H
#define PROCD_LOG_LOG_REPAIR_H

/*
 * After a runner has died: cuts what it has left behind the last whole event in the newest segment,
 * and writes a position file that agrees with the disk. (Lines that a full disk has cost in the
 * instant before may be missing from its counts.) 0, or -1 with errno.
 */
int job_log_repair(int directory);

#endif
