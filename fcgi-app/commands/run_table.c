/*
 * All writes to the table, and the queue of slots, are under one lock, which is held for a few
 * copies of memory. A slot's state is written last, so that what a killed fcgi-app leaves behind is
 * whole, or no entry.
 */
#include "fcgi-app/commands/run_table.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/run_files.h"
#include "common/shell_quote.h"

#define ELLIPSIS     "\xe2\x80\xa6"
#define KILL_WAIT_MS 12000 /* a runner gives up on a tree after 10 s */
#define KILL_LOOK_MS 20

struct slot {
    _Atomic uint32_t state; /* enum run_state */
    uint32_t streams;
    uint64_t serial;       /* the number of the beginning */
    uint64_t ended_serial; /* the number of the end */
    uint64_t started_at, ended_at;
    int64_t pid;
    uint32_t is_known; /* the numbers of the ending are */
    int32_t code, signal, reason;
    uint64_t duration_ms, cpu_user_ms, cpu_system_ms, max_rss_kb;
    char request_id[REQUEST_ID_SIZE];
    char command[RUN_COMMAND_SIZE];
};

struct header {
    char magic[8];
    uint32_t slot_size, count;
    uint32_t instance; /* of the table: ids of another one are unknown here */
    uint32_t unused;
    uint64_t serial, ended_serial; /* the last that were given */
};

struct file {
    struct header header;
    struct slot slots[];
};

static const char magic[8] = "nxsruns1";

/* What the table is to this process. */
static struct {
    pthread_mutex_t lock;
    struct file *file;
    unsigned count; /* of slots */
    unsigned *free; /* slots that have never been used, or none; a stack */
    unsigned free_count;
    unsigned *ended; /* slots of those that have ended, the oldest first; a ring */
    unsigned ended_first, ended_count;
    int *leases;     /* by slot: -1 where there is none */
    bool *is_killed; /* by slot: somebody has ordered it */
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- opening ---- */

static size_t file_size(unsigned count)
{
    return sizeof(struct file) + count * sizeof(struct slot);
}

/* Whether the file is a table of this size, as this program writes it. */
static bool is_our_table(const struct file *file, unsigned count)
{
    return memcmp(file->header.magic, magic, sizeof(magic)) == 0 &&
           file->header.slot_size == sizeof(struct slot) && file->header.count == count;
}

static void make_empty(struct file *file, unsigned count)
{
    memset(file, 0, file_size(count));
    memcpy(file->header.magic, magic, sizeof(magic));
    file->header.slot_size = sizeof(struct slot);
    file->header.count = count;
    file->header.instance = (uint32_t)(clock_date_ns() / 1000);
}

/* The file's memory, or MAP_FAILED with errno. */
static void *map_file(const char *run_directory, size_t size)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/" RUN_RUNS, run_directory) >= (int)sizeof(path)) {
        errno = ENAMETOOLONG;
        return MAP_FAILED;
    }
    cleanup_fd int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    /* A page that the disk has no room for would be a SIGBUS later. */
    int error = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)size);
    if (error != 0) {
        errno = error;
        return MAP_FAILED;
    }
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static int by_end(const void *left, const void *right)
{
    uint64_t one = table.file->slots[*(const unsigned *)left].ended_serial;
    uint64_t other = table.file->slots[*(const unsigned *)right].ended_serial;
    return one < other ? -1 : one > other;
}

static void put_ended(unsigned slot)
{
    table.ended[(table.ended_first + table.ended_count++) % table.count] = slot;
}

static void write_slot_end(struct slot *slot, enum run_state state, const struct ending *ending)
{
    slot->ended_at = clock_date_ns();
    slot->ended_serial = ++table.file->header.ended_serial;
    slot->is_known = !ending->lost;
    slot->code = ending->code;
    slot->signal = ending->signal;
    slot->reason = (int32_t)ending->reason;
    slot->duration_ms = ending->duration_ms;
    slot->cpu_user_ms = ending->cpu_user_ms;
    slot->cpu_system_ms = ending->cpu_system_ms;
    slot->max_rss_kb = ending->max_rss_kb;
    atomic_store(&slot->state, (uint32_t)state);
}

/* Puts all slots in their places. */
static void take_slots(void)
{
    static const struct ending lost = {.lost = true, .code = -1, .reason = END_LOST};
    for (unsigned i = table.count; i-- > 0;) {
        struct slot *slot = &table.file->slots[i];
        table.leases[i] = -1;
        if (atomic_load(&slot->state) == RUN_STATE_RUNNING) {
            write_slot_end(slot, RUN_STATE_LOST, &lost);
        }
        uint32_t state = atomic_load(&slot->state);
        if (state == RUN_STATE_NONE || state >= RUN_STATES) {
            table.free[table.free_count++] = i;
        } else {
            put_ended(i);
        }
    }
    qsort(table.ended, table.ended_count, sizeof(table.ended[0]), by_end);
}

int run_table_open(const char *run_directory, uint64_t runs_max)
{
    bool is_bounded = runs_max != 0 && runs_max < RUNS_SHOWN_MOST;
    unsigned count = RUNS_KEPT + (is_bounded ? (unsigned)runs_max : RUNS_SHOWN_MOST);
    size_t size = file_size(count);
    void *memory = map_file(run_directory, size);
    if (memory == MAP_FAILED) {
        log_at(LOG_WARNING, "%s/" RUN_RUNS ": %m", run_directory);
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    }
    if (memory == MAP_FAILED) {
        return -1;
    }
    table.file = memory;
    table.count = count;
    table.free = calloc(count, sizeof(table.free[0]));
    table.ended = calloc(count, sizeof(table.ended[0]));
    table.leases = calloc(count, sizeof(table.leases[0]));
    table.is_killed = calloc(count, sizeof(table.is_killed[0]));
    if (table.free == NULL || table.ended == NULL || table.leases == NULL ||
        table.is_killed == NULL) {
        return -1;
    }
    if (!is_our_table(table.file, count)) {
        make_empty(table.file, count);
    }
    take_slots();
    return 0;
}

/* ---- one command ---- */

/* Takes a slot: while few have ended, one without an entry. False when all are taken by commands
 * that run. */
static bool take_slot(unsigned *slot)
{
    if (table.free_count > 0 && table.ended_count < RUNS_KEPT) {
        *slot = table.free[--table.free_count];
        return true;
    }
    if (table.ended_count > 0) {
        *slot = table.ended[table.ended_first];
        table.ended_first = (table.ended_first + 1) % table.count;
        table.ended_count--;
        return true;
    }
    return false;
}

/* `text`, cut at the end of a character if it fills the room. */
static void cut_command(char text[RUN_COMMAND_SIZE], size_t used)
{
    if (used >= RUN_COMMAND_SIZE) {
        size_t cut = RUN_COMMAND_SIZE - sizeof(ELLIPSIS);
        while (cut > 0 && ((unsigned char)text[cut] & 0xc0) == 0x80) {
            cut--;
        }
        memcpy(text + cut, ELLIPSIS, sizeof(ELLIPSIS));
    } else {
        text[used] = '\0';
    }
}

static void show_command(const struct command *command, char text[RUN_COMMAND_SIZE])
{
    size_t used = 0;
    if (command->cmd != NULL) {
        used = strnlen(command->cmd, RUN_COMMAND_SIZE);
        memcpy(text, command->cmd, used);
    }
    for (size_t i = 0; i < command->argc && used < RUN_COMMAND_SIZE; i++) {
        used = shell_quote_append(text, used, RUN_COMMAND_SIZE, command->argv[i]);
    }
    cut_command(text, used);
}

void run_note_begin(struct run_note *note, const struct command *command, bool streams,
                    const struct foreground *foreground)
{
    uint64_t now = clock_date_ns();
    pthread_mutex_lock(&table.lock);
    note->held = table.file != NULL && take_slot(&note->slot);
    if (note->held) {
        struct slot *slot = &table.file->slots[note->slot];
        atomic_store(&slot->state, (uint32_t)RUN_STATE_NONE);
        slot->streams = streams;
        slot->serial = ++table.file->header.serial;
        slot->ended_serial = 0;
        slot->started_at = now;
        slot->ended_at = 0;
        slot->pid = foreground->pid;
        slot->is_known = 0;
        (void)snprintf(slot->request_id, sizeof(slot->request_id), "%s", command->request_id);
        show_command(command, slot->command);
        table.leases[note->slot] = foreground->lease;
        table.is_killed[note->slot] = false;
        atomic_store(&slot->state, (uint32_t)RUN_STATE_RUNNING);
    }
    pthread_mutex_unlock(&table.lock);
}

void run_note_end(struct run_note *note, enum run_state state, const struct ending *ending)
{
    if (note->held) {
        note->held = false;
        pthread_mutex_lock(&table.lock);
        table.leases[note->slot] = -1;
        write_slot_end(&table.file->slots[note->slot], state, ending);
        put_ended(note->slot);
        pthread_mutex_unlock(&table.lock);
    }
}

/* ---- reading ---- */

static enum run_state state_of(const struct slot *slot)
{
    uint32_t state = atomic_load(&slot->state);
    return state < RUN_STATES ? (enum run_state)state : RUN_STATE_NONE;
}

static void copy_slot(const struct slot *slot, struct run_entry *entry)
{
    *entry = (struct run_entry){.state = state_of(slot),
                                .streams = slot->streams != 0,
                                .pid = (pid_t)slot->pid,
                                .started_at = slot->started_at,
                                .ended_at = slot->ended_at,
                                .order = slot->serial,
                                .ended_order = slot->ended_serial,
                                .ending = {.lost = slot->is_known == 0,
                                           .code = slot->code,
                                           .signal = slot->signal,
                                           .reason = end_reason_of(slot->reason),
                                           .duration_ms = slot->duration_ms,
                                           .cpu_user_ms = slot->cpu_user_ms,
                                           .cpu_system_ms = slot->cpu_system_ms,
                                           .max_rss_kb = slot->max_rss_kb}};
    (void)snprintf(entry->id, sizeof(entry->id), "%08" PRIx32 "-%" PRIu64,
                   table.file->header.instance, slot->serial);
    memcpy(entry->request_id, slot->request_id, sizeof(entry->request_id) - 1);
    memcpy(entry->command, slot->command, sizeof(entry->command) - 1);
}

static int by_beginning(const void *left, const void *right)
{
    uint64_t one = ((const struct run_entry *)left)->order;
    uint64_t other = ((const struct run_entry *)right)->order;
    return one < other ? -1 : one > other;
}

/* The end before which what has ended is not listed any more. */
static uint64_t first_end(void)
{
    uint64_t last = table.file->header.ended_serial;
    return last < RUNS_KEPT ? 0 : last - RUNS_KEPT + 1;
}

int run_table_copy(struct run_entry **entries, size_t *count)
{
    *count = 0;
    *entries = calloc(table.count, sizeof(**entries));
    if (*entries == NULL) {
        return -1;
    }
    pthread_mutex_lock(&table.lock);
    uint64_t first = first_end();
    for (unsigned i = 0; i < table.count; i++) {
        const struct slot *slot = &table.file->slots[i];
        enum run_state state = state_of(slot);
        if (state == RUN_STATE_RUNNING ||
            (state != RUN_STATE_NONE && slot->ended_serial >= first)) {
            copy_slot(slot, &(*entries)[(*count)++]);
        }
    }
    pthread_mutex_unlock(&table.lock);
    qsort(*entries, *count, sizeof(**entries), by_beginning);
    return 0;
}

/* ---- killing ---- */

/* Copies the entry with this id. Its slot, or the number of slots when there is none. Call it with
 * the lock held. */
static unsigned find_run(const char *id, struct run_entry *entry)
{
    const char *dash = strchr(id, '-');
    uint64_t serial = dash == NULL ? 0 : strtoull(dash + 1, NULL, 10);
    for (unsigned i = 0; serial != 0 && i < table.count; i++) {
        if (table.file->slots[i].serial == serial && state_of(&table.file->slots[i]) != 0) {
            copy_slot(&table.file->slots[i], entry);
            return strcmp(entry->id, id) == 0 ? i : table.count;
        }
    }
    return table.count;
}

/* Sends the order, with the lock held. A descriptor of the lease, on which the end is reported, or
 * -1 with errno. */
static int order_kill(unsigned slot)
{
    cleanup_fd int lease = fcntl(table.leases[slot], F_DUPFD_CLOEXEC, 0);
    if (lease < 0 || foreground_kill(lease) < 0) {
        return -1;
    }
    table.is_killed[slot] = true;
    return steal_fd(&lease);
}

/* What there is to see of a command after the order. */
static enum run_kill look_at_killed(const char *id, int lease, struct run_entry *entry)
{
    pthread_mutex_lock(&table.lock);
    bool is_there = find_run(id, entry) < table.count;
    pthread_mutex_unlock(&table.lock);
    if (!is_there) {
        return RUN_KILL_DONE; /* so many have ended since */
    }
    if (entry->state == RUN_STATE_RUNNING) {
        struct ending ending;
        if (!foreground_peek_ending(lease, &ending)) {
            return RUN_KILL_UNFINISHED;
        }
        entry->state = RUN_STATE_ENDED; /* the thread that pumps it writes to a slow client */
        entry->ending = ending;
    }
    return entry->state == RUN_STATE_ENDED && entry->ending.reason == END_KILLED
               ? RUN_KILL_DONE
               : RUN_KILL_HAS_ENDED;
}

/* Whether an order did not go because the lease is shut: the command is being ended. */
static bool is_shut(int error)
{
    return error == EPIPE || error == ECONNRESET || error == ENOTCONN;
}

enum run_kill run_table_kill(const char *id, struct run_entry *entry)
{
    int64_t deadline = clock_monotonic_ms() + KILL_WAIT_MS;
    cleanup_fd int lease = -1;
    pthread_mutex_lock(&table.lock);
    unsigned slot = find_run(id, entry);
    bool is_found = slot < table.count;
    bool is_first = is_found && entry->state == RUN_STATE_RUNNING && !table.is_killed[slot];
    if (is_first) {
        lease = order_kill(slot);
    }
    int error = errno;
    pthread_mutex_unlock(&table.lock);
    if (!is_found) {
        return RUN_KILL_NOT_FOUND;
    }
    if (!is_first || (lease < 0 && is_shut(error))) {
        return RUN_KILL_HAS_ENDED;
    }
    if (lease < 0) {
        errno = error;
        return RUN_KILL_FAILED;
    }
    enum run_kill result = RUN_KILL_UNFINISHED;
    while (result == RUN_KILL_UNFINISHED && clock_monotonic_ms() < deadline) {
        struct pollfd ended = {.fd = lease, .events = POLLIN};
        (void)poll(&ended, 1, KILL_LOOK_MS);
        result = look_at_killed(id, lease, entry);
    }
    return result;
}
