#include "fcgi-app/changes/name_set.h"

#include <stdlib.h>

#define FREE_SLOT  0U
#define LEFT_SLOT  1U /* of a name that was removed */
#define FIRST_HASH 2U
#define FIRST_SIZE 16
#define SLOTS_MOST ((size_t)1 << 20) /* of a directory; more names are not remembered */
#define LOOKS_MOST 32                /* at slots, for one name: nobody can make a set slow */

static uint32_t hash_name(const char *name)
{
    uint32_t hash = 2166136261U; /* FNV-1a */
    for (; *name != '\0'; name++) {
        hash = (hash ^ (unsigned char)*name) * 16777619U;
    }
    return hash < FIRST_HASH ? hash + FIRST_HASH : hash;
}

/* The slot of the hash; NULL if it has none. */
static uint32_t *find_slot(const struct name_set *set, uint32_t hash)
{
    for (size_t i = 0; set->capacity > 0 && i < LOOKS_MOST; i++) {
        uint32_t *slot = &set->slots[(hash + i) & (set->capacity - 1)];
        if (*slot == hash) {
            return slot;
        }
        if (*slot == FREE_SLOT) {
            return NULL;
        }
    }
    return NULL;
}

/* Whether there was a slot for it. */
static bool put_hash(struct name_set *set, uint32_t hash)
{
    for (size_t i = 0; i < LOOKS_MOST && i < set->capacity; i++) {
        uint32_t *slot = &set->slots[(hash + i) & (set->capacity - 1)];
        if (*slot < FIRST_HASH) {
            set->used += *slot == FREE_SLOT;
            *slot = hash;
            return true;
        }
    }
    return false;
}

static size_t count_names(const struct name_set *set)
{
    size_t count = 0;
    for (size_t i = 0; i < set->capacity; i++) {
        count += set->slots[i] >= FIRST_HASH;
    }
    return count;
}

/* Frees the slots of removed names, and makes the set larger where there are few of them. If it
 * cannot, the set is used to the full. */
static void make_slots(struct name_set *set)
{
    struct name_set other = {.capacity = set->capacity == 0 ? FIRST_SIZE : set->capacity};
    if (count_names(set) > other.capacity / 4) {
        other.capacity *= 2;
    }
    other.slots = other.capacity > SLOTS_MOST ? NULL : calloc(other.capacity, sizeof(*set->slots));
    if (other.slots == NULL) {
        return;
    }
    for (size_t i = 0; i < set->capacity; i++) {
        if (set->slots[i] >= FIRST_HASH) {
            (void)put_hash(&other, set->slots[i]);
        }
    }
    free(set->slots);
    *set = other;
}

void name_set_add(struct name_set *set, const char *name)
{
    uint32_t hash = hash_name(name);
    if (find_slot(set, hash) != NULL) {
        return;
    }
    if (set->used >= set->capacity / 2) {
        make_slots(set);
    }
    (void)put_hash(set, hash);
}

void name_set_remove(struct name_set *set, const char *name)
{
    uint32_t *slot = find_slot(set, hash_name(name));
    if (slot != NULL) {
        *slot = LEFT_SLOT;
    }
}

bool name_set_has(const struct name_set *set, const char *name)
{
    return find_slot(set, hash_name(name)) != NULL;
}

void name_set_clear(struct name_set *set)
{
    free(set->slots);
    *set = (struct name_set){.slots = NULL};
}
