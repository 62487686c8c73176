/*
 * Theory of operation: each socket that is asked about has an entry, sorted by its inode. Entries
 * that are wanted when a walk begins are sought by it, and known when it ends: the process, or that
 * there is none. Who asks meanwhile about others waits for the next walk.
 */
#include "procd/daemon/socket_owners.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "procd/daemon/loop.h"
#include "procd/daemon/registered_job.h"
#include "procd/daemon/sweep.h"
#include "procd/process/process_table.h"
#include "procd/process/socket_walk.h"

#define OWNERS_MAX ((size_t)8192) /* that are kept */
#define NOBODY_MS  2000           /* so long nobody has a socket that nobody had */

enum owner_state { OWNER_WANTED, OWNER_SOUGHT, OWNER_KNOWN };

struct owner {
    uint32_t inode;
    enum owner_state state;
    pid_t pid; /* 0: nobody's */
    int fd;
    int64_t known_at; /* clock_monotonic_ms() */
    char job[JOB_ID_SIZE];
};

static void do_step(void);

static struct {
    struct owner *all; /* sorted */
    size_t count;
    size_t sought; /* of them, that the walk has not found yet */
    struct socket_walk walk;
    bool walks;
    struct timer timer;
    pid_t runner; /* the last one whose job was asked for, and its id */
    char job[JOB_ID_SIZE];
    TAILQ_HEAD(, socket_lookup) lookups;
} owners = {.timer = {.due = do_step}, .lookups = TAILQ_HEAD_INITIALIZER(owners.lookups)};

/* ---- what is known ---- */

static int compare_owners(const void *left, const void *right)
{
    const struct owner *a = left, *b = right;
    return a->inode < b->inode ? -1 : a->inode > b->inode;
}

static struct owner *find_owner(uint32_t inode)
{
    struct owner wanted = {.inode = inode};
    return owners.count == 0
               ? NULL
               : bsearch(&wanted, owners.all, owners.count, sizeof(wanted), compare_owners);
}

/* Whether what is known of a socket still holds. */
static bool still_holds(const struct owner *owner)
{
    return owner->pid != 0 ? socket_is_open(owner->inode, owner->pid, owner->fd)
                           : clock_monotonic_ms() - owner->known_at < NOBODY_MS;
}

/* Room for `more` entries: what was known goes when there are too many. 0, or -1 with errno. */
static int make_owner_room(size_t more)
{
    if (owners.count + more > OWNERS_MAX && TAILQ_EMPTY(&owners.lookups)) {
        owners.count = 0;
    }
    if (owners.count + more == 0) {
        return 0; /* reallocarray(3) would free what there is */
    }
    struct owner *larger = reallocarray(owners.all, owners.count + more, sizeof(*larger));
    if (larger == NULL) {
        return -1;
    }
    owners.all = larger;
    return 0;
}

/* Makes an entry for each of the sockets, or has one that holds no more be looked for again. 0, or
 * -1 with errno. */
static int want_all(const struct socket_lookup *lookup)
{
    if (make_owner_room(lookup->count) < 0) {
        return -1;
    }
    size_t before = owners.count, end = before;
    for (size_t i = 0; i < lookup->count; i++) {
        struct owner *owner = find_owner(lookup->inodes[i]);
        if (owner == NULL) {
            owners.all[end++] = (struct owner){.inode = lookup->inodes[i]};
        } else if (owner->state == OWNER_KNOWN && !still_holds(owner)) {
            owner->state = OWNER_WANTED;
        }
    }
    owners.count = end;
    if (end > before) {
        qsort(owners.all, end, sizeof(*owners.all), compare_owners);
    }
    return 0;
}

static bool is_known(const struct socket_lookup *lookup)
{
    for (size_t i = 0; i < lookup->count; i++) {
        const struct owner *owner = find_owner(lookup->inodes[i]);
        if (owner == NULL || owner->state != OWNER_KNOWN) {
            return false;
        }
    }
    return true;
}

/* ---- the walk ---- */

/* The process at the other end of the socket to a running job's runner, or the runner that an ended
 * one has left. */
static pid_t runner_of(const struct registered_job *job)
{
    struct ucred peer = {.pid = 0};
    socklen_t size = sizeof(peer);
    if (job->state == REGISTERED_ENDED) {
        return job->ending.runner;
    }
    return job->runner.fd >= 0 &&
                   getsockopt(job->runner.fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0
               ? peer.pid
               : 0;
}

/* The id of the job that the runner has or had; "" when it has a foreground command. */
static const char *job_of(pid_t runner)
{
    if (runner != owners.runner) {
        owners.runner = runner;
        owners.job[0] = '\0';
        for (size_t i = registered_jobs.count; i > 0 && owners.job[0] == '\0'; i--) {
            const struct registered_job *job = registered_jobs.all[i - 1];
            if (runner_of(job) == runner) {
                memcpy(owners.job, job->record.id, sizeof(owners.job));
            }
        }
    }
    return owners.job;
}

static bool note_socket(uint32_t inode, pid_t pid, int fd, pid_t runner)
{
    struct owner *owner = find_owner(inode);
    if (owner != NULL && owner->state == OWNER_SOUGHT) {
        owner->state = OWNER_KNOWN;
        owner->pid = pid;
        owner->fd = fd;
        memcpy(owner->job, job_of(runner), sizeof(owner->job));
        owners.sought--;
    }
    return owners.sought > 0;
}

/* Calls back who waits for nothing more; with !is_whole all. */
static void finish_lookups(bool is_whole)
{
    struct socket_lookup *next;
    for (struct socket_lookup *lookup = TAILQ_FIRST(&owners.lookups); lookup != NULL;
         lookup = next) {
        next = TAILQ_NEXT(lookup, entry);
        if (!is_whole || is_known(lookup)) {
            TAILQ_REMOVE(&owners.lookups, lookup, entry);
            lookup->waits = false;
            lookup->done(lookup, is_whole);
        }
    }
}

static void end_walk(bool is_whole)
{
    int64_t now = clock_monotonic_ms();
    for (size_t i = 0; i < owners.count; i++) {
        struct owner *owner = &owners.all[i];
        if (owner->state == OWNER_SOUGHT) {
            owner->state = is_whole ? OWNER_KNOWN : OWNER_WANTED;
            owner->pid = 0;
            owner->known_at = now;
        }
    }
    socket_walk_clear(&owners.walk);
    owners.walks = false;
    finish_lookups(is_whole);
    if (!TAILQ_EMPTY(&owners.lookups)) {
        loop_call_at(&owners.timer, now);
    }
}

/* 0, or -1 with errno. */
static int begin_walk(void)
{
    cleanup_(pid_list_clear) struct pid_list runners = {0};
    if (sweep_list_runners(&runners) < 0 || socket_walk_begin(&owners.walk, &runners) < 0) {
        return -1;
    }
    owners.walks = true;
    owners.runner = 0;
    owners.sought = 0;
    for (size_t i = 0; i < owners.count; i++) {
        if (owners.all[i].state == OWNER_WANTED) {
            owners.all[i].state = OWNER_SOUGHT;
            owners.sought++;
        }
    }
    return 0;
}

static void do_step(void)
{
    if (!owners.walks && (TAILQ_EMPTY(&owners.lookups) || begin_walk() < 0)) {
        finish_lookups(false);
        return;
    }
    int more = socket_walk_step(&owners.walk, note_socket);
    if (more > 0) {
        loop_call_at(&owners.timer, clock_monotonic_ms());
        return;
    }
    if (more < 0) {
        log_line("cannot look for the owners of sockets: %m");
    }
    end_walk(more == 0);
}

/* ---- the questions ---- */

static int read_inodes(struct socket_lookup *lookup, const struct incoming *request)
{
    struct field field = {0};
    lookup->inodes = calloc(SOCKET_LOOKUP_MAX, sizeof(*lookup->inodes));
    if (lookup->inodes == NULL) {
        return -1;
    }
    while (message_next(request, &field)) {
        if (field.tag == FIELD_INODE && lookup->count < SOCKET_LOOKUP_MAX) {
            lookup->inodes[lookup->count++] = (uint32_t)field.number;
        }
    }
    return 0;
}

int socket_owners_look(struct socket_lookup *lookup, const struct incoming *request)
{
    lookup->count = 0;
    if (read_inodes(lookup, request) < 0 || want_all(lookup) < 0) {
        socket_owners_forget(lookup);
        return -1;
    }
    if (is_known(lookup)) {
        return 1;
    }
    lookup->waits = true;
    TAILQ_INSERT_TAIL(&owners.lookups, lookup, entry);
    loop_call_at(&owners.timer, clock_monotonic_ms());
    return 0;
}

void socket_owners_describe(const struct socket_lookup *lookup, struct message *message)
{
    for (size_t i = 0; i < lookup->count; i++) {
        const struct owner *owner = find_owner(lookup->inodes[i]);
        char name[32] = "";
        if (owner == NULL || owner->state != OWNER_KNOWN || owner->pid == 0) {
            continue;
        }
        (void)process_file_read(owner->pid, "comm", name, sizeof(name));
        name[strcspn(name, "\n")] = '\0';
        message_add_number(message, FIELD_INODE, owner->inode);
        message_add_number(message, FIELD_PID, owner->pid);
        message_add_text(message, FIELD_LEFT_NAME, name);
        if (owner->job[0] != '\0') {
            message_add_text(message, FIELD_ID, owner->job);
        }
    }
}

void socket_owners_forget(struct socket_lookup *lookup)
{
    if (lookup->waits) {
        TAILQ_REMOVE(&owners.lookups, lookup, entry);
        lookup->waits = false;
    }
    free(lookup->inodes);
    lookup->inodes = NULL;
    lookup->count = 0;
}
