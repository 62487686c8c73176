/*
 * Telling a service manager that this daemon serves: systemd's Type=notify, by the protocol that
 * sd_notify(3) documents as stable. One datagram is all of it, which is no reason for a library.
 */
#ifndef COMMON_NOTIFY_H
#define COMMON_NOTIFY_H

/*
 * Connects to whom NOTIFY_SOCKET names, if it is set, and removes the variable, so that no command
 * speaks in our name. What is wrong with it is logged. Call once, before threads and children.
 */
void notify_open(void);

/* Says that we serve; nothing when nobody asked. Thread-safe, once. */
void notify_ready(void);

#endif
