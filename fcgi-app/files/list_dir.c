/*
 * POST /list_dir, and GET /files of a directory. A directory may have millions of names: they are
 * sorted in memory and wait in a spool while they are sent.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/name_list.h"
#include "common/spool.h"
#include "fcgi-app/files/file_entry.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/list_dir.h"
#include "fcgi-app/files/name_text.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/query.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/http/writer.h"

#define NAMES_MEMORY (64 << 10) /* for the names of a directory while they are sent */
#define LISTINGS_MAX 4          /* directories that are being read */

/* Seconds. A directory that is no disk's may take any time. */
#define LISTING_PATIENCE 10

/* Of a large directory all names are in memory while it is read, so not many are at once. */
static sem_t listings;

static void init_listings(void)
{
    (void)sem_init(&listings, 0, LISTINGS_MAX);
}

/* False when there was no room for so long that others must be stuck. */
static bool enter_listing(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct timespec deadline;
    (void)pthread_once(&once, init_listings);
    (void)clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += LISTING_PATIENCE;
    return sem_clockwait(&listings, CLOCK_MONOTONIC, &deadline) == 0;
}

/* ---- what is asked for ---- */

struct listing {
    const char *path;
    bool has_details;
    uint64_t limit;                         /* of names; UINT64_MAX: none */
    char after[NAME_MAX + 1];               /* the cursor: names behind this one */
    int (*status_of)(enum api_error error); /* of an answer that is an error */

    int directory;       /* for the details; -1: none are wanted */
    struct spool *names; /* those that are sent, each with its NUL */
    bool is_cut;         /* there are more */
};

static void listing_clear(struct listing *listing)
{
    close_fd(&listing->directory);
    spool_free(listing->names);
}

/* 0, or -1 for a cursor that is none of ours. */
static int read_cursor(struct listing *listing, const char *cursor)
{
    size_t length = 0;
    while (cursor != NULL && *cursor != '\0') {
        char byte = percent_decode(&cursor);
        if (length == NAME_MAX || byte == '\0' || byte == '/') {
            return -1;
        }
        listing->after[length++] = byte;
    }
    listing->after[length] = '\0';
    return 0;
}

/* ---- reading ---- */

/* Keeps those names that are wanted in a spool: a client that takes its time with those of a large
 * directory holds no memory. 0, or -1 with errno. */
static int keep_names(struct listing *listing, const struct name_list *names)
{
    listing->names = spool_new(spools_directory(), NAMES_MEMORY);
    if (listing->names == NULL) {
        return -1;
    }
    uint64_t kept = 0;
    for (size_t i = 0; i < names->count; i++) {
        const char *name = name_list_at(names, i);
        if (strcmp(name, listing->after) <= 0) {
            continue;
        }
        if (kept++ == listing->limit) {
            listing->is_cut = true;
            break;
        }
        if (spool_write(listing->names, name, strlen(name) + 1) != 0) {
            return -1;
        }
    }
    return 0;
}

/* 0, or -1 when an error has been answered. */
static int list_names(struct request *request, struct listing *listing)
{
    struct fs_error error;
    cleanup_(name_list_clear) struct name_list names = {.text = NULL};
    int *directory = listing->has_details ? &listing->directory : NULL;
    if (fs_list(listing->path, &names, directory, &error) != 0) {
        answer_error(request, listing->status_of(error.code), error.code, "%s", error.message);
        return -1;
    }
    if (keep_names(listing, &names) != 0) {
        answer_error(request, 500, api_error_of_errno(errno),
                     "The names cannot be kept until they are sent: %s", error_text(errno));
        return -1;
    }
    return 0;
}

/* ---- sending ---- */

/* The details of a name; nothing if it has gone meanwhile. Whether there was something. */
static bool write_details(struct writer *writer, const struct listing *listing,
                          struct owner_names *owners, const char *name, bool is_first)
{
    struct stat status;
    bool is_seen = fstatat(listing->directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (!is_seen && errno == ENOENT) {
        return false;
    }
    const struct file_entry entry = {.name = name,
                                     .name_length = strlen(name),
                                     .status = &status,
                                     .directory = listing->directory,
                                     .link = is_seen && S_ISLNK(status.st_mode) ? name : NULL};
    (void)writer_string(writer, is_first ? "{" : ",{");
    if (is_seen) {
        (void)file_entry_write(writer, owners, &entry);
    } else { /* the directory may be read and not entered */
        (void)name_text_write(writer, "name", name, strlen(name));
    }
    (void)writer_string(writer, "}");
    return true;
}

static bool write_name(struct writer *writer, const char *name, bool is_first)
{
    (void)writer_string(writer, is_first ? "\"" : ",\"");
    (void)writer_text(writer, name, strlen(name));
    (void)writer_string(writer, "\"");
    return true;
}

/* Where to go on: the last name, escaped. */
static void write_cursor(struct writer *writer, const struct listing *listing, const char *last)
{
    char escaped[3 * NAME_MAX];
    (void)writer_string(writer, listing->is_cut ? ",\"truncated\":true" : ",\"truncated\":false");
    if (listing->is_cut) {
        (void)writer_string(writer, ",\"next_cursor\":\"");
        (void)writer_raw(writer, escaped, name_text_escape(escaped, last, strnlen(last, NAME_MAX)));
        (void)writer_string(writer, "\"");
    }
}

static void write_entries(struct request *request, const struct listing *listing)
{
    const char *names = spool_view(listing->names);
    if (names == NULL) {
        answer_error(request, 500, ERROR_internal, "The names cannot be read: %s",
                     error_text(errno));
        return;
    }
    char buffer[16384];
    struct owner_names owners = {.is_filled = false};
    struct writer writer = writer_over(request, buffer, sizeof(buffer), 200);
    (void)writer_string(&writer, "{\"entries\":[");
    const char *end = names + spool_size(listing->names), *last = "";
    bool is_first = true;
    for (const char *name = names, *seen = names; name < end && !writer.failed;) {
        bool wrote = listing->has_details ? write_details(&writer, listing, &owners, name, is_first)
                                          : write_name(&writer, name, is_first);
        is_first = is_first && !wrote;
        last = name;
        name += strlen(name) + 1;
        if (name - seen > NAMES_MEMORY) {
            spool_relax_view(listing->names);
            seen = name;
        }
    }
    (void)writer_string(&writer, "]");
    if (listing->limit < UINT64_MAX) {
        write_cursor(&writer, listing, last);
    }
    (void)writer_string(&writer, "}");
    (void)writer_finish(&writer);
}

static void answer_listing(struct request *request, struct listing *listing)
{
    if (!enter_listing()) {
        answer_error(request, 503, ERROR_unavailable, "Too many directories are being listed");
        return;
    }
    int listed = list_names(request, listing);
    (void)sem_post(&listings);
    if (listed == 0) {
        write_entries(request, listing);
    }
}

void list_dir_answer(struct request *request, const char *path,
                     int (*status_of)(enum api_error error))
{
    cleanup_(listing_clear) struct listing listing = {
        .path = path, .limit = UINT64_MAX, .status_of = status_of, .directory = -1};
    answer_listing(request, &listing);
}

/* As published clients expect it. */
static int status_of_success(enum api_error error)
{
    (void)error;
    return 200;
}

static void handle_list_dir(struct request *request, const struct json_body *body)
{
    cleanup_(listing_clear) struct listing listing = {.path = requested_path(body),
                                                      .has_details = json_flag(body, "details"),
                                                      .limit =
                                                          json_count(body, "limit", UINT64_MAX),
                                                      .status_of = status_of_success,
                                                      .directory = -1};
    if (listing.limit == 0 || read_cursor(&listing, json_text(body, "cursor")) != 0) {
        answer_error(request, 400, ERROR_invalid_request,
                     listing.limit == 0 ? "limit must be at least 1"
                                        : "cursor is none of this call");
        return;
    }
    answer_listing(request, &listing);
}

static const struct json_member list_members[] = {
    {JSON_MEMBER("path", TEXT, "The directory."), .required = true},
    {JSON_MEMBER("details", FLAG, "Describe each entry as stat_file does, and follow no links.")},
    {JSON_MEMBER("limit", COUNT, "So many entries at most.")},
    {JSON_MEMBER("cursor", TEXT, "The next_cursor of the answer before.")},
};
const struct endpoint list_dir_endpoint = {
    API_ROW(list_dir),
    .about = "Lists the names in a directory, sorted.",
    MEMBERS(list_members),
    .handle = handle_list_dir,
};
