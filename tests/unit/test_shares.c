/*
 * Shares: their files appear and go, expire, and are bounded; and what is asked of /share_port.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/directory.h"
#include "fcgi-app/endpoints.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/http/grant.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/ports/port_table.h"
#include "fcgi-app/ports/share_port.h"
#include "fcgi-app/ports/shares.h"
#include "tests/unit/fake_request.h"

#define THREADS 8
#define HOST    ".localhost:3000"

static char directory[] = "/tmp/test_shares.XXXXXX";
static int directory_fd;

static int init(void **state)
{
    (void)state;
    (void)umask(077); /* the files are for everybody all the same */
    if (mkdtemp(directory) == NULL) {
        return -1;
    }
    directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    json_init(0, JSON_IN_MEMORY);
    grant_init(UINT64_C(3600000));
    shares_init(directory_fd);
    share_port_init(true);
    port_table_init((const unsigned[OWN_PORTS]){3030, 3031}, false);
    return directory_fd < 0;
}

static int clear(void **state)
{
    (void)state;
    struct fs_error error;
    close_fd(&directory_fd);
    return fs_delete_tree(directory, &error);
}

static int begin(void **state)
{
    (void)state;
    return directory_empty(directory_fd);
}

static uint64_t in_an_hour(void)
{
    return clock_date_ns() / 1000000 + 3600000;
}

static struct share add(unsigned port, bool is_public, uint64_t expires_ms)
{
    struct share share = {.port = port, .is_public = is_public, .expires_ms = expires_ms};
    assert_int_equal(shares_add(&share, ""), 0);
    return share;
}

static int count_now(void)
{
    struct share shares[SHARES_MOST];
    return shares_now(shares);
}

static void write_file(const char *name, const char *text)
{
    cleanup_fd int fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void appear_and_go(void **state)
{
    (void)state;
    char name[40], line[200];
    struct stat status;
    struct share share = {.port = 8080, .expires_ms = in_an_hour()};
    assert_int_equal(shares_add(&share, "https://a.example http://b.example:81"), 0);
    assert_int_equal(strlen(share.id), 16);
    (void)snprintf(name, sizeof(name), SHARE_PREFIX "%s", share.id);
    int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0644);
    ssize_t length = read(fd, line, sizeof(line) - 1);
    (void)close(fd);
    line[length > 0 ? length : 0] = '\0';
    char expected[200];
    (void)snprintf(expected, sizeof(expected),
                   "%s 8080 %llu https://a.example http://b.example:81\n", share.id,
                   (unsigned long long)share.expires_ms);
    assert_string_equal(line, expected);

    struct share found[SHARES_MOST];
    struct share other = add(8081, false, in_an_hour());
    assert_int_equal(shares_now(found), 2);
    assert_int_equal(shares_end(share.id, 0), 1);
    assert_int_equal(shares_end(share.id, 0), 0);
    assert_int_equal(shares_now(found), 1);
    assert_string_equal(found[0].id, other.id);
    assert_int_equal(found[0].port, 8081);
    assert_int_equal(shares_end(NULL, 8080), 0);
    assert_int_equal(shares_end(NULL, 8081), 1);
    assert_int_equal(directory_is_empty(directory_fd), 1);
}

static void a_port_has_one_public_share(void **state)
{
    (void)state;
    struct share found[SHARES_MOST];
    struct share first = add(8080, true, in_an_hour());
    struct share second = add(8080, true, in_an_hour());
    (void)add(8080, false, in_an_hour());
    assert_int_equal(shares_now(found), 2);
    assert_int_equal(shares_end(first.id, 0), 0);
    assert_int_equal(shares_end(second.id, 0), 1);
    assert_int_equal(shares_now(found), 1);
    assert_false(found[0].is_public);
    (void)add(8080, true, in_an_hour());
    assert_int_equal(shares_end(NULL, 8080), 2);
}

static void expired_ones_and_others_files_go(void **state)
{
    (void)state;
    (void)add(8080, false, 1);
    assert_int_equal(count_now(), 0);
    assert_int_equal(directory_is_empty(directory_fd), 1);
    write_file("target", "8080\n");
    write_file(SHARE_PREFIX "0123456789abcdef", "0123456789abcdef 0 9999999999999\n");
    write_file(SHARE_PREFIX "empty", "");
    write_file(SHARE_PREFIX "short", "0123456789abcdef");
    write_file(SHARE_PREFIX "cut", "0123456789abcdef 80 9999999999999");
    write_file(SHARE_PREFIX "words", "0123456789abcdef 80 x\n");
    write_file(SHARE_PUBLIC_PREFIX "80", "0123456789abcdef 80 9999999999999999\n");
    assert_int_equal(mkfifoat(directory_fd, SHARE_PREFIX "fifo", 0644), 0);
    assert_int_equal(symlinkat("target", directory_fd, SHARE_PREFIX "link"), 0);
    assert_int_equal(count_now(), 0);
    assert_true(directory_has(directory_fd, "target"));
    assert_false(directory_has(directory_fd, SHARE_PREFIX "fifo"));
    assert_false(directory_has(directory_fd, SHARE_PUBLIC_PREFIX "80"));
}

static void *add_many(void *refused)
{
    for (int i = 0; i < SHARES_MOST / THREADS + 4; i++) {
        struct share share = {.port = 8080, .expires_ms = in_an_hour()};
        if (shares_add(&share, "") != 0 && errno == EDQUOT) {
            __atomic_add_fetch((int *)refused, 1, __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

static void there_are_not_too_many(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    int refused = 0;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, &refused), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(refused, 4 * THREADS);
    assert_int_equal(count_now(), SHARES_MOST);
    assert_int_equal(shares_end(NULL, 8080), SHARES_MOST);
}

/* ---- the endpoint ---- */

static int ask(const struct endpoint *endpoint, const char *body, const char *host, char *text,
               size_t size)
{
    struct request request = fake_request(body, strlen(body));
    request.param = host;
    request.content_encoding = "";
    endpoint_handle(endpoint, &request);
    (void)snprintf(text, size, "%s", request.answer == NULL ? "" : request.answer);
    int status = request.status;
    fake_request_clear(&request);
    return status;
}

static void refuses_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *body, *word;
    } bad[] = {
        {"{}", "port is required"},
        {"{\"port\": 0}", "Invalid port"},
        {"{\"port\": \"+80\"}", "Invalid port"},
        {"{\"port\": 3030}", "own"},
        {"{\"port\": 3031}", "own"},
        {"{\"port\": 80, \"expires_in_ms\": 0}", "SANDBOX_MAX_LINK_LIFETIME"},
        {"{\"port\": 80, \"expires_in_ms\": 3600001}", "3600000"},
        {"{\"port\": 80, \"path\": \"x\"}", "begin with /"},
        {"{\"port\": 80, \"path\": \"/a b\"}", "path"},
        {"{\"port\": 80, \"path\": \"/\\r\\nX: y\"}", "path"},
        {"{\"port\": 80, \"path\": \"/\\u00e9\"}", "path"},
        {"{\"port\": 80, \"path\": \"/\\\\evil\"}", "path"},
        {"{\"port\": 80, \"path\": \"/\\\"\"}", "path"},
        {"{\"port\": 80, \"path\": \"/#x\"}", "path"},
        {"{\"port\": 80, \"path\": \"/?sandbox-grant=x\"}", "path"},
        {"{\"port\": 80, \"embed_origins\": [1]}", "embed_origins"},
        {"{\"port\": 80, \"embed_origins\": [\"*\"]}", "embed_origins"},
        {"{\"port\": 80, \"embed_origins\": [\"null\"]}", "embed_origins"},
        {"{\"port\": 80, \"embed_origins\": [\"https://\"]}", "embed_origins"},
        {"{\"port\": 80, \"embed_origins\": [\"https://a/\"]}", "embed_origins"},
        {"{\"port\": 80, \"embed_origins\": [\"https://a:\"]}", "embed_origins"},
        {"{\"port\": 80, \"embed_origins\": [\"https://a b\"]}", "embed_origins"},
        {"{\"port\": 80, \"embed_origins\": [\"https://a;b\"]}", "embed_origins"},
        {"{\"port\": 80, \"embed_origins\": [\"https://a\\nb\"]}", "embed_origins"},
        {"{\"port\": 80, \"embed_origins\": [\"https://\\u0061\"]}", "embed_origins"},
        {"{\"port\": 80, \"public\": true, \"embed_origins\": [\"https://a\"]}", "public"},
    };
    char text[600];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ask(&share_port_endpoint, bad[i].body, HOST, text, sizeof(text)), 400);
        assert_non_null(strstr(text, bad[i].word));
    }
    assert_int_equal(ask(&share_port_endpoint, "{\"port\": 80}", "", text, sizeof(text)), 400);
    assert_non_null(strstr(text, "SANDBOX_PORT_DOMAIN"));
    assert_int_equal(count_now(), 0);
}

static void limits_the_origins(void **state)
{
    (void)state;
    char body[2000] = "{\"port\": 80, \"embed_origins\": [\"https://a.example\"", text[600];
    assert_int_equal(ask(&share_port_endpoint, "{\"port\": 80, \"embed_origins\": []}", HOST, text,
                         sizeof(text)),
                     200);
    for (int i = 0; i < 80; i++) {
        size_t length = strlen(body);
        (void)snprintf(body + length, sizeof(body) - length, ",\"https://b.example\"%s",
                       i == 79 ? "]}" : "");
    }
    assert_int_equal(ask(&share_port_endpoint, body, HOST, text, sizeof(text)), 400);
    assert_non_null(strstr(text, "too long"));
    assert_int_equal(shares_end(NULL, 80), 1);
}

static void shares_with_everybody(void **state)
{
    (void)state;
    char text[600];
    const char *body = "{\"port\": \"80\", \"public\": true, \"path\": \"//a?b=1\"}";
    assert_int_equal(ask(&share_port_endpoint, body, HOST, text, sizeof(text)), 200);
    assert_non_null(strstr(text, "\"host\":\"80.localhost:3000\",\"path\":\"//a?b=1\""));
    share_port_init(false);
    assert_int_equal(ask(&share_port_endpoint, body, HOST, text, sizeof(text)), 403);
    assert_non_null(strstr(text, "SANDBOX_PUBLIC_PORTS"));
    share_port_init(true);
    assert_int_equal(ask(&unshare_port_endpoint, "{}", HOST, text, sizeof(text)), 400);
    assert_int_equal(
        ask(&unshare_port_endpoint, "{\"id\": \"x\", \"port\": 1}", HOST, text, sizeof(text)), 400);
    assert_int_equal(
        ask(&unshare_port_endpoint, "{\"id\": \"../target\"}", HOST, text, sizeof(text)), 404);
    assert_int_equal(ask(&unshare_port_endpoint, "{\"port\": 80}", HOST, text, sizeof(text)), 200);
    assert_string_equal(text, "{\"success\":true,\"ended\":1}");
    assert_int_equal(ask(&unshare_port_endpoint, "{\"port\": 80}", HOST, text, sizeof(text)), 200);
    assert_string_equal(text, "{\"success\":true,\"ended\":0}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(appear_and_go, begin),
        cmocka_unit_test_setup(a_port_has_one_public_share, begin),
        cmocka_unit_test_setup(expired_ones_and_others_files_go, begin),
        cmocka_unit_test_setup(there_are_not_too_many, begin),
        cmocka_unit_test_setup(refuses_what_is_wrong, begin),
        cmocka_unit_test_setup(limits_the_origins, begin),
        cmocka_unit_test_setup(shares_with_everybody, begin),
    };
    return cmocka_run_group_tests(tests, init, clear);
}
