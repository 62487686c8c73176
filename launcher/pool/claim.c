#include "launcher/pool/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "common/variables.h"
#include "launcher/base/file.h"
#include "launcher/secrets/base64url.h"

static int claim_fail(const char *path, const char *reason)
{
    return log_failure(CLAIM_PATH_VARIABLE ": %s: %s", path, reason);
}

/* The directory that the file is in. */
static int directory_of(const char *path, char directory[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    if (path[0] != '/' || slash[1] == '\0' || strlen(path) > PATH_MAX - sizeof(".new")) {
        return claim_fail(path, "must be the absolute path of a file");
    }
    (void)snprintf(directory, PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return 0;
}

/* Takes the next word, which has exactly this size with the NUL. */
static bool next_word(char **rest, char *word, size_t size)
{
    const char *found = strsep(rest, " \n");
    if (found == NULL || strlen(found) != size - 1 ||
        strspn(found, BASE64URL_CHARACTERS) != size - 1) {
        return false;
    }
    memcpy(word, found, size);
    return true;
}

int claim_read(const char *path, struct claim *claim)
{
    struct stat status;
    if (lstat(path, &status) < 0) {
        return errno == ENOENT ? 0 : claim_fail(path, strerror(errno));
    }
    if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
        return claim_fail(path, "must be a file of the user who starts the server, and "
                                "readable by that user only (chmod 600)");
    }
    char version[2];
    cleanup_free char *text = file_read(AT_FDCWD, path, 200);
    char *rest = text;
    if (text == NULL && errno != EFBIG && errno != EILSEQ) {
        return claim_fail(path, strerror(errno));
    }
    if (text == NULL || !next_word(&rest, version, sizeof(version)) || version[0] != '1' ||
        !next_word(&rest, claim->salt.text, sizeof(claim->salt.text)) ||
        !next_word(&rest, claim->digest.md5, sizeof(claim->digest.md5)) ||
        !next_word(&rest, claim->digest.sha256, sizeof(claim->digest.sha256)) || rest == NULL ||
        *rest != '\0') {
        return claim_fail(path, "is damaged: no claim of a sandbox is in it");
    }
    grant_key_derive(claim->digest.sha256, claim->digest.grant_key);
    return 1;
}

/* The name of the file until it is whole. */
static void draft_of(const char *path, char draft[PATH_MAX])
{
    (void)snprintf(draft, PATH_MAX, "%.*s.new", PATH_MAX - (int)sizeof(".new"), path);
}

/* Writes the draft, on the disk: a new file, whatever had its name. */
static int write_draft(const char *path, const struct claim *claim)
{
    if (unlink(path) < 0 && errno != ENOENT) {
        return -1;
    }
    cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || fchmod(fd, 0600) < 0 ||
        dprintf(fd, "1 %s %s %s\n", claim->salt.text, claim->digest.md5, claim->digest.sha256) <
            0) {
        return -1;
    }
    return fsync(fd);
}

int claim_write(const char *path, const struct claim *claim)
{
    char draft[PATH_MAX];
    char directory[PATH_MAX];
    if (directory_of(path, directory) < 0) {
        return -1;
    }
    draft_of(path, draft);
    if (write_draft(draft, claim) < 0) {
        (void)claim_fail(draft, strerror(errno));
        (void)unlink(draft);
        return -1;
    }
    int linked = link(draft, path);
    int reason = linked < 0 ? errno : 0;
    (void)unlink(draft);
    if (reason != 0) {
        return reason == EEXIST ? 0 : claim_fail(path, strerror(reason));
    }
    cleanup_fd int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? claim_fail(directory, strerror(errno)) : 1;
}

int claim_check_place(const char *path, const char *run)
{
    char directory[PATH_MAX];
    char resolved[PATH_MAX];
    size_t length = strlen(run);
    if (directory_of(path, directory) < 0) {
        return -1;
    }
    if (realpath(directory, resolved) == NULL) {
        return claim_fail(directory, strerror(errno));
    }
    if (strncmp(resolved, run, length) == 0 &&
        (resolved[length] == '/' || resolved[length] == '\0')) {
        return claim_fail(path, "is in the run directory, which is emptied at every start");
    }
    return 0;
}

/* An error at the start is better than one for the first client. */
static int try_draft(const char *path)
{
    static const struct claim none;
    char draft[PATH_MAX];
    draft_of(path, draft);
    int result = write_draft(draft, &none);
    if (result < 0) {
        (void)claim_fail(draft, strerror(errno));
    }
    (void)unlink(draft);
    return result;
}

/* In pool mode there is no other secret. (An empty file counts as none, as it does otherwise.) */
static int refuse_secret(void)
{
    const char *secret = variables_get(NULL, "SANDBOX_SECRET");
    const char *file = variables_get(NULL, "SANDBOX_SECRET_FILE");
    struct stat status;
    if (secret == NULL && (file == NULL || (stat(file, &status) == 0 && status.st_size == 0))) {
        return 0;
    }
    return log_failure("set only one of %s and " AUTH_MODE_VARIABLE
                       "=pool, where the first token is the secret",
                       secret != NULL ? "SANDBOX_SECRET" : "SANDBOX_SECRET_FILE");
}

/* The directory of the default path is made if it is not there. */
static int make_default_directory(void)
{
    bool is_made = mkdir(CLAIM_DIRECTORY, 0700) == 0;
    return is_made ? chmod(CLAIM_DIRECTORY, 0755) : errno == EEXIST ? 0 : -1;
}

bool claim_is_secret_mode(const char *mode)
{
    return mode == NULL || strcmp(mode, "secret") == 0 || strcmp(mode, "static") == 0;
}

int claim_take(struct secret_salt *salt, struct secrets *secrets, char path[PATH_MAX])
{
    const char *mode = variables_get(NULL, AUTH_MODE_VARIABLE);
    const char *setting = variables_get(NULL, CLAIM_PATH_VARIABLE);
    char directory[PATH_MAX];
    struct claim claim;
    path[0] = '\0';
    if (claim_is_secret_mode(mode)) {
        return 0;
    }
    if (strcmp(mode, "pool") != 0) {
        return log_failure(AUTH_MODE_VARIABLE
                           " must be secret (or static, which is the same) or pool");
    }
    if (refuse_secret() < 0) {
        return -1;
    }
    if (setting == NULL && make_default_directory() < 0) {
        return claim_fail(CLAIM_PATH, strerror(errno));
    }
    if (directory_of(setting == NULL ? CLAIM_PATH : setting, directory) < 0) {
        return -1;
    }
    (void)snprintf(path, PATH_MAX, "%s", setting == NULL ? CLAIM_PATH : setting);
    int found = claim_read(path, &claim);
    if (found == 0 && try_draft(path) < 0) {
        return -1;
    }
    secrets->count = 0;
    if (found > 0) {
        *salt = claim.salt;
        secrets->digests[secrets->count++] = claim.digest;
    }
    return found < 0 ? -1 : 1;
}
