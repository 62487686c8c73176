#include "fcgi-app/ports/port_table.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define LOOK_SHARE 10 /* who looks again and again takes one part in so many of a processor */

static struct {
    unsigned own[OWN_PORTS];
    bool only_own;
    pthread_mutex_t lock;
    /* under the lock */
    struct port_list list;
    uint64_t version;
    int64_t looked_at; /* clock_monotonic_ms(), 0: never */
    int64_t took_ms;   /* the last look: long where tens of thousands of sockets listen */
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

void port_list_clear(struct port_list *list)
{
    free(list->entries);
    *list = (struct port_list){0};
}

void port_table_init(const unsigned own_ports[OWN_PORTS], bool only_own)
{
    table.only_own = only_own;
    memcpy(table.own, own_ports, sizeof(table.own));
}

bool port_is_own(unsigned port)
{
    bool is_own = false;
    for (size_t i = 0; i < OWN_PORTS; i++) {
        is_own = is_own || (port != 0 && port == table.own[i]);
    }
    return is_own;
}

/* ---- a look ---- */

/* The entry for the sockets first[0..count) of one place: the old one if its socket is among them.
 */
static struct port_entry entry_of(const struct listening_socket *first, size_t count,
                                  const struct port_entry *old)
{
    for (size_t i = 0; i < count && old != NULL; i++) {
        if (first[i].inode == old->socket.inode) {
            return *old;
        }
    }
    return (struct port_entry){.socket = *first, .since = clock_date_ns()};
}

/* Makes the new entries of the sockets and of the old entries, both in order. *changed when they
 * are others. 0, or -1 with errno. */
static int merge(const struct listening_list *sockets, struct port_list *entries, bool *changed)
{
    size_t old = 0, kept = 0;
    for (size_t first = 0, end; first < sockets->count; first = end) {
        const struct listening_socket *socket = &sockets->sockets[first];
        for (end = first + 1;
             end < sockets->count && listening_compare(socket, &sockets->sockets[end]) == 0;
             end++) {
        }
        if (port_is_own(socket->port) || entries->count == PORT_ENTRIES_MAX) {
            continue;
        }
        while (old < table.list.count &&
               listening_compare(&table.list.entries[old].socket, socket) < 0) {
            old++;
        }
        bool is_there = old < table.list.count &&
                        listening_compare(&table.list.entries[old].socket, socket) == 0;
        if (ARRAY_RESERVE_ONE(entries->entries, entries->capacity, entries->count) < 0) {
            return -1;
        }
        struct port_entry entry =
            entry_of(socket, end - first, is_there ? &table.list.entries[old] : NULL);
        kept += is_there && entry.socket.inode == table.list.entries[old].socket.inode;
        entries->entries[entries->count++] = entry;
    }
    *changed = kept < table.list.count || kept < entries->count;
    return 0;
}

/* With the lock held. */
static int look_now(void)
{
    cleanup_(listening_clear) struct listening_list sockets;
    cleanup_(port_list_clear) struct port_list entries = {0};
    bool changed;
    int64_t began = clock_monotonic_ms();
    if (listening_read(&sockets) < 0 || merge(&sockets, &entries, &changed) < 0) {
        return -1;
    }
    if (changed) {
        struct port_list before = table.list;
        table.list = entries;
        entries = before;
        table.version++;
    }
    table.looked_at = clock_monotonic_ms();
    table.took_ms = table.looked_at - began;
    return 0;
}

int port_table_look(int max_age_ms)
{
    pthread_mutex_lock(&table.lock);
    int64_t least = max_age_ms > 0 ? LOOK_SHARE * table.took_ms : 0;
    int64_t age = clock_monotonic_ms() - table.looked_at;
    bool is_fresh = table.looked_at != 0 && (age < max_age_ms || age < least);
    int result = is_fresh ? 0 : look_now();
    pthread_mutex_unlock(&table.lock);
    return result;
}

/* ---- who listens ---- */

/* Sockets that procd was asked about, in the order of their ports, and its answer. */
struct question {
    uint32_t *inodes;
    size_t count;
    size_t next;                /* behind the last one that was answered */
    struct port_entry *answers; /* of each: pid, program and job */
};

static void question_clear(struct question *question)
{
    free(question->inodes);
    free(question->answers);
}

/* 0, or -1 with errno. */
static int make_question(struct question *question, bool all)
{
    pthread_mutex_lock(&table.lock);
    size_t most = table.list.count;
    *question = (struct question){.inodes = calloc(most + 1, sizeof(*question->inodes)),
                                  .answers = calloc(most + 1, sizeof(*question->answers))};
    bool has_room = question->inodes != NULL && question->answers != NULL;
    for (size_t i = 0; has_room && i < most; i++) {
        const struct port_entry *entry = &table.list.entries[i];
        if (all || !entry->is_known) {
            question->inodes[question->count++] = entry->socket.inode;
        }
    }
    pthread_mutex_unlock(&table.lock);
    return has_room ? 0 : -1;
}

/* procd answers in the order of the question. */
static void take_owner(void *context, const struct socket_owner *owner)
{
    struct question *question = context;
    size_t at = question->next;
    while (at < question->count && question->inodes[at] != owner->inode) {
        at++;
    }
    if (at < question->count) {
        struct port_entry *answer = &question->answers[at];
        answer->pid = owner->pid;
        (void)snprintf(answer->program, sizeof(answer->program), "%s", owner->name);
        (void)snprintf(answer->job_id, sizeof(answer->job_id), "%s",
                       owner->job_id == NULL ? "" : owner->job_id);
        question->next = at + 1;
    }
}

/* Whether the entry was another one. */
static bool note_answer(struct port_entry *entry, const struct port_entry *answer)
{
    bool is_same = entry->is_known && entry->pid == answer->pid &&
                   strcmp(entry->program, answer->program) == 0 &&
                   strcmp(entry->job_id, answer->job_id) == 0;
    entry->is_known = true;
    entry->pid = answer->pid;
    memcpy(entry->program, answer->program, sizeof(entry->program));
    memcpy(entry->job_id, answer->job_id, sizeof(entry->job_id));
    return !is_same;
}

/* Both are in the order of their ports; ports may have come and gone since the question. */
static void note_answers(const struct question *question)
{
    pthread_mutex_lock(&table.lock);
    bool changed = false;
    size_t next = 0;
    for (size_t i = 0; i < table.list.count; i++) {
        struct port_entry *entry = &table.list.entries[i];
        size_t at = next;
        while (at < question->count && question->inodes[at] != entry->socket.inode) {
            at++;
        }
        if (at < question->count) {
            next = at + 1;
            changed = note_answer(entry, &question->answers[at]) || changed;
        }
    }
    table.version += changed;
    pthread_mutex_unlock(&table.lock);
}

enum procd_result port_table_ask(bool all)
{
    cleanup_(question_clear) struct question question;
    if (make_question(&question, all) < 0) {
        return PROCD_UNREACHABLE;
    }
    if (question.count == 0) {
        return PROCD_DONE;
    }
    enum procd_result result =
        procd_socket_owners(question.inodes, question.count, take_owner, &question);
    if (result == PROCD_DONE) {
        note_answers(&question);
    }
    return result;
}

/* ---- what there is ---- */

static bool is_shown(const struct port_entry *entry)
{
    return entry->is_known && (entry->pid != 0 || !table.only_own);
}

int port_table_copy(struct port_list *list, uint64_t *version)
{
    *list = (struct port_list){0};
    pthread_mutex_lock(&table.lock);
    size_t count = table.list.count;
    list->entries = calloc(count + 1, sizeof(*list->entries));
    if (list->entries != NULL) {
        list->capacity = count + 1;
        for (size_t i = 0; i < count; i++) {
            if (is_shown(&table.list.entries[i])) {
                list->entries[list->count++] = table.list.entries[i];
            }
        }
        *version = table.version;
    }
    pthread_mutex_unlock(&table.lock);
    return list->entries == NULL ? -1 : 0;
}

uint64_t port_table_version(void)
{
    pthread_mutex_lock(&table.lock);
    uint64_t version = table.version;
    pthread_mutex_unlock(&table.lock);
    return version;
}

static bool is_among(uint32_t inode, const uint32_t *inodes, size_t count)
{
    size_t at = 0;
    while (at < count && inodes[at] != inode) {
        at++;
    }
    return at < count;
}

/* Whether a client is to see that something listens there; with *ask that depends on who it is. */
static bool find_listening(unsigned port, const uint32_t *but, size_t but_count, bool *ask)
{
    bool listens = false;
    *ask = false;
    pthread_mutex_lock(&table.lock);
    for (size_t i = 0; i < table.list.count; i++) {
        const struct port_entry *entry = &table.list.entries[i];
        if (entry->socket.port == port && !is_among(entry->socket.inode, but, but_count)) {
            listens = listens || !table.only_own || is_shown(entry);
            *ask = *ask || !entry->is_known;
        }
    }
    pthread_mutex_unlock(&table.lock);
    return listens;
}

bool port_table_listens(unsigned port, const uint32_t *but, size_t but_count)
{
    bool ask;
    return find_listening(port, but, but_count, &ask) ||
           (ask && port_table_ask(false) == PROCD_DONE &&
            find_listening(port, but, but_count, &ask));
}
