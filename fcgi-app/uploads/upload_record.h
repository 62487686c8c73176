/*
 * The record of an upload: a small file in the run directory, so that it survives the daemons. It
 * is written once, as a whole. Its name is the id, and then:
 *
 *   ID         an upload that goes on
 *   ID.done    one whose file has its name: a client that missed the answer may ask
 *   ID.mark    a link that names an offset: what lies behind it has a checksum to pass yet
 *   ID.old     one of an earlier start of the server, which nobody goes on with
 *
 * Its mtime is the time at which it goes. A lock on it (flock(2)) is the right to change the
 * upload. Clients and, where there is no SANDBOX_USER, commands can change these files. What they
 * say is done with the rights of the commands alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "fcgi-app/files/fs_part.h"

#define UPLOAD_ID_LENGTH 32 /* digits of a random number */
#define UPLOAD_ID_SIZE   (UPLOAD_ID_LENGTH + 1)

struct upload_record {
    char id[UPLOAD_ID_SIZE];
    int fd; /* open */
    bool is_done;
    uint64_t length;
    struct fs_part part;
    char *metadata; /* as the client wrote it; owned */
    time_t expires;
};

/* Remembers the directory (borrowed), how many uploads may go on at the same time (0: any number),
 * and how long each lives. Call once, before threads. The rest is thread-safe. */
void upload_records_init(int directory, uint64_t most, uint64_t lifetime_ms);

/* Whether it is an id, with nothing behind it. */
bool upload_id_is(const char *text);

/*
 * Makes the record of an upload of which length, part and metadata are set; gives it an id, and
 * locks it. 0, or -1 with errno: EUSERS if there are as many as there may be. Clear it in any case.
 */
int upload_record_make(struct upload_record *record);

/* Opens one, without a lock. 0, or -1 with errno: ENOENT. Clear it in any case. */
int upload_record_open(struct upload_record *record, const char *id);

/* Opens one of an earlier start; the same otherwise. */
int upload_record_open_old(struct upload_record *record, const char *id);

/* Locks it. 0, or -1 with errno: EWOULDBLOCK if another request has it, ENOENT if it has gone or is
 * done since it was opened: then open it again. */
int upload_record_lock(const struct upload_record *record);

/* Reads the text of a record: length, part and metadata. 0, or -1 with errno: EBADMSG if it is
 * none. Clear it in any case. */
int upload_record_parse(struct upload_record *record, const char *text, size_t size);

/* Closes it, and with it gives the lock back. */
void upload_record_clear(struct upload_record *record);

/* ---- with the lock ---- */

/* It lives its whole time from now on. */
void upload_record_prolong(struct upload_record *record);

/* Its file has its name. 0, or -1 with errno. */
int upload_record_finish(struct upload_record *record);

/* Removes record and mark, not the part. */
void upload_record_remove(const struct upload_record *record);

/* Sets the mark, which must not be there. 0, or -1 with errno. */
int upload_record_mark(const struct upload_record *record, uint64_t offset);
void upload_record_unmark(const struct upload_record *record);

/* ---- at any time ---- */

/* Whether there is a mark, and where. */
bool upload_record_is_marked(const struct upload_record *record, uint64_t *offset);

/* How many uploads go on; -1: unknown. */
int64_t upload_records_count(void);

/* A file in the directory: what its name says, and the id. */
enum upload_name { UPLOAD_OTHER, UPLOAD_OPEN, UPLOAD_DONE, UPLOAD_MARK, UPLOAD_OLD };
enum upload_name upload_name_read(const char *name, char id[UPLOAD_ID_SIZE]);

/* The directory (borrowed). */
int upload_records_directory(void);
