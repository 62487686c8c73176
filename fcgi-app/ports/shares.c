/*
 * The file of a share has one line: ID PORT EXPIRES, and the origins. It appears whole by
 * rename(2), and is gone by unlink(2).
 */
#include "fcgi-app/ports/shares.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/directory.h"
#include "common/io.h"
#include "fcgi-app/ports/port_file.h"

#define NAME_SIZE 32 /* a prefix, and an id or a port */
#define LINE_SIZE (SHARE_ORIGINS_MOST + 64)

static int share_directory = -1;
static atomic_ullong made;

/* Held while files come and go: of two that count, both would find room. */
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;

void shares_init(int directory_fd)
{
    share_directory = directory_fd;
}

static void unlock_shares(pthread_mutex_t **mutex)
{
    (void)pthread_mutex_unlock(*mutex);
}

#define lock_until_end()                                                                           \
    (void)pthread_mutex_lock(&changing);                                                           \
    cleanup_(unlock_shares) pthread_mutex_t *held = &changing;                                     \
    (void)held

/* ---- one file ---- */

static void name_file(const struct share *share, char name[NAME_SIZE])
{
    if (share->is_public) {
        (void)snprintf(name, NAME_SIZE, SHARE_PUBLIC_PREFIX "%u", share->port);
    } else {
        (void)snprintf(name, NAME_SIZE, SHARE_PREFIX "%s", share->id);
    }
}

/* Takes digits, up to 15, and moves on behind them. False: there are none. */
static bool take_digits(const char **at, uint64_t *value)
{
    size_t length = strspn(*at, "0123456789");
    *value = 0;
    for (size_t i = 0; i < length && i < 15; i++) {
        *value = *value * 10 + (uint64_t)((*at)[i] - '0');
    }
    *at += length;
    return length > 0 && length <= 15;
}

/* False: that is no line of ours. (A client can write here, by way of /proc/self/fd.) */
static bool parse_line(const char *line, struct share *share)
{
    uint64_t port;
    if (strspn(line, "0123456789abcdef") != SHARE_ID_SIZE - 1 || line[SHARE_ID_SIZE - 1] != ' ') {
        return false;
    }
    memcpy(share->id, line, SHARE_ID_SIZE - 1);
    share->id[SHARE_ID_SIZE - 1] = '\0';
    const char *at = line + SHARE_ID_SIZE;
    if (!take_digits(&at, &port) || port == 0 || port > 65535 || *at++ != ' ') {
        return false;
    }
    share->port = (unsigned)port;
    return take_digits(&at, &share->expires_ms) && (*at == ' ' || *at == '\n');
}

/* 0; 1: it is no file of ours, or gone; -1 with errno. */
static int read_share(const char *name, struct share *share)
{
    char line[LINE_SIZE];
    cleanup_fd int fd = io_open_regular(share_directory, name, O_RDONLY);
    if (fd < 0) {
        return errno == ENOENT || errno == EBADMSG || errno == ELOOP ? 1 : -1;
    }
    ssize_t length = io_read_full(fd, line, sizeof(line) - 1);
    if (length < 0) {
        return -1;
    }
    line[length] = '\0';
    share->is_public = strncmp(name, SHARE_PUBLIC_PREFIX, strlen(SHARE_PUBLIC_PREFIX)) == 0;
    return parse_line(line, share) ? 0 : 1;
}

/* Writes the file under a name of its own. */
static int write_share(const char *name, const struct share *share, const char *origins)
{
    char line[LINE_SIZE];
    int length =
        snprintf(line, sizeof(line), "%s %u %llu%s%s\n", share->id, share->port,
                 (unsigned long long)share->expires_ms, *origins == '\0' ? "" : " ", origins);
    return port_file_write(share_directory, name, line, (size_t)length);
}

/* ---- all of them ---- */

static bool is_share_name(const char *name)
{
    return strncmp(name, SHARE_PREFIX, strlen(SHARE_PREFIX)) == 0 ||
           strncmp(name, SHARE_PUBLIC_PREFIX, strlen(SHARE_PUBLIC_PREFIX)) == 0;
}

/* As shares_now(), with the lock held. */
static int list_shares(struct share shares[static SHARES_MOST])
{
    uint64_t now = clock_date_ns() / 1000000;
    int count = 0;
    cleanup_directory DIR *entries = directory_list(share_directory);
    if (entries == NULL) {
        return -1;
    }
    for (const char *name; count < SHARES_MOST && (name = directory_next(entries)) != NULL;) {
        int result = is_share_name(name) ? read_share(name, &shares[count]) : 1;
        if (result < 0) {
            return -1;
        }
        if (result == 0 && shares[count].expires_ms > now) {
            count++;
        } else if (is_share_name(name)) {
            (void)unlinkat(share_directory, name, 0);
        }
    }
    return count < SHARES_MOST && errno != 0 ? -1 : count;
}

int shares_now(struct share shares[static SHARES_MOST])
{
    lock_until_end();
    return list_shares(shares);
}

int shares_add(struct share *share, const char *origins)
{
    struct share others[SHARES_MOST];
    char name[NAME_SIZE], temporary[IO_RANDOM_NAME_SIZE], id[IO_RANDOM_NAME_SIZE];
    if (io_random_name(id, "") != 0 || io_random_name(temporary, ".share-") != 0) {
        return -1;
    }
    memcpy(share->id, id, SHARE_ID_SIZE);
    name_file(share, name);
    lock_until_end();
    int count = list_shares(others);
    if (count < 0 || count == SHARES_MOST) {
        errno = count < 0 ? errno : EDQUOT;
        return -1;
    }
    if (write_share(temporary, share, origins) != 0 ||
        renameat(share_directory, temporary, share_directory, name) != 0) {
        int number = errno;
        (void)unlinkat(share_directory, temporary, 0);
        errno = number;
        return -1;
    }
    (void)atomic_fetch_add(&made, 1);
    return 0;
}

unsigned long long shares_made(void)
{
    return atomic_load(&made);
}

int shares_end(const char *id, unsigned port)
{
    struct share shares[SHARES_MOST];
    int ended = 0;
    lock_until_end();
    int count = list_shares(shares);
    for (int i = 0; i < count; i++) {
        char name[NAME_SIZE];
        if (id == NULL ? shares[i].port != port : strcmp(shares[i].id, id) != 0) {
            continue;
        }
        name_file(&shares[i], name);
        if (unlinkat(share_directory, name, 0) != 0 && errno != ENOENT) {
            return -1;
        }
        ended++;
    }
    return count < 0 ? -1 : ended;
}
