/*
 * Names are merged by a hash table, so that the cost grows only linearly with the number of
 * variables.
 */
#include "procd/runner/environment.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/user.h"

/* Open addressing over pointers to entries; `mask` + 1 slots, at most half of them in use. */
struct names {
    const char **slots;
    size_t mask;
};

static size_t name_length(const char *entry)
{
    return strcspn(entry, "=");
}

/* FNV-1a (Fowler, Noll, Vo). */
static uint64_t hash(const char *name, size_t length)
{
    uint64_t value = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < length; i++) {
        value = (value ^ (unsigned char)name[i]) * UINT64_C(1099511628211);
    }
    return value;
}

/* Notes the entry's name. False if it was there already. */
static bool names_add(struct names *names, const char *entry)
{
    size_t length = name_length(entry);
    size_t slot = hash(entry, length) & names->mask;
    for (; names->slots[slot] != NULL; slot = (slot + 1) & names->mask) {
        const char *other = names->slots[slot];
        if (name_length(other) == length && memcmp(other, entry, length) == 0) {
            return false;
        }
    }
    names->slots[slot] = entry;
    return true;
}

/* All entries, ours first. */
static char **collect(const struct incoming *command, size_t *count)
{
    size_t total = 0;
    for (char **entry = environ; *entry != NULL; entry++) {
        total++;
    }
    size_t own = total;
    struct field field = {0};
    while (message_next(command, &field)) {
        total += field.tag == FIELD_ENV;
    }
    char **entries = calloc(total + 1, sizeof(*entries));
    if (entries == NULL) {
        return NULL;
    }
    memcpy(entries, environ, own * sizeof(*entries));
    *count = own;
    field = (struct field){0};
    while (message_next(command, &field)) {
        if (field.tag == FIELD_ENV) {
            entries[(*count)++] =
                (char *)(uintptr_t)field.text; /* execve(2) does not write to it */
        }
    }
    return entries;
}

char **environment_merge(const struct incoming *command)
{
    size_t count = 0;
    cleanup_free char **entries = collect(command, &count);
    if (entries == NULL) {
        return NULL;
    }
    size_t size = 16;
    while (size < count * 2) {
        size *= 2;
    }
    struct names names = {.slots = calloc(size, sizeof(*names.slots)), .mask = size - 1};
    if (names.slots == NULL) {
        return NULL;
    }
    /* From the last to the first: the first entry with a name keeps it. The kept entries gather at
     * the end. */
    size_t winner = count;
    for (size_t i = count; i-- > 0;) {
        if (names_add(&names, entries[i])) {
            entries[--winner] = entries[i];
        }
    }
    memmove(entries, entries + winner, (count - winner + 1) * sizeof(*entries));
    free(names.slots);
    return steal_pointer(entries);
}

static int set_or_unset(const char *name, const char *value)
{
    return value == NULL ? unsetenv(name) : setenv(name, value, 1);
}

int environment_adopt(const struct user *user)
{
    return set_or_unset("HOME", user->home) < 0 || set_or_unset("USER", user->name) < 0 ||
                   set_or_unset("LOGNAME", user->name) < 0 || set_or_unset("SHELL", user->shell) < 0
               ? -1
               : 0;
}

/* These decide how characters are read (locale(7)). Empty is unset. */
int environment_choose_locale(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != '\0') {
            return 0;
        }
    }
    return setenv("LANG", "C.UTF-8", 1);
}

static bool is_kept(const char *entry)
{
    static const char *const names[] = {"HOME", "USER", "LOGNAME", "SHELL",
                                        "PATH", "LANG", "TZ",      "TERM"};
    size_t length = name_length(entry);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i]) == length && memcmp(names[i], entry, length) == 0) {
            return true;
        }
    }
    return strncmp(entry, "LC_", 3) == 0;
}

void environment_restrict(void)
{
    char **kept = environ;
    for (char **entry = environ; *entry != NULL; entry++) {
        if (is_kept(*entry)) {
            *kept++ = *entry;
        }
    }
    *kept = NULL;
}
