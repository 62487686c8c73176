#include "fcgi-app/uploads/upload_holders.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/clock.h"

#define SILENCE_MS  2000
#define PATIENCE_MS 5000 /* with one that is told to leave: its disk may be slow */
#define PAUSE_MS    10

static pthread_mutex_t holders_lock = PTHREAD_MUTEX_INITIALIZER;
static struct upload_holder *holders;

void upload_holder_enter(struct upload_holder *holder)
{
    (void)pthread_mutex_lock(&holders_lock);
    holder->silent_since = 0;
    holder->next = holders;
    holders = holder;
    (void)pthread_mutex_unlock(&holders_lock);
}

void upload_holder_leave(struct upload_holder *holder)
{
    (void)pthread_mutex_lock(&holders_lock);
    for (struct upload_holder **at = &holders; *at != NULL; at = &(*at)->next) {
        if (*at == holder) {
            *at = holder->next;
            break;
        }
    }
    (void)pthread_mutex_unlock(&holders_lock);
}

void upload_holder_waits(struct upload_holder *holder, bool waits)
{
    (void)pthread_mutex_lock(&holders_lock);
    holder->silent_since = waits ? clock_monotonic_ms() : 0;
    (void)pthread_mutex_unlock(&holders_lock);
}

/* Ends the body of the upload's holder. Whether there is one that may be told so. */
static bool tell_to_leave(const char *id, bool at_once)
{
    bool told = false;
    (void)pthread_mutex_lock(&holders_lock);
    for (struct upload_holder *holder = holders; holder != NULL; holder = holder->next) {
        bool is_silent =
            holder->silent_since != 0 && clock_monotonic_ms() - holder->silent_since >= SILENCE_MS;
        if (strcmp(holder->id, id) == 0 && (at_once || is_silent)) {
            (void)shutdown(holder->connection, SHUT_RD);
            told = true;
        }
    }
    (void)pthread_mutex_unlock(&holders_lock);
    return told;
}

int upload_holders_lock(const struct upload_record *record, bool at_once)
{
    static const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    int result = upload_record_lock(record);
    if (result == 0 || errno != EWOULDBLOCK || !tell_to_leave(record->id, at_once)) {
        return result;
    }
    for (int64_t end = clock_monotonic_ms() + PATIENCE_MS;
         result != 0 && errno == EWOULDBLOCK && clock_monotonic_ms() < end;) {
        (void)nanosleep(&pause, NULL);
        result = upload_record_lock(record);
    }
    return result;
}
