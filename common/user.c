/*
 * Accounts and numbers. A name is looked up first, so that an account named 1000 is that account.
 */
#include "common/user.h"

#include <errno.h>
#include <grp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/in_child.h"

#define VARIABLE "SANDBOX_USER"

/* The next one is (uid_t)-1, which stands for no user. */
#define ID_MOST UINT32_C(4294967294)

static int user_fail(char *error, size_t size, const char *text, const char *reason)
{
    (void)snprintf(error, size, VARIABLE ": %s: %s", text, reason);
    return -1;
}

void user_clear(struct user *user)
{
    free(user->groups);
    free(user->name);
    free(user->home);
    free(user->shell);
    *user = (struct user){0};
}

bool user_has_group(const struct user *user, gid_t group)
{
    for (size_t i = 0; i < user->group_count; i++) {
        if (user->groups[i] == group) {
            return true;
        }
    }
    return user->gid == group;
}

/* Plain digits. */
static bool read_id(const char *text, unsigned *id)
{
    uint64_t number;
    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0' || strlen(text) > 10) {
        return false;
    }
    number = strtoull(text, NULL, 10);
    *id = (unsigned)number;
    return number <= ID_MOST;
}

/* The databases of users are read while there is one thread.
 * NOLINTBEGIN(concurrency-mt-unsafe) */

/* The account and the number that the part before the colon names. */
static bool find_account(const char *name, const struct passwd **account, uid_t *uid)
{
    *account = getpwnam(name);
    if (*account == NULL && read_id(name, uid)) {
        *account = getpwuid(*uid);
        return true;
    }
    if (*account != NULL) {
        *uid = (*account)->pw_uid;
    }
    return *account != NULL;
}

static bool find_group(const char *name, gid_t *gid)
{
    const struct group *group = getgrnam(name);
    if (group != NULL) {
        *gid = group->gr_gid;
    }
    return group != NULL || read_id(name, gid);
}
/* NOLINTEND(concurrency-mt-unsafe) */

/* The groups of the account, or the one group alone. 0, or -1 without memory. */
static int list_groups(struct user *user)
{
    int count = 1;
    if (user->name != NULL) {
        count = 0;
        (void)getgrouplist(user->name, user->gid, NULL, &count); /* counts them */
    }
    if (count < 1) { /* it lacked memory */
        errno = ENOMEM;
        return -1;
    }
    user->groups = calloc((size_t)count, sizeof(*user->groups));
    if (user->groups == NULL) {
        return -1;
    }
    user->groups[0] = user->gid;
    if (user->name != NULL && getgrouplist(user->name, user->gid, user->groups, &count) < 0) {
        return -1;
    }
    user->group_count = (size_t)count;
    return 0;
}

/* The home of the account. If that does not exist or belongs to another user, as /nonexistent of
 * nobody, it is the variable's, if set. */
static const char *find_home(const struct passwd *account, uid_t uid)
{
    const char *fallback = getenv(HOME_VARIABLE);
    const char *home = account != NULL && account->pw_dir[0] == '/' ? account->pw_dir : "/";
    struct stat status;
    bool is_own_home = stat(home, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == uid;
    return is_own_home || fallback == NULL || fallback[0] != '/' ? home : fallback;
}

static int user_describe(struct user *user, const struct passwd *account)
{
    bool has_shell = account != NULL && account->pw_shell[0] == '/';
    user->home = strdup(find_home(account, user->uid));
    user->shell = strdup(has_shell ? account->pw_shell : "/bin/sh");
    user->name = account == NULL ? NULL : strdup(account->pw_name);
    if (user->home == NULL || user->shell == NULL || (account != NULL && user->name == NULL)) {
        return -1;
    }
    return list_groups(user);
}

int user_find(const char *text, struct user *user, char *error, size_t error_size)
{
    *user = (struct user){0};
    if (text == NULL) {
        return 0;
    }
    cleanup_free char *name = strdup(text);
    if (name == NULL) {
        return user_fail(error, error_size, text, error_text(errno));
    }
    char *group = strchr(name, ':');
    if (group != NULL) {
        *group++ = '\0';
    }
    const struct passwd *account;
    if (!find_account(name, &account, &user->uid)) {
        return user_fail(error, error_size, text, "there is no such user");
    }
    user->gid = account == NULL ? user->uid : account->pw_gid;
    if (group != NULL && !find_group(group, &user->gid)) {
        return user_fail(error, error_size, text, "there is no such group");
    }
    /* Already the user of this process. Root needs no group. */
    if (user->uid == geteuid() && (user->uid == 0 || user->gid == getegid())) {
        return group == NULL || user->gid == getegid()
                   ? 0
                   : user_fail(error, error_size, text,
                               "this is the server's own user, whose groups do not change");
    }
    if (geteuid() != 0) {
        return user_fail(error, error_size, text, "only root can run commands as another user");
    }
    if (user_describe(user, account) < 0) {
        user_clear(user);
        return user_fail(error, error_size, text, error_text(ENOMEM));
    }
    return 1;
}

/* ---- becoming one ---- */

/* The numbers of 32 bits; some machines have older calls under the plain names. */
#ifdef SYS_setresuid32
#define CALL_SETGROUPS SYS_setgroups32
#define CALL_SETRESGID SYS_setresgid32
#define CALL_SETRESUID SYS_setresuid32
#else
#define CALL_SETGROUPS SYS_setgroups
#define CALL_SETRESGID SYS_setresgid
#define CALL_SETRESUID SYS_setresuid
#endif

IN_CHILD int user_become(const struct user *user)
{
    uid_t uid = user->uid;
    gid_t gid = user->gid;
    if (syscall(CALL_SETGROUPS, user->group_count, user->groups) < 0 ||
        syscall(CALL_SETRESGID, gid, gid, gid) < 0) {
        return -1;
    }
    return (int)syscall(CALL_SETRESUID, uid, uid, uid);
}

/* ---- as a text ---- */

char *user_format(const struct user *user)
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    if (stream == NULL) {
        return NULL;
    }
    (void)fprintf(stream, "%u:%u", user->uid, user->gid);
    for (size_t i = 0; i < user->group_count; i++) {
        (void)fprintf(stream, ",%u", user->groups[i]);
    }
    if (fclose(stream) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* The number at *text, which moves behind it and the `delimiter`. */
static bool next_id(char **text, const char *delimiter, unsigned *id)
{
    const char *number = strsep(text, delimiter);
    return number != NULL && read_id(number, id);
}

int user_parse(const char *text, struct user *user)
{
    *user = (struct user){0};
    cleanup_free char *copy = strdup(text);
    char *rest = copy;
    if (copy == NULL || !next_id(&rest, ":", &user->uid) || !next_id(&rest, ",", &user->gid)) {
        return -1;
    }
    user->groups = calloc(strlen(text), sizeof(*user->groups));
    if (user->groups == NULL) {
        return -1;
    }
    while (rest != NULL) {
        if (!next_id(&rest, ",", &user->groups[user->group_count++])) {
            user_clear(user);
            return -1;
        }
    }
    return 0;
}

const struct passwd *user_worker_account(void)
{
    static const char *const names[] = {"www-data", "nginx", "nobody"}; /* Debian, nginx.org, any */
    const struct passwd *account = NULL;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && account == NULL; i++) {
        account = getpwnam(names[i]); /* NOLINT(concurrency-mt-unsafe): as above */
    }
    return account;
}
