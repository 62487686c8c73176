/*
 * A semaphore counts the rounds that are wanted.
 */
#include "procd/jobs/remover.h"

#include <errno.h>
#include <semaphore.h>
#include <stddef.h>

#include "common/cleanup.h"
#include "common/detached_thread.h"
#include "common/directory.h"
#include "common/logger.h"
#include "common/tree.h"

static struct {
    int directory;
    sem_t wanted; /* rounds */
} remover;

static void remove_all(void)
{
    cleanup_directory DIR *entries = directory_list(remover.directory);
    if (entries == NULL) {
        log_at(LOG_WARNING, "cannot list what is to be removed: %m");
        return;
    }
    for (const char *name; (name = directory_next(entries)) != NULL;) {
        if (tree_remove(remover.directory, name) < 0) {
            log_at(LOG_WARNING, "%s: cannot remove its files: %m", name);
        }
    }
}

static void *work(void *unused)
{
    for (;;) {
        if (sem_wait(&remover.wanted) == 0) { /* or a signal came */
            remove_all();
        }
    }
    return unused;
}

int remover_open(int directory)
{
    remover.directory = directory;
    if (sem_init(&remover.wanted, 0, 1) < 0) {
        return -1;
    }
    errno = detached_thread_start(work, NULL);
    return errno == 0 ? 0 : -1;
}

void remover_wake(void)
{
    (void)sem_post(&remover.wanted); /* EOVERFLOW: it has rounds enough */
}
