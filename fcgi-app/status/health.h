/*
 * GET /health: what can be said about the server without doing anything.
 */
#ifndef FCGI_APP_STATUS_HEALTH_H
#define FCGI_APP_STATUS_HEALTH_H

/* Remembers the directory of the jobs' records and logs (borrowed descriptor), whose file system is
 * looked at. Call once, before threads. */
void health_init(int state_directory);

#endif
