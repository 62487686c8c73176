/*
 * Taking the token, checking that HTTP can carry it, and digesting it.
 */
#include "nginx/launcher/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <md5.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "nginx/launcher/file.h"

#define SECRET_VARIABLE "SANDBOX_SECRET"
#define FILE_VARIABLE   "SANDBOX_SECRET_FILE"

/* nginx takes a header line of at most 8 KiB (large_client_header_buffers). */
#define SECRET_MOST 4096

/* RFC 4648, section 5, without padding: 4 characters for 3 bytes. `text` gets a NUL at its end. */
static void base64url(const uint8_t *data, size_t length, char *text)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < length; i++) {
        bits = bits << 8 | data[i];
        for (count += 8; count >= 6; count -= 6) {
            *text++ = alphabet[bits >> (count - 6) & 63];
        }
    }
    if (count > 0) {
        *text++ = alphabet[bits << (6 - count) & 63];
    }
    *text = '\0';
}

static int random_bytes(uint8_t *data, size_t length)
{
    if (getrandom(data, length, 0) !=
        (ssize_t)length) { /* never short below 256 bytes: getrandom(2) */
        log_line("no random bytes: %m");
        return -1;
    }
    return 0;
}

/* 32 random bytes, printed once. The caller frees. */
static char *generate_secret(void)
{
    uint8_t bytes[32];
    char *secret = malloc(44);
    if (secret == NULL || random_bytes(bytes, sizeof(bytes)) < 0) {
        free(secret);
        return NULL;
    }
    base64url(bytes, sizeof(bytes), secret);
    explicit_bzero(bytes, sizeof(bytes));
    (void)printf("nginx-sandbox: generated secret: %s\n", secret);
    (void)fflush(stdout);
    return secret;
}

/* The file's content without the line end that editors and echo leave. The caller frees. */
static char *read_secret_file(const char *path)
{
    size_t length = 0;
    char *secret = file_read(AT_FDCWD, path, SECRET_MOST + 2, &length);
    if (secret == NULL) {
        log_line(FILE_VARIABLE ": %s: %s", path,
                 errno == EFBIG ? "longer than 4096 bytes" : strerror(errno));
        return NULL;
    }
    if (strlen(secret) != length) {
        explicit_bzero(secret, length);
        free(secret);
        log_line(FILE_VARIABLE ": %s: holds a NUL byte", path);
        return NULL;
    }
    if (length > 0 && secret[length - 1] == '\n') {
        secret[--length] = '\0';
    }
    if (length > 0 && secret[length - 1] == '\r') {
        secret[--length] = '\0';
    }
    return secret;
}

/* The token as HTTP carries it in one header line: any bytes but controls, and no space at its end.
 */
static bool is_good(const char *variable, const char *secret)
{
    size_t length = strlen(secret);
    if (length > SECRET_MOST) {
        log_line("%s: longer than %d bytes", variable, SECRET_MOST);
        return false;
    }
    for (const char *at = secret; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            log_line("%s: holds a control character, which no HTTP header can carry", variable);
            return false;
        }
    }
    if (secret[length - 1] == ' ') {
        log_line("%s: ends in a space, which HTTP cuts off", variable);
        return false;
    }
    return true;
}

static int digest_secret(const char *secret, struct secret_digest *result)
{
    uint8_t salt[16];
    uint8_t digest[MD5_DIGEST_LENGTH];
    if (random_bytes(salt, sizeof(salt)) < 0) {
        return -1;
    }
    base64url(salt, sizeof(salt), result->salt);
    MD5_CTX context;
    MD5Init(&context);
    MD5Update(&context, (const uint8_t *)result->salt, strlen(result->salt));
    MD5Update(&context, (const uint8_t *)"Bearer ", strlen("Bearer "));
    MD5Update(&context, (const uint8_t *)secret, strlen(secret));
    MD5Final(digest, &context);
    explicit_bzero(&context, sizeof(context));
    base64url(digest, sizeof(digest), result->digest);
    return 0;
}

/* An empty variable counts as unset, and so does an empty file beside SANDBOX_SECRET:
 * docker-compose.yml always sets both. The caller frees; NULL after a line of error. */
static char *choose_secret(bool generate, const char **source)
{
    const char *value = getenv(SECRET_VARIABLE);
    const char *path = getenv(FILE_VARIABLE);
    bool has_value = value != NULL && *value != '\0';
    bool has_path = path != NULL && *path != '\0';
    *source = has_path ? FILE_VARIABLE : SECRET_VARIABLE;
    char *secret = has_path ? read_secret_file(path) : NULL;
    if (has_path && secret == NULL) {
        return NULL;
    }
    if (has_path && *secret != '\0' && has_value) {
        log_line("set only one of " SECRET_VARIABLE " and " FILE_VARIABLE);
    } else if (has_path && *secret != '\0') {
        return secret;
    } else if (has_value) {
        free(secret);
        *source = SECRET_VARIABLE;
        return strdup(value);
    } else if (has_path) {
        log_line(FILE_VARIABLE ": %s: is empty, and " SECRET_VARIABLE " is not set", path);
    } else if (generate) {
        return generate_secret();
    } else {
        log_line(SECRET_VARIABLE
                 " is not set: it is the token that clients must send (or set " FILE_VARIABLE ")");
    }
    if (secret != NULL) {
        explicit_bzero(secret, strlen(secret));
        free(secret);
    }
    return NULL;
}

int secret_take(struct secret_digest *digest, bool generate)
{
    const char *source = NULL;
    char *secret = choose_secret(generate, &source);
    int result = -1;
    if (secret != NULL) {
        if (is_good(source, secret)) {
            result = digest_secret(secret, digest);
        }
        explicit_bzero(secret, strlen(secret));
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
