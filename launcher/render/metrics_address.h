/*
 * SANDBOX_METRICS_LISTEN: where Prometheus may ask without a token. Nowhere, unless the operator
 * names an address and a port.
 */
#pragma once

#include "launcher/render/listen_address.h"

#define METRICS_VARIABLE "SANDBOX_METRICS_LISTEN"

/* Reads the setting, "127.0.0.1:3032" or "[::1]:3032"; without one the size of the address is 0. 0,
 * or -1 after one line to standard error. */
int metrics_address_read(struct listen_address *address, const struct variables *from);
