/*
 * The header Prefer (RFC 7240): what a client would like of the way its request is handled.
 *
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>

/* Whether the value of a Prefer header, "" if there is none, says handling=strict. Of several
 * preferences with one name the first counts. */
bool prefers_strict_handling(const char *prefer);

/* The line by which an answer says that it was done. */
#define PREFERENCE_APPLIED_STRICT "Preference-Applied: handling=strict\r\n"
