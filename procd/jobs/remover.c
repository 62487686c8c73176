/*
 * A semaphore counts the rounds that are wanted.
 */
#include "procd/jobs/remover.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/logger.h"
#include "common/tree.h"

static struct {
    int directory;
    pthread_t thread;
    sem_t wanted; /* rounds */
    atomic_bool ending;
} remover;

static void remove_all(void)
{
    cleanup_directory DIR *entries = directory_list(remover.directory);
    if (entries == NULL) {
        log_at(LOG_WARNING, "cannot list what is to be removed: %m");
        return;
    }
    for (const char *name;
         !atomic_load(&remover.ending) && (name = directory_next(entries)) != NULL;) {
        if (tree_remove(remover.directory, name) < 0) {
            log_at(LOG_WARNING, "%s: cannot remove its files: %m", name);
        }
    }
}

static void *work(void *unused)
{
    while (!atomic_load(&remover.ending)) {
        if (sem_wait(&remover.wanted) == 0) { /* or a signal came */
            remove_all();
        }
    }
    return unused;
}

int remover_open(int directory)
{
    remover.directory = directory;
    atomic_store(&remover.ending, false);
    if (sem_init(&remover.wanted, 0, 1) < 0) {
        return -1;
    }
    int error = pthread_create(&remover.thread, NULL, work, NULL);
    if (error != 0) {
        (void)sem_destroy(&remover.wanted);
        errno = error;
        return -1;
    }
    return 0;
}

void remover_wake(void)
{
    (void)sem_post(&remover.wanted); /* EOVERFLOW: it has rounds enough */
}

void remover_close(void)
{
    atomic_store(&remover.ending, true);
    remover_wake();
    (void)pthread_join(remover.thread, NULL);
    (void)sem_destroy(&remover.wanted);
}
