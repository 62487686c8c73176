/*
 * Orders to a job's terminal, and the answers to them.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include "procd/runner/job_peers.h"
#include "procd/runner/terminal.h"
#include "procd/wire/protocol.h"

/* Does what an opened WRITE or RESIZE of the peer at `index` says, and answers. A peer that cannot
 * be answered is closed. */
void terminal_take_write(struct terminal *terminal, const struct incoming *order,
                         struct job_peers *peers, int index);
void terminal_take_resize(struct terminal *terminal, const struct incoming *order,
                          struct job_peers *peers, int index);

/* There may be room for input again: tells the peers that wait for it. */
void terminal_offer_room(struct terminal *terminal, struct job_peers *peers);
