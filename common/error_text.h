/*
 * The text of an errno, for answers. (The log has %m.)
 */
#pragma once

#include <string.h>

/* Valid until the thread's next call. Thread-safe, as the C library's is from glibc 2.32 on. */
static inline const char *error_text(int error)
{
    return strerror(error); /* NOLINT(concurrency-mt-unsafe): see above */
}
