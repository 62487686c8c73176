/*
 * The digest of a body that its client announces: Content-Digest or Repr-Digest with sha-256 (RFC
 * 9530). Other algorithms are ignored.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <sha2.h>

struct request;

struct body_digest {
    unsigned count; /* announced: 0, or one for each header */
    uint8_t announced[2][SHA256_DIGEST_LENGTH];
    SHA2_CTX sha256;
};

/* Reads the headers. NULL, or what is wrong with them. Thread-safe, as the others. */
const char *body_digest_begin(struct body_digest *digest, const struct request *request);

/* The next piece of the body. It costs nothing where no digest was announced. */
void body_digest_add(struct body_digest *digest, const void *data, size_t length);

/* The body is over: whether it is what was announced. */
bool body_digest_holds(struct body_digest *digest);
