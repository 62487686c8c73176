/*
 * The bearer token: where it comes from, and the salted digest of it that nginx compares with. The
 * token itself is wiped from memory and the environment as soon as the digest is there.
 */
#ifndef LAUNCHER_SECRET_H
#define LAUNCHER_SECRET_H

#include <stdbool.h>

/* What nginx's secure_link module wants: base64url(md5(salt + "Bearer " + token)). NUL-terminated.
 */
struct secret_digest {
    char salt[23];
    char digest[23];
};

/*
 * Takes the token from SANDBOX_SECRET or SANDBOX_SECRET_FILE and removes both from the environment.
 * With neither set and `generate` a new one is made and printed once. 0, or -1 after one line to
 * standard error that names the variable. Call before threads.
 */
int secret_take(struct secret_digest *digest, bool generate);

#endif
