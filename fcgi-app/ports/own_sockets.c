#include "fcgi-app/ports/own_sockets.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "procd/wire/client.h"

/* Sockets by their inodes, and whether each is a command's. */
struct marks {
    const uint32_t *inodes;
    bool *owned;
    size_t count;
};

static void mark_socket(void *context, const struct socket_owner *owner)
{
    struct marks *marks = context;
    for (size_t i = 0; i < marks->count; i++) {
        marks->owned[i] = marks->owned[i] || marks->inodes[i] == owner->inode;
    }
}

int own_sockets_keep(struct listening_list *list)
{
    size_t count = list->count < SOCKET_OWNERS_MAX ? list->count : SOCKET_OWNERS_MAX;
    list->count = 0;
    if (count == 0) {
        return 0;
    }
    cleanup_free uint32_t *inodes = calloc(count, sizeof(*inodes));
    cleanup_free bool *owned = calloc(count, sizeof(*owned));
    if (inodes == NULL || owned == NULL) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        inodes[i] = list->sockets[i].inode;
    }
    struct marks marks = {inodes, owned, count};
    if (procd_socket_owners(inodes, count, mark_socket, &marks) != PROCD_DONE) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (owned[i]) {
            list->sockets[list->count++] = list->sockets[i];
        }
    }
    return 0;
}
