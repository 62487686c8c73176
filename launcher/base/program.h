/*
 * Runs another program and reads its output, or a function in a child.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Runs arguments[0] (searched in PATH) without input and waits for it. `words` (may be NULL) gets
 * the first size - 1 bytes of its standard output and error, NUL-terminated. Returns its exit
 * status, 127 when it cannot be executed; -1 with errno when a signal ended it or it was not
 * started. A signal that ends the server (stop_signal.h) ends it, too.
 */
int program_run_vector(char *words, size_t size, const char *const arguments[]);

/* The same, with the arguments one by one. */
#define program_run(words, size, ...)                                                              \
    program_run_vector(words, size, (const char *const[]){__VA_ARGS__, NULL})

/*
 * Calls a function in a child, if a process can call it only once or cannot undo it. Returns what
 * it returned, at most 255; -1 with errno as above.
 */
int program_call(int (*function)(const void *argument), const void *argument);

/* Whether systemctl(1) says yes about the unit: `question` is is-active or is-enabled. */
bool program_unit_is(const char *question, const char *unit);
