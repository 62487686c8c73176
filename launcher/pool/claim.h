/*
 * Pool mode (SANDBOX_AUTH_MODE=pool): a sandbox that was started without a secret belongs to the
 * first token that comes. The claim is the salted digest of that token, in the file
 * SANDBOX_SECRET_PATH, which is made once, whole, and outlives the server. Its mode is 0600; one
 * line:
 *
 *     1 SALT MD5 SHA256
 *
 * The key of grants follows from the last word, since the token is gone at the next start.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "launcher/secrets/secret.h"

#define AUTH_MODE_VARIABLE  "SANDBOX_AUTH_MODE"
#define CLAIM_PATH_VARIABLE "SANDBOX_SECRET_PATH"

/* The default place of the claim: beside the run directories of a machine's sandboxes, whose names
 * have no dot. */
#define CLAIM_DIRECTORY "/var/lib/nginx-sandbox"
#define CLAIM_PATH      CLAIM_DIRECTORY "/pool.claim"

struct claim {
    struct secret_salt salt;
    struct secret_digest digest;
};

/* Whether this value of AUTH_MODE_VARIABLE (NULL: unset or empty) asks for a server with secrets:
 * "secret", or "static" as other servers of this API call it. Thread-safe. */
bool claim_is_secret_mode(const char *mode);

/*
 * Reads the settings of the environment. 0: no pool mode; then `path` is "", and nothing else is
 * filled in. 1: pool mode; `path` is the file, and `secrets` has the one of the claim with its
 * salt, or none as long as nothing is claimed. -1 after one line to standard error: also for a
 * secret beside it, and for a file that is no claim.
 */
int claim_take(struct secret_salt *salt, struct secrets *secrets, char path[PATH_MAX]);

/* Checks that the file is not in the run directory, which it must outlive. 0, or -1 after one line
 * to standard error. */
int claim_check_place(const char *path, const char *run);

/* Reads the file. 1, 0 if there is no file, or -1 after one line to standard error. */
int claim_read(const char *path, struct claim *claim);

/* Makes the file, which is on the disk when this returns. 1, 0 if there is one already, which stays
 * as it is, or -1 after one line to standard error. */
int claim_write(const char *path, const struct claim *claim);
