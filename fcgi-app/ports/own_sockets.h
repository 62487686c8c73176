/*
 * Which of the sockets that listen are a command's (SANDBOX_PORTS=own).
 */
#pragma once

#include "fcgi-app/ports/listening.h"

/* Leaves only those that a process of a command has open. procd is asked, which may take some
 * milliseconds. If it does not answer, or memory is out, the list becomes empty: 0, or -1. */
int own_sockets_keep(struct listening_list *list);
