#include "fcgi-app/ports/shared_ports.h"

#include "fcgi-app/ports/shares.h"

int port_list_mark_shared(struct port_list *list)
{
    struct share shares[SHARES_MOST];
    int count = shares_now(shares);
    for (size_t i = 0; i < list->count; i++) {
        list->entries[i].is_shared = false;
        for (int j = 0; j < count; j++) {
            list->entries[i].is_shared |= shares[j].port == list->entries[i].socket.port;
        }
    }
    return count < 0 ? -1 : 0;
}
