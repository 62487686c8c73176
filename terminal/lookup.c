#include "terminal/lookup.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "common/cleanup.h"
#include "common/detached_thread.h"
#include "terminal/loop.h"

TAILQ_HEAD(lookup_list, lookup);

static struct {
    pthread_mutex_t lock;
    pthread_cond_t is_asked;
    struct lookup_list asked; /* under the lock, as is the next one */
    struct lookup_list answered;
    LIST_HEAD(, lookup) under_way; /* the loop's own */
    void (*done)(struct lookup *lookup);
} lookups = {.lock = PTHREAD_MUTEX_INITIALIZER,
             .is_asked = PTHREAD_COND_INITIALIZER,
             .asked = TAILQ_HEAD_INITIALIZER(lookups.asked),
             .answered = TAILQ_HEAD_INITIALIZER(lookups.answered)};

/* ---- the thread ---- */

static struct lookup *await_question(void)
{
    (void)pthread_mutex_lock(&lookups.lock);
    while (TAILQ_EMPTY(&lookups.asked)) {
        (void)pthread_cond_wait(&lookups.is_asked, &lookups.lock);
    }
    struct lookup *lookup = TAILQ_FIRST(&lookups.asked);
    TAILQ_REMOVE(&lookups.asked, lookup, all);
    (void)pthread_mutex_unlock(&lookups.lock);
    return lookup;
}

__attribute__((noreturn)) static void *run_lookups(void *signal)
{
    const struct watched *answers = signal;
    for (;;) {
        enum job_status status;
        struct lookup *lookup = await_question();
        lookup->result = procd_attach(lookup->id, &lookup->directory, &lookup->runner, &status);
        (void)pthread_mutex_lock(&lookups.lock);
        TAILQ_INSERT_TAIL(&lookups.answered, lookup, all);
        (void)pthread_mutex_unlock(&lookups.lock);
        (void)eventfd_write(answers->fd, 1); /* fails only after 2^64 times */
    }
}

/* ---- the loop ---- */

static struct lookup *take_answer(void)
{
    (void)pthread_mutex_lock(&lookups.lock);
    struct lookup *lookup = TAILQ_FIRST(&lookups.answered);
    if (lookup != NULL) {
        TAILQ_REMOVE(&lookups.answered, lookup, all);
    }
    (void)pthread_mutex_unlock(&lookups.lock);
    return lookup;
}

static void answers_ready(struct watched *watched, uint32_t events)
{
    (void)events;
    eventfd_t count;
    (void)eventfd_read(watched->fd, &count);
    for (struct lookup *lookup; (lookup = take_answer()) != NULL;) {
        LIST_REMOVE(lookup, under_way);
        lookups.done(lookup);
        close_fd(&lookup->directory);
        close_fd(&lookup->runner);
        free(lookup);
    }
}

int lookups_start(void (*done)(struct lookup *lookup))
{
    static struct watched answers = {.ready = answers_ready};
    lookups.done = done;
    answers.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (answers.fd < 0 || loop_want(&answers, EPOLLIN) < 0) {
        return -1;
    }
    errno = detached_thread_start(run_lookups, &answers);
    return errno == 0 ? 0 : -1;
}

struct lookup *lookup_begin(const char *id)
{
    struct lookup *lookup;
    LIST_FOREACH (lookup, &lookups.under_way, under_way) {
        if (strcmp(lookup->id, id) == 0) {
            return lookup;
        }
    }
    lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL) {
        return NULL;
    }
    (void)snprintf(lookup->id, sizeof(lookup->id), "%s", id);
    LIST_INSERT_HEAD(&lookups.under_way, lookup, under_way);
    lookup->directory = lookup->runner = -1;
    (void)pthread_mutex_lock(&lookups.lock);
    TAILQ_INSERT_TAIL(&lookups.asked, lookup, all);
    (void)pthread_cond_signal(&lookups.is_asked);
    (void)pthread_mutex_unlock(&lookups.lock);
    return lookup;
}
