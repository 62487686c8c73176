/* A port as clients read it. */
#pragma once

#include <stddef.h>

#include "fcgi-app/ports/port_table.h"

#define PORT_TEXT_SIZE ((size_t)640)

/* The object {"port", "address", "loopback", "pid", "command", "id", "since_at", "shared"}, with a
 * NUL. Its length. Thread-safe. */
size_t port_text(const struct port_entry *entry, char text[PORT_TEXT_SIZE]);
