/*
 * Which of the ports that listen are shared.
 */
#pragma once

#include "fcgi-app/ports/port_table.h"

/* Notes which ports of the list are shared now (shares.h). 0, or -1 with errno. Thread-safe. */
int port_list_mark_shared(struct port_list *list);
