#include "fcgi-app/processes/known_list.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-app/http/writer.h"
#include "procd/wire/client.h"
#include "procd/wire/job_changes.h"

static atomic_uint_least64_t ends;

static struct {
    pthread_mutex_t lock;
    struct list_moment moment;
    char *data; /* NULL: nothing is known */
    size_t length;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct list_moment known_list_now(void)
{
    return (struct list_moment){.changes = job_changes_counted(), .ends = atomic_load(&ends)};
}

void known_list_forget(void)
{
    atomic_fetch_add(&ends, 1);
}

void known_list_keep(struct list_moment moment, const char *data, size_t length)
{
    pthread_mutex_lock(&known.lock);
    char *copy = realloc(known.data, length);
    if (copy != NULL) {
        known.data = memcpy(copy, data, length);
        known.length = length;
        known.moment = moment;
    }
    pthread_mutex_unlock(&known.lock);
}

bool known_list_write(struct writer *writer)
{
    struct list_moment now = known_list_now();
    bool is_known = false;
    if (!procd_is_connected()) {
        return false;
    }
    pthread_mutex_lock(&known.lock);
    if (known.data != NULL && known.moment.changes == now.changes &&
        known.moment.ends == now.ends) {
        (void)writer_raw(writer, known.data, known.length);
        is_known = true;
    }
    pthread_mutex_unlock(&known.lock);
    return is_known;
}
