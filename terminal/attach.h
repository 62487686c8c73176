/*
 * /attach: a terminal over a WebSocket (docs/terminals.md).
 */
#pragma once

#include <stdint.h>

#include "terminal/service.h"

/* The code of a close frame: the process has ended. */
#define ATTACH_ENDED 4000

/* Remembers how many may be attached at once (0: any number), and begins to watch. 0, or -1 with
 * errno. Call once, after loop_open() and procd_client_init(). */
int attach_start(uint64_t attached_most);

extern const struct service attach_service;
