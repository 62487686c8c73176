/*
 * What `nginx-sandbox check` prints: for each problem a line, and below it what to do.
 */
#ifndef LAUNCHER_MACHINE_PROBLEM_H
#define LAUNCHER_MACHINE_PROBLEM_H

#include <stdbool.h>

/* Both with the arguments of printf(3), to standard output. Not thread-safe. */
__attribute__((format(printf, 1, 2))) void problem(const char *format, ...);
__attribute__((format(printf, 1, 2))) void remedy(const char *format, ...);

/* How many there were. */
unsigned problem_count(void);

/* Whether systemd runs this machine. */
bool machine_has_systemd(void);

/* The command that has nginx read its configuration again. */
const char *nginx_reload_command(void);

#endif
