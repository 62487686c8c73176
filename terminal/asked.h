/*
 * What nginx says of a request: the headers of SCGI, as nginx/snippets/socket-pass.conf has them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct asked {
    const char *text; /* all of them, as they came */
    size_t length;
};

/* The value of a header, borrowed; "" if there is none. */
const char *asked_value(const struct asked *asked, const char *name);

/* Whether all of it has come. */
bool asked_is_whole(const struct asked *asked);
