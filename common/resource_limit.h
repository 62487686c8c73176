/*
 * Limits (setrlimit(2)) that the server has inherited and that would end a daemon in the middle of
 * its work: the size of a file, which a log reaches, CPU time, and memory. They are for commands; a
 * daemon lifts its own.
 *
 * Not thread-safe.
 */
#pragma once

#include <stddef.h>
#include <sys/resource.h>

#define RESOURCE_LIMITS 4

struct resource_limit {
    __rlimit_resource_t resource;
    struct rlimit value;
};

/*
 * Lifts the limits as far as this process may: the soft ones to the hard ones, and with
 * CAP_SYS_RESOURCE both to none. Beyond a size of files that remains write(2) fails with EFBIG and
 * no signal comes: SIGXFSZ is ignored, also after exec. `inherited`, unless it is NULL, gets the
 * limits as they were.
 */
void resource_limits_lift(struct resource_limit inherited[RESOURCE_LIMITS]);

/* Renders "soft:hard,..." in the order of the table, for a command line, and parses it: 0, or -1
 * for another text. */
#define RESOURCE_LIMITS_SIZE ((size_t)RESOURCE_LIMITS * 44)
const char *resource_limits_format(const struct resource_limit limits[RESOURCE_LIMITS],
                                   char text[RESOURCE_LIMITS_SIZE]);
int resource_limits_parse(const char *text, struct resource_limit limits[RESOURCE_LIMITS]);
