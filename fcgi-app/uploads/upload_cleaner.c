#include "fcgi-app/uploads/upload_cleaner.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/detached_thread.h"
#include "common/directory.h"
#include "common/logger.h"
#include "common/run_files.h"
#include "fcgi-app/files/fs_part.h"
#include "fcgi-app/uploads/upload_record.h"

#define ROUND_S 5 /* between two looks at the records */

/* Removes what has come of a file, and its record, which nobody else changes. */
static void remove_upload(const struct upload_record *record)
{
    if (!record->is_done) {
        fs_part_remove(&record->part);
    }
    upload_record_remove(record);
}

/* Removes an upload if its time is over, or in any case if `all`. */
static void clean_upload(const char *id, bool all)
{
    struct upload_record record;
    bool is_open = upload_record_open(&record, id) == 0;
    if (!is_open && errno == EBADMSG) {
        upload_record_remove(&record); /* nobody can read it */
    } else if (is_open &&
               (all || (record.expires < time(NULL) && upload_record_lock(&record) == 0))) {
        log_at(LOG_INFO, "upload %s of %s: removed", record.id, record.part.path);
        remove_upload(&record);
    }
    upload_record_clear(&record);
}

static void clean_old(const char *id)
{
    struct upload_record record;
    if (upload_record_open_old(&record, id) == 0 || errno != ENOENT) {
        if (record.part.path != NULL) {
            remove_upload(&record);
        } else {
            upload_record_remove(&record);
        }
    }
    upload_record_clear(&record);
}

static void clean_entry(const char *name, bool all)
{
    char id[UPLOAD_ID_SIZE];
    switch (upload_name_read(name, id)) {
    case UPLOAD_OPEN:
    case UPLOAD_DONE: clean_upload(id, all); break;
    case UPLOAD_OLD: clean_old(id); break;
    case UPLOAD_MARK:
    case UPLOAD_OTHER: break;
    }
}

static void clean(bool all)
{
    cleanup_directory DIR *entries = directory_list(upload_records_directory());
    for (const char *name; entries != NULL && (name = directory_next(entries)) != NULL;) {
        clean_entry(name, all);
    }
}

__attribute__((noreturn)) static void *run_cleaner(void *unused)
{
    static const struct timespec pause = {.tv_sec = ROUND_S};
    (void)unused;
    for (;;) {
        clean(false);
        (void)nanosleep(&pause, NULL);
    }
}

int upload_cleaner_start(void)
{
    errno = detached_thread_start(run_cleaner, NULL);
    return errno == 0 ? 0 : -1;
}

void upload_cleaner_stop(void)
{
    if (directory_has(upload_records_directory(), RUN_UPLOADS_STOP)) {
        clean(true);
    }
}
