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

static bool has_socket(const struct listening_list *list, const struct listening_socket *socket)
{
    const struct listening_socket *end;
    const struct listening_socket *at = listening_find(list, socket->port, &end);
    while (at != NULL && at < end && at->inode != socket->inode) {
        at++;
    }
    return at != NULL && at < end;
}

bool own_sockets_foreign(unsigned port, const struct listening_list *before,
                         const struct listening_list *own)
{
    cleanup_(listening_clear) struct listening_list now;
    const struct listening_socket *end;
    if (before->count > SOCKET_OWNERS_MAX || listening_read(&now) < 0) {
        return false;
    }
    const struct listening_socket *at = listening_find(&now, port, &end);
    for (; at != NULL && at < end; at++) {
        if ((listening_at_loopback4(at) || listening_at_loopback6(at)) && has_socket(before, at) &&
            !has_socket(own, at)) {
            return true;
        }
    }
    return false;
}
