/*
 * A connection to a port of the sandbox (docs/terminals.md).
 */
#pragma once

#include "terminal/service.h"

/* The code of a close frame: the application has cut the connection. */
#define TCP_RESET 4001

extern const struct service tcp_service;
