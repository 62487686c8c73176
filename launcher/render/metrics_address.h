/*
 * SANDBOX_METRICS_LISTEN: where Prometheus may ask without a token. Nowhere, unless the operator
 * names an address and a port.
 */
#ifndef LAUNCHER_RENDER_METRICS_ADDRESS_H
#define LAUNCHER_RENDER_METRICS_ADDRESS_H

#include <stddef.h>

#include "common/settings.h"
#include "launcher/start/listener.h"

#define METRICS_VARIABLE "SANDBOX_METRICS_LISTEN"

/* An address as nginx takes it, 127.0.0.1:3032 or [::1]:3032; "" is nowhere. */
#define METRICS_ADDRESS_SIZE 64

/* Reads it from the environment. 0, or -1 with a line in `error` when it is no address. */
int metrics_address_read(char address[METRICS_ADDRESS_SIZE], char *error, size_t size);

/* The same for the server in the foreground. 0, or -1 after one line to standard error, also when
 * it is one of the other two ports. */
int metrics_address_take(char address[METRICS_ADDRESS_SIZE], const struct settings *settings);

/* The port of an address, 0 of "". */
unsigned metrics_address_port(const char *address);

/* Opens the socket of an address that was read, nothing for "". 0, or -1 after one line to standard
 * error. */
int metrics_address_open(const char *address, struct listeners *listeners);

#endif
