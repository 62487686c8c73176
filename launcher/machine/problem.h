/*
 * The output of `nginx-sandbox check`: a line for each problem, and below it what to do.
 */
#pragma once

#include <stdbool.h>

/* Print to standard output, with the arguments of printf(3). Not thread-safe. */
__attribute__((format(printf, 1, 2))) void problem(const char *format, ...);
__attribute__((format(printf, 1, 2))) void remedy(const char *format, ...);

/* How many problems there were. */
unsigned problem_count(void);

/* Whether systemd runs this machine. */
bool machine_has_systemd(void);

/* The command that makes nginx read its configuration again. */
const char *nginx_reload_command(void);
