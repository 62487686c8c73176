/*
 * POST /share_port and /unshare_port.
 */
#pragma once

#include <stdbool.h>

/* Remembers whether a port may be shared with everybody. Call once, before threads. */
void share_port_init(bool may_be_public);
