/*
 * POST /list_dir, and GET /files of a directory. A directory may have millions of names: they are
 * sorted in memory and wait in a spool while they are sent.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/name_list.h"
#include "common/spool.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/list_dir.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
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

/* The names, each with its NUL, in a spool: a client that takes its time with those of a large
 * directory holds no memory. NULL with errno. */
static struct spool *keep_names(const struct name_list *names)
{
    cleanup_(spool_freep) struct spool *spool = spool_new(spools_directory(), NAMES_MEMORY);
    if (spool == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < names->count; i++) {
        const char *name = name_list_at(names, i);
        if (spool_write(spool, name, strlen(name) + 1) != 0) {
            return NULL;
        }
    }
    return steal_pointer(spool);
}

static void write_entries(struct request *request, struct spool *spool)
{
    const char *names = spool_view(spool);
    if (names == NULL) {
        answer_error(request, 500, ERROR_internal, "The names cannot be read: %s",
                     error_text(errno));
        return;
    }
    char buffer[16384];
    struct writer writer = writer_over(request, buffer, sizeof(buffer), 200);
    (void)writer_string(&writer, "{\"entries\":[");
    const char *end = names + spool_size(spool);
    for (const char *name = names, *seen = names; name < end && !writer.failed;) {
        size_t length = strlen(name);
        (void)writer_string(&writer, name > names ? ",\"" : "\"");
        (void)writer_text(&writer, name, length);
        (void)writer_string(&writer, "\"");
        name += length + 1;
        if (name - seen > NAMES_MEMORY) {
            spool_relax_view(spool);
            seen = name;
        }
    }
    (void)writer_string(&writer, "]}");
    (void)writer_finish(&writer);
}

/* Answers what fails. NULL then. */
static struct spool *list_names(struct request *request, const char *path,
                                int (*status_of)(enum api_error error))
{
    struct fs_error error;
    cleanup_(name_list_clear) struct name_list names = {.text = NULL};
    if (fs_list(path, &names, &error) != 0) {
        answer_error(request, status_of(error.code), error.code, "%s", error.message);
        return NULL;
    }
    struct spool *spool = keep_names(&names);
    if (spool == NULL) {
        answer_error(request, 500, api_error_of_errno(errno),
                     "The names cannot be kept until they are sent: %s", error_text(errno));
    }
    return spool;
}

void list_dir_answer(struct request *request, const char *path,
                     int (*status_of)(enum api_error error))
{
    if (!enter_listing()) {
        answer_error(request, 503, ERROR_unavailable, "Too many directories are being listed");
        return;
    }
    cleanup_(spool_freep) struct spool *names = list_names(request, path, status_of);
    (void)sem_post(&listings);
    if (names != NULL) {
        write_entries(request, names);
    }
}

/* As published clients expect it. */
static int status_of_success(enum api_error error)
{
    (void)error;
    return 200;
}

static void handle_list_dir(struct request *request, const struct json_body *body)
{
    list_dir_answer(request, requested_path(body), status_of_success);
}

static const struct json_member list_members[] = {
    {JSON_MEMBER("path", TEXT, "The directory."), .required = true},
};
const struct endpoint list_dir_endpoint = {
    API_ROW(list_dir),
    .about = "Lists the names in a directory, sorted.",
    MEMBERS(list_members),
    .handle = handle_list_dir,
};
