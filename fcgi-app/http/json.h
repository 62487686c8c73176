/*
 * The strict JSON front. A request body is read whole into a spool; a large one lies in an unlinked
 * file, mapped, except content that can go to a file of its own (json_early.h). Our own scanner
 * checks it from the first byte to the last: RFC 8259, valid UTF-8, depth at most 1,000, nothing
 * after the object, no wanted member twice; a byte order mark before it is skipped. Only then are
 * the wanted members taken out. A lone surrogate (an escape of half a pair, which JavaScript makes
 * when it cuts a string) becomes U+FFFD in JSON_CONTENT, and is refused in every other member.
 * Nothing has been done when a request is refused.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "fcgi-app/http/json_body.h"

struct request;

#define JSON_IN_MEMORY (240 << 10)

/* Remembers the limit of a body in bytes (0: none), and how much of it is kept in memory before a
 * file is made (spools.h), usually JSON_IN_MEMORY. Call once, before threads. */
void json_init(uint64_t max_body, size_t in_memory);

/*
 * Reads and checks the request's body. On success the caller owns the result. On failure NULL: the
 * request has been answered (400 or 413, 415 for a body in a content coding, {"error": "..."} that
 * names what was wrong; 500 when it could not be kept) or its client has left. `flags`: enum
 * json_flags, or 0.
 */
struct json_body *json_read(struct request *request, const struct json_member *members,
                            size_t count, unsigned flags);
