#include "launcher/start/old_uploads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/name_list.h"
#include "common/run_files.h"

#define ID_LENGTH 32
#define OLD       ".old" /* fcgi-app/uploads/upload_record.h */
#define NAME_SIZE (ID_LENGTH + sizeof(OLD))

/* Whether it is the record of an upload that went on; other records need nothing. */
static bool is_record(const char *name)
{
    const char *rest = name + ID_LENGTH;
    return strspn(name, "0123456789abcdef") == ID_LENGTH &&
           (*rest == '\0' || strcmp(rest, OLD) == 0);
}

static int open_directory_of(int run, const char *name)
{
    return openat(run, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int list_records(int directory, struct name_list *names)
{
    cleanup_directory DIR *entries = directory_list(directory);
    if (entries == NULL) {
        return -1;
    }
    for (const char *name; (name = directory_next(entries)) != NULL;) {
        if (is_record(name) && name_list_add(names, name) != 0) {
            return -1;
        }
    }
    return errno == 0 ? 0 : -1;
}

static int move_records(int from, int to, const struct name_list *names)
{
    for (size_t i = 0; i < names->count; i++) {
        char name[NAME_SIZE];
        const char *record = name_list_at(names, i);
        (void)snprintf(name, sizeof(name), "%.*s" OLD, ID_LENGTH, record);
        if (renameat(from, record, to, name) != 0 && errno != ENOENT) {
            return -1;
        }
    }
    return 0;
}

int old_uploads_save(int run)
{
    cleanup_(name_list_clear) struct name_list names = {.text = NULL};
    cleanup_fd int uploads = open_directory_of(run, RUN_UPLOADS);
    if (uploads < 0) {
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
    }
    if (list_records(uploads, &names) != 0 ||
        (names.count > 0 && mkdirat(run, OLD_UPLOADS, 0700) != 0 && errno != EEXIST)) {
        return -1;
    }
    if (names.count == 0) {
        return 0;
    }
    cleanup_fd int old = open_directory_of(run, OLD_UPLOADS);
    return old < 0 ? -1 : move_records(uploads, old, &names);
}

int old_uploads_give_back(int run)
{
    cleanup_(name_list_clear) struct name_list names = {.text = NULL};
    cleanup_fd int old = open_directory_of(run, OLD_UPLOADS);
    if (old < 0) {
        return errno == ENOENT ? 0 : -1;
    }
    cleanup_fd int uploads = open_directory_of(run, RUN_UPLOADS);
    return uploads < 0 || list_records(old, &names) != 0 ||
                   move_records(old, uploads, &names) != 0 ||
                   unlinkat(run, OLD_UPLOADS, AT_REMOVEDIR) != 0
               ? -1
               : 0;
}
