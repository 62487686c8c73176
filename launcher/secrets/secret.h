/*
 * The bearer tokens of a sandbox: where they come from, and the salted digests of them that nginx
 * compares with. A token itself is wiped from memory and the environment as soon as the digest is
 * there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "launcher/secrets/grant_key.h"

/* Secrets of one sandbox that are valid at once, while one replaces another. */
#define SECRETS_MOST 16

/* nginx takes a header line of at most 8 KiB (large_client_header_buffers). */
#define SECRET_MOST 4096 /* bytes */

#define SECRET_MADE 65 /* the size of a token that is made here, with its NUL */

/* 16 random bytes in base64url, NUL-terminated; for all digests of one configuration. */
struct secret_salt {
    char text[23];
};

/* base64url(hash(salt + "Bearer " + token)), NUL-terminated: as nginx's secure_link module and
 * nginx/token.js compute it. The token is without the spaces at its start, since HTTP cannot
 * distinguish them from those before it (nginx/snippets/http.conf, $nginx_sandbox_authorization).
 * */
struct secret_digest {
    char md5[23];
    char sha256[44];
    char grant_key[GRANT_KEY_SIZE]; /* of the token: it has no salt */
};

struct secrets {
    size_t count;
    struct secret_digest digests[SECRETS_MOST]; /* the current one first */
};

/* 0, or -1 after one line to standard error. */
int secret_make_salt(struct secret_salt *salt);

/* A new token: 32 random bytes in hexadecimal digits, NUL-terminated. 0 or -1, likewise. */
int secret_make(char secret[SECRET_MADE]);

/* Wipes and frees a text with a token in it, if there is one. For cleanup_(). */
void secret_forget(char **text);

/* Digests a token of at most SECRET_MOST bytes. */
void secret_digest(const struct secret_salt *salt, const char *secret,
                   struct secret_digest *digest);

/* Whether it is the digest of this token. It takes the same time wherever they differ. */
bool secret_matches(const struct secret_salt *salt, const struct secret_digest *digest,
                    const char *secret);

/*
 * The beginning of the first token of a text with one token a line, after a byte order mark and
 * empty lines; the end of the text if it has none. Thread-safe.
 */
const char *secret_first_line(const char *text);

/*
 * Takes the tokens, one a line, from SANDBOX_SECRET or SANDBOX_SECRET_FILE, and removes both from
 * the environment. If neither is set and `url` is not NULL, it makes a new one and prints it once,
 * in commands for a client of this URL. 0, or -1 after one line to standard error that names the
 * variable. Call before threads.
 */
int secret_take(const struct secret_salt *salt, struct secrets *secrets, const char *url);

/*
 * Reads a file of one token a line, which only its owner, root or we, may read. 0, or -1 after one
 * line to standard error.
 */
int secret_read_file(const struct secret_salt *salt, const char *path, struct secrets *secrets);
