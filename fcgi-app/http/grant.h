/*
 * A grant lets a request in that has no token: for one kind of thing, one method and one target
 * with its parameters, until it expires. Handlers say what is granted. nginx signs it, because the
 * key is nginx's alone, and makes the answer; it also checks the grant later (nginx/grant.js).
 */
#pragma once

#include <stdint.h>

struct json_body;
struct request;

struct grant {
    const char *kind;    /* of grant.js */
    const char *method;  /* GET, which includes HEAD, PUT or DELETE */
    const char *target;  /* a path below the prefix and its parameters, as a client will send them:
                            printable ASCII that JSON needs not escape, with ? or & at its end */
    uint64_t expires_ms; /* since 1970 */
};

/* Remembers how long a grant may live (0: none is made). Call once, before threads. */
void grant_init(uint64_t lifetime_most_ms);

/* How long a grant lives for which the request names no time, unless none may live so long. */
#define GRANT_LINK_MS   UINT64_C(3600000)
#define GRANT_TICKET_MS UINT64_C(60000)

/*
 * When a grant expires that the request asks for, in milliseconds since 1970: by the member
 * "expires_in_ms", or in `usual_ms`. 0: the request has been answered.
 */
uint64_t grant_expiry(struct request *request, const struct json_body *body, uint64_t usual_ms);

/* Longer targets do not fit the first line of a request that nginx takes, with a prefix, a host's
 * gateway and the grant itself. */
#define GRANT_TARGET_MOST 7000

/* Answers by a location of nginx that signs it: with {"path", "expires_at"} for a link, or
 * {"ticket", "protocol", "expires_at"}. */
void grant_answer(struct request *request, const struct grant *grant, const char *location);
#define GRANT_LINK   "@nginx_sandbox_signed"
#define GRANT_TICKET "@nginx_sandbox_ticket"
