#include "launcher/secrets/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <md5.h>
#include <sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "common/variables.h"
#include "launcher/base/file.h"
#include "launcher/secrets/base64url.h"

#define SECRET_VARIABLE "SANDBOX_SECRET"
#define FILE_VARIABLE   "SANDBOX_SECRET_FILE"

/* Before the token in the header Authorization. */
#define SCHEME "Bearer "

/* As many secrets as may be, with their line ends and marks. */
#define FILE_MOST ((size_t)SECRETS_MOST * (SECRET_MOST + 5))

static int random_bytes(uint8_t *data, size_t length)
{
    if (getrandom(data, length, 0) !=
        (ssize_t)length) { /* never short below 256 bytes: getrandom(2) */
        return log_failure("no random bytes: %m");
    }
    return 0;
}

/* Printed once, as lines for a client's shell. The caller frees. */
static char *generate_secret(const char *url)
{
    char *secret = malloc(SECRET_MADE);
    if (secret == NULL || secret_make(secret) < 0) {
        free(secret);
        return NULL;
    }
    (void)printf("nginx-sandbox: generated a secret; paste into another shell:\n"
                 "export SANDBOX_URL=%s SANDBOX_TOKEN=%s\n"
                 "curl $SANDBOX_URL/run -H \"Authorization: Bearer $SANDBOX_TOKEN\" "
                 "-d '{\"cmd\": \"uname -a\"}'\n",
                 url, secret);
    (void)fflush(stdout);
    return secret;
}

/* Checks that HTTP can carry the token from the source `name` in one header line: any bytes but
 * controls, and no space at its end. */
static int check_secret(const char *name, const char *secret)
{
    size_t length = strlen(secret);
    if (length > SECRET_MOST) {
        return log_failure("%s: longer than %d bytes", name, SECRET_MOST);
    }
    for (const char *at = secret; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            return log_failure("%s: holds a control character, which no HTTP header can carry",
                               name);
        }
    }
    return secret[length - 1] == ' ' ? log_failure("%s: ends in a space, which HTTP cuts off", name)
                                     : 0;
}

const char *secret_first_line(const char *text)
{
    for (;;) {
        if (strncmp(text, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0) {
            text += strlen(BYTE_ORDER_MARK);
        } else if (*text == '\n' || (*text == '\r' && (text[1] == '\n' || text[1] == '\0'))) {
            text++;
        } else {
            return text;
        }
    }
}

/* Digests the token on each line of `text`, which is changed; `name` is where it came from. */
static int read_lines(const struct secret_salt *salt, const char *name, char *text,
                      struct secrets *secrets)
{
    secrets->count = 0;
    for (char *rest; *(text += secret_first_line(text) - text) != '\0'; text = rest) {
        rest = text + strcspn(text, "\n");
        if (*rest == '\n') {
            *rest++ = '\0';
        }
        size_t length = strlen(text);
        if (text[length - 1] == '\r') {
            text[length - 1] = '\0';
        }
        if (secrets->count == SECRETS_MOST) {
            return log_failure("%s: holds more than %d secrets", name, SECRETS_MOST);
        }
        if (check_secret(name, text) < 0) {
            return -1;
        }
        secret_digest(salt, text, &secrets->digests[secrets->count++]);
    }
    if (secrets->count == 0) {
        return log_failure("%s: holds no secret", name);
    }
    return 0;
}

void secret_forget(char **text)
{
    if (*text != NULL) {
        explicit_bzero(*text, strlen(*text));
        free(*text);
        *text = NULL;
    }
}

int secret_make_salt(struct secret_salt *salt)
{
    uint8_t bytes[16];
    if (random_bytes(bytes, sizeof(bytes)) < 0) {
        return -1;
    }
    base64url(bytes, sizeof(bytes), salt->text);
    return 0;
}

int secret_make(char secret[SECRET_MADE])
{
    uint8_t bytes[SECRET_MADE / 2];
    if (random_bytes(bytes, sizeof(bytes)) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        (void)snprintf(secret + 2 * i, 3, "%02x", bytes[i]);
    }
    explicit_bzero(bytes, sizeof(bytes));
    return 0;
}

void secret_digest(const struct secret_salt *salt, const char *secret, struct secret_digest *result)
{
    char text[sizeof(salt->text) + sizeof(SCHEME) + SECRET_MOST];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    MD5_CTX md5;
    SHA2_CTX sha256;
    secret += strspn(secret, " "); /* in the header they belong to the space before the token */
    (void)snprintf(text, sizeof(text), "%s" SCHEME "%s", salt->text, secret);
    MD5Init(&md5);
    MD5Update(&md5, (const uint8_t *)text, strlen(text));
    MD5Final(digest, &md5);
    base64url(digest, MD5_DIGEST_LENGTH, result->md5);
    SHA256Init(&sha256);
    SHA256Update(&sha256, (const uint8_t *)text, strlen(text));
    SHA256Final(digest, &sha256);
    base64url(digest, SHA256_DIGEST_LENGTH, result->sha256);
    grant_key_derive(secret, result->grant_key);
    explicit_bzero(text, sizeof(text));
    explicit_bzero(&md5, sizeof(md5));
    explicit_bzero(&sha256, sizeof(sha256));
}

bool secret_matches(const struct secret_salt *salt, const struct secret_digest *digest,
                    const char *secret)
{
    struct secret_digest given;
    unsigned difference = 0;
    secret_digest(salt, secret, &given);
    for (size_t i = 0; i < sizeof(given.sha256); i++) {
        difference |= (unsigned char)given.sha256[i] ^ (unsigned char)digest->sha256[i];
    }
    return difference == 0;
}

static void report_unread(const char *prefix, const char *path)
{
    if (errno == EFBIG) {
        log_line("%s%s: is larger than %d secrets of %d bytes", prefix, path, SECRETS_MOST,
                 SECRET_MOST);
    } else {
        log_line("%s%s: %s", prefix, path, file_reason(errno));
    }
}

/* An empty variable counts as unset, and so does an empty file beside SANDBOX_SECRET:
 * docker-compose.yml always sets both. The caller frees; NULL after a line of error. */
static char *choose_secret(const char *url, const char **source)
{
    const char *value = variables_get(NULL, SECRET_VARIABLE);
    const char *path = variables_get(NULL, FILE_VARIABLE);
    cleanup_(secret_forget) char *content =
        path == NULL ? NULL : file_read(AT_FDCWD, path, FILE_MOST);
    *source = FILE_VARIABLE;
    if (path != NULL && content == NULL) {
        report_unread(FILE_VARIABLE ": ", path);
        return NULL;
    }
    if (content != NULL && *secret_first_line(content) != '\0') {
        if (value == NULL) {
            return steal_pointer(content);
        }
        log_line("set only one of " SECRET_VARIABLE " and " FILE_VARIABLE);
        return NULL;
    }
    *source = SECRET_VARIABLE;
    if (value != NULL) {
        return strdup(value);
    }
    if (path != NULL) {
        log_line(FILE_VARIABLE ": %s: is empty, and " SECRET_VARIABLE " is not set", path);
    } else if (url != NULL) {
        return generate_secret(url);
    } else {
        log_line(SECRET_VARIABLE
                 " is not set: it is the token that clients must send (or set " FILE_VARIABLE ")");
    }
    return NULL;
}

int secret_take(const struct secret_salt *salt, struct secrets *secrets, const char *url)
{
    const char *source = NULL;
    char *secret = choose_secret(url, &source);
    int result = -1;
    if (secret != NULL) {
        size_t length = strlen(secret);
        result = read_lines(salt, source, secret, secrets);
        explicit_bzero(secret, length);
        free(secret);
    }
    char *value = getenv(SECRET_VARIABLE);
    if (value != NULL) {
        explicit_bzero(value, strlen(value)); /* /proc/PID/environ shows this memory */
    }
    unsetenv(SECRET_VARIABLE);
    unsetenv(FILE_VARIABLE);
    return result;
}

/* Checks that only its owner may read it. */
static int check_private(const char *path)
{
    struct stat status;
    if (stat(path, &status) < 0) {
        return log_failure("%s: %m", path);
    }
    if (!S_ISREG(status.st_mode)) {
        return log_failure("%s: is not a regular file", path);
    }
    if ((status.st_uid != 0 && status.st_uid != geteuid()) || (status.st_mode & 077) != 0) {
        return log_failure("%s: must belong to root and be readable by root only (chmod 600)",
                           path);
    }
    return 0;
}

int secret_read_file(const struct secret_salt *salt, const char *path, struct secrets *secrets)
{
    if (check_private(path) < 0) {
        return -1;
    }
    char *text = file_read(AT_FDCWD, path, FILE_MOST);
    if (text == NULL) {
        report_unread("", path);
        return -1;
    }
    size_t length = strlen(text);
    int result = read_lines(salt, path, text, secrets);
    explicit_bzero(text, length);
    free(text);
    return result;
}
