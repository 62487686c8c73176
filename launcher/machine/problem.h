/*
 * The output of `nginx-sandbox check`: a line for each problem, and below it what to do.
 */
#pragma once

#include <stdbool.h>

/* Print to standard output, with the arguments of printf(3). Not thread-safe. */
#define problem(...) (problem_count++, problem_print("- ", __VA_ARGS__))
#define remedy(...)  problem_print("    ", __VA_ARGS__)

__attribute__((format(printf, 2, 3))) void problem_print(const char *before, const char *format,
                                                         ...);

/* How many problems there were. */
extern unsigned problem_count;

/* Whether systemd runs this machine. */
bool machine_has_systemd(void);

/* The command that makes nginx read its configuration again. */
const char *nginx_reload_command(void);
