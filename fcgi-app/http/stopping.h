/* Whether this process is stopping. */
#pragma once

#include <stdbool.h>

/* Call once, before threads. 0, or -1 with errno. */
int stopping_init(void);

/* From now on the process is stopping, and every stop_fd() is readable. */
void stopping_begin(void);

/* The server is stopping: what waits or streams should say so and end. Thread-safe, as the next. */
bool is_stopping(void);

/* A descriptor for poll(2) that is readable once the server is stopping; -1 before
 * stopping_init(). */
int stopping_fd(void);
