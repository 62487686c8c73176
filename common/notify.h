/*
 * Reports to a service manager that this daemon serves: systemd's Type=notify. The protocol, one
 * datagram, is stable (sd_notify(3)), so there is no need of a library.
 */
#pragma once

/*
 * Connects to the socket that NOTIFY_SOCKET names, if it is set, and removes the variable, so that
 * no command can report in our name. Logs what is wrong with it. Call once, before threads and
 * children.
 */
void notify_open(void);

/* Reports that this daemon serves; does nothing without NOTIFY_SOCKET. Thread-safe, once. */
void notify_ready(void);
