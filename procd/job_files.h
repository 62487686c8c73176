/*
 * The files of one background job, as the runner writes them and every reader finds them:
 *
 *   record        written once, before the job is acknowledged (temporary name, then rename)
 *   exit          written once, after the last byte of the log (temporary name, then rename)
 *   runner.sock   where the runner takes orders while it lives
 *   log.<offset>  the log, in segments named by the offset of their first byte (20 decimal digits)
 *
 * A segment is a row of whole server-sent events, rendered as the client gets them:
 *
 *   id: <offset of this event in the whole log>\n
 *   event: log\n
 *   data: {"timestamp":"2025-11-04T12:34:56.123456789Z","stream":"stdout","data":"..."}\n
 *   \n
 *
 * An event of a line that goes on in the next one has "continued":true after its data (job_log.h
 * tells when). Among them there may be an event without an id, which says that a full disk has cost
 * some lines:
 *
 *   event: gap\n
 *   data: {"missed_lines":12}\n
 *   \n
 *
 * No event crosses a segment. An event ends with the only empty line in it, so a reader sends what
 * lies before the last one and leaves a torn tail alone. Segments are only ever appended to; a new
 * one is created when the last is full, and the oldest is unlinked when the log is larger than
 * SANDBOX_LOG_MAX. A reader that finds the segment at its cursor gone continues with the oldest
 * that is there. Where an append fails half-way its torn event is cut off again.
 *
 * The runner holds a flock(2) on the directory while it lives. Of finished jobs only the newest are
 * kept (registry.h): the whole directory of another may go at any time.
 */
#ifndef PROCD_JOB_FILES_H
#define PROCD_JOB_FILES_H

#define JOB_RECORD_FILE    "record"
#define JOB_EXIT_FILE      "exit"
#define JOB_SOCKET_FILE    "runner.sock"
#define JOB_SEGMENT_PREFIX "log."
#define JOB_SEGMENT_FORMAT "log.%020llu" /* unsigned long long */
#define JOB_HISTORY_LINES  10000         /* how many of the newest lines a new reader is given */

#endif
