/*
 * The files of one background job, as the runner writes them and every reader finds them:
 *
 *   record        written once, before the job is acknowledged (temporary name, then rename)
 *   exit          written once, after the last byte of the log (temporary name, then rename)
 *   runner.sock   where the runner takes orders while it lives
 *   log.<offset>  the log, in segments named by the offset of their first byte (20 decimal digits)
 *   position      where the log begins and ends, and what it has lost (job_position.h); it is
 *                 written over in place after each change of the log
 *
 * A job with a terminal has, in the place of log.<offset>:
 *
 *   bytes.<offset> what the terminal has put out, as it is, in segments named by the offset of
 *                 their first byte (20 decimal digits)
 *   size          how large the terminal is (terminal_size.h); it is written over in place
 *
 * A segment is a row of whole server-sent events, rendered as the client gets them:
 *
 *   event: log\n
 *   data: {"timestamp":"2025-11-04T12:34:56.123456789Z","stream":"stdout","data":"..."}\n
 *   id: <tag>-<offset>-<line>\n
 *   \n
 *
 * The id is the last line, because some clients take over an id before the event is whole: cut in
 * between, they would resume behind a line that they have not got. <tag> is the first 8 characters
 * of the job's id, <offset> that of the event in the whole log, and <line> counts the events from
 * 0, including those that a full disk has cost. So two ids say how many lines and bytes are between
 * them, whatever has become of these. event_id.h reads ids.
 *
 * An event whose line goes on in the next one of its stream has "continued":true after its data
 * (job_log.h and job_stream.h say when). An event without an id says that a full disk has cost some
 * lines, which have the next numbers:
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
 * A segment of bytes has no form of its own. When the writer leaves it for the next one it takes
 * away the owner's right to write, so a reader at the end of a segment knows whether to look for
 * another. A segment that begins behind the end of the one before it says that a full disk, or
 * retention, has cost the bytes in between; their offsets are counted all the same. The position
 * file of such a log is written at its beginning, when bytes are lost, and at its end: the segments
 * say the rest (byte_cursor.h).
 *
 * A process that holds a descriptor of the directory may read it and its files; procd gives one to
 * its clients. The path to it is closed to all but the server's user.
 *
 * The runner holds a flock(2) on the directory while it lives. Of finished jobs only the newest are
 * kept (retention.h): the whole directory of another may go at any time.
 */
#pragma once

#define JOB_RECORD_FILE     "record"
#define JOB_EXIT_FILE       "exit"
#define JOB_SOCKET_FILE     "runner.sock"
#define JOB_POSITION_FILE   "position"
#define JOB_SIZE_FILE       "size"
#define JOB_SEGMENT_PREFIX  "log."
#define JOB_SEGMENT_FORMAT  "log.%020llu" /* unsigned long long */
#define BYTE_SEGMENT_PREFIX "bytes."
#define JOB_HISTORY_LINES   10000 /* how many of the newest lines a new reader is given */
