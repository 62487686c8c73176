/*
 * GET /health: what can be said about the server without doing anything.
 */
#ifndef FCGI_APP_STATUS_HEALTH_H
#define FCGI_APP_STATUS_HEALTH_H

#include <cjson/cJSON.h>

/* Remembers the directory of the jobs' records and logs (borrowed descriptor), and the run
 * directory (borrowed), whose file systems are looked at. Call once, before threads. */
void health_init(int state_directory, const char *run_directory);

/* Adds a text to the member `warnings` of an answer. 0, or -1 when memory is out. */
int health_add_warning(cJSON *json, const char *text);

#endif
