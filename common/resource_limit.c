#include "common/resource_limit.h"

#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/logger.h"

static const struct {
    const char *name;
    __rlimit_resource_t resource;
} table[RESOURCE_LIMITS] = {{"RLIMIT_FSIZE", RLIMIT_FSIZE},
                            {"RLIMIT_CPU", RLIMIT_CPU},
                            {"RLIMIT_AS", RLIMIT_AS},
                            {"RLIMIT_DATA", RLIMIT_DATA}};

static void lift_limit(const char *name, __rlimit_resource_t resource, struct rlimit now)
{
    const struct rlimit none = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    if (now.rlim_cur == RLIM_INFINITY || setrlimit(resource, &none) == 0) {
        return;
    }
    now.rlim_cur = now.rlim_max;
    if (setrlimit(resource, &now) < 0) {
        log_at(LOG_WARNING, "%s: %m", name);
    } else if (now.rlim_max != RLIM_INFINITY) {
        log_at(LOG_WARNING, "%s: the server runs with the hard limit %ju that it has inherited",
               name, (uintmax_t)now.rlim_max);
    }
}

void resource_limits_lift(struct resource_limit inherited[RESOURCE_LIMITS])
{
    for (size_t i = 0; i < RESOURCE_LIMITS; i++) {
        struct rlimit now = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
        (void)getrlimit(table[i].resource, &now); /* fails for unknown ones only */
        if (inherited != NULL) {
            inherited[i] = (struct resource_limit){table[i].resource, now};
        }
        lift_limit(table[i].name, table[i].resource, now);
    }
    (void)signal(SIGXFSZ, SIG_IGN);
}

const char *resource_limits_format(const struct resource_limit limits[RESOURCE_LIMITS],
                                   char text[RESOURCE_LIMITS_SIZE])
{
    int length = 0;
    for (size_t i = 0; i < RESOURCE_LIMITS; i++) {
        length +=
            snprintf(text + length, RESOURCE_LIMITS_SIZE - (size_t)length, "%ju:%ju,",
                     (uintmax_t)limits[i].value.rlim_cur, (uintmax_t)limits[i].value.rlim_max);
    }
    return text;
}

/* Parses a number and the `end` behind it. What follows, or NULL. */
static const char *parse_limit(const char *text, char end, rlim_t *value)
{
    char *after;
    *value = (rlim_t)strtoumax(text, &after, 10);
    return after == text || *after != end ? NULL : after + 1;
}

int resource_limits_parse(const char *text, struct resource_limit limits[RESOURCE_LIMITS])
{
    for (size_t i = 0; i < RESOURCE_LIMITS; i++) {
        limits[i].resource = table[i].resource;
        text = parse_limit(text, ':', &limits[i].value.rlim_cur);
        text = text == NULL ? NULL : parse_limit(text, ',', &limits[i].value.rlim_max);
        if (text == NULL) {
            return -1;
        }
    }
    return *text == '\0' ? 0 : -1;
}
