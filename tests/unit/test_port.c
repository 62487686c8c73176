/*
 * Binding: one winner, a target file that others can read, and what is no port.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fcgi-app/endpoints.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/ports/bound_port.h"
#include "tests/unit/fake_request.h"

#define PROXY_PORT 3031

static char directory[] = "/tmp/test_port.XXXXXX";
static int directory_fd;

static int init(void **state)
{
    (void)state;
    (void)umask(077); /* the target is for everybody all the same */
    if (mkdtemp(directory) == NULL) {
        return -1;
    }
    directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    json_init(0, JSON_IN_MEMORY);
    bound_port_init(directory_fd, PROXY_PORT);
    return directory_fd < 0;
}

static int clear(void **state)
{
    (void)state;
    struct fs_error error;
    close_fd(&directory_fd);
    return fs_delete_tree(directory, &error);
}

static int answer(const struct endpoint *endpoint, const char *body, char *text, size_t size)
{
    struct request request = fake_request(body, strlen(body));
    endpoint_handle(endpoint, &request);
    assert_non_null(request.answer);
    assert_true(request.answer_length < size);
    memcpy(text, request.answer, request.answer_length + 1);
    fake_request_clear(&request);
    return request.status;
}

static void assert_answer(const struct endpoint *endpoint, const char *body, int status,
                          const char *expected)
{
    char text[500];
    assert_int_equal(answer(endpoint, body, text, sizeof(text)), status);
    assert_string_equal(text, expected);
}

#define BOUND                                                                                      \
    "{\"success\":true,\"message\":\"Port binding "                                                \
    "configured\",\"port\":\"8080\",\"proxy_port\":\"3031\"}"
#define STATUS(port) "{\"success\":true,\"port\":\"" port "\",\"proxy_port\":\"3031\"}"
#define UNBOUND      "{\"success\":true,\"proxy_port\":\"3031\"}"
#define REMOVED      "{\"success\":true,\"message\":\"Port binding removed\"}"

/* The target file and nothing else is in the directory. */
static void assert_target(const char *expected)
{
    char content[20];
    struct stat status;
    cleanup_fd int fd = openat(directory_fd, PORT_TARGET_FILE, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t length = read(fd, content, sizeof(content) - 1);
    content[length > 0 ? length : 0] = '\0';
    assert_string_equal(content, expected);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0644);
}

static size_t count_files(void)
{
    struct fs_error error;
    cleanup_(name_list_clear) struct name_list names = {.text = NULL};
    assert_int_equal(fs_list(directory, &names, NULL, &error), 0);
    return names.count;
}

static void binds_and_unbinds(void **state)
{
    (void)state;
    assert_answer(&bind_port_endpoint, "{\"port\":\"8080\"}", 200, BOUND);
    assert_target("8080\n");
    assert_int_equal(count_files(), 1);
    assert_answer(&bind_port_endpoint, "{\"port\":9090}", 409,
                  "{\"success\":false,\"error\":\"Port already "
                  "bound\",\"error_code\":\"in_use\",\"current_port\":\"8080\"}");
    assert_target("8080\n");
    assert_int_equal(count_files(), 1);
    assert_answer(&unbind_port_endpoint, "", 200, REMOVED);
    assert_int_equal(count_files(), 0);
    assert_answer(&unbind_port_endpoint, "{\"port\":\"8080\"}", 200, REMOVED);
    assert_answer(&bind_port_endpoint, "{\"port\":8080}", 200, BOUND);
    assert_target("8080\n");
    assert_answer(&unbind_port_endpoint, "{}", 200, REMOVED);
}

static void refuses_what_is_no_port(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "0",
        "\"0\"",
        "65536",
        "\"65536\"",
        "-1",
        "\"-1\"",
        "\"+80\"",
        "\"08\"",
        "\" 80\"",
        "\"80 \"",
        "80.5",
        "8e3",
        "\"0x50\"",
        "\"http\"",
        "\"\"",
        "null",
        "true",
        "[80]",
        "\"80\\n\"",
        "\"80\\u0000\"",
        "999999999999999999999",
        "\"4294967376\"", /* 80 in 32 bits */
    };
    char body[100], text[500];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)snprintf(body, sizeof(body), "{\"port\":%s}", bad[i]);
        if (answer(&bind_port_endpoint, body, text, sizeof(text)) != 400) {
            print_error("accepted %s\n", bad[i]);
            fail();
        }
        assert_ptr_equal(strstr(text, "{\"success\":false,\"error\":"), text);
    }
    assert_int_equal(answer(&bind_port_endpoint, "{}", text, sizeof(text)), 400);
    assert_int_equal(answer(&bind_port_endpoint, "", text, sizeof(text)), 400);
    assert_int_equal(answer(&bind_port_endpoint, "{\"port\":3031}", text, sizeof(text)), 400);
    assert_non_null(strstr(text, "loop"));
    assert_int_equal(answer(&unbind_port_endpoint, "{", text, sizeof(text)), 400);
    assert_int_equal(count_files(), 0);
}

struct claimer {
    pthread_t thread;
    int port, status;
};

static void *bind_once(void *context)
{
    struct claimer *claimer = context;
    char body[40], text[500];
    (void)snprintf(body, sizeof(body), "{\"port\":%d}", claimer->port);
    claimer->status = answer(&bind_port_endpoint, body, text, sizeof(text));
    return NULL;
}

static void has_one_winner(void **state)
{
    (void)state;
    enum { CLAIMERS = 20, ROUNDS = 20 };
    for (int round = 0; round < ROUNDS; round++) {
        struct claimer claimers[CLAIMERS];
        int winners = 0;
        for (int i = 0; i < CLAIMERS; i++) {
            claimers[i].port = 8000 + i;
            assert_int_equal(pthread_create(&claimers[i].thread, NULL, bind_once, &claimers[i]), 0);
        }
        for (int i = 0; i < CLAIMERS; i++) {
            assert_int_equal(pthread_join(claimers[i].thread, NULL), 0);
            assert_true(claimers[i].status == 200 || claimers[i].status == 409);
            if (claimers[i].status == 200) {
                char expected[20];
                (void)snprintf(expected, sizeof(expected), "%d\n", claimers[i].port);
                assert_target(expected);
                winners++;
            }
        }
        assert_int_equal(winners, 1);
        assert_int_equal(count_files(), 1);
        assert_answer(&unbind_port_endpoint, "", 200, REMOVED);
    }
}

static void *bind_and_unbind(void *unused)
{
    char text[500];
    (void)unused;
    for (int i = 0; i < 300; i++) {
        int status = answer(&bind_port_endpoint, "{\"port\":8080}", text, sizeof(text));
        if ((status != 200 && status != 409) ||
            answer(&unbind_port_endpoint, "", text, sizeof(text)) != 200) {
            return "failed";
        }
    }
    return NULL;
}

/* A target that vanishes between the claim that it refused and its being read. */
static void survives_unbinding_meanwhile(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, bind_and_unbind, NULL), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *failure;
        assert_int_equal(pthread_join(threads[i], &failure), 0);
        assert_null(failure);
    }
    assert_answer(&unbind_port_endpoint, "", 200, REMOVED);
    assert_int_equal(count_files(), 0);
}

/* What somebody else has put in the target's place is no port, and unbinding removes it. */
static void is_mended_by_unbinding(void **state)
{
    (void)state;
    static const char *const garbage[] = {"", "garbage", "0\n", "\xff\xfe", "8080 and more"};
    static const char refusal[] = "{\"success\":false,\"error\":\"The port could not be bound: Bad "
                                  "message\",\"error_code\":\"io_error\"}";
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        cleanup_fd int fd =
            openat(directory_fd, PORT_TARGET_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, garbage[i], strlen(garbage[i])), strlen(garbage[i]));
        assert_answer(&bind_port_endpoint, "{\"port\":8080}", 500, refusal);
        assert_answer(&port_status_endpoint, "", 200, UNBOUND);
        assert_answer(&unbind_port_endpoint, "", 200, REMOVED);
        assert_int_equal(count_files(), 0);
    }
    assert_int_equal(mkfifoat(directory_fd, PORT_TARGET_FILE, 0644), 0);
    assert_answer(&bind_port_endpoint, "{\"port\":8080}", 500,
                  refusal); /* and nobody waits for a writer */
    assert_answer(&port_status_endpoint, "", 200, UNBOUND);
    assert_answer(&unbind_port_endpoint, "", 200, REMOVED);
    assert_int_equal(mkdirat(directory_fd, PORT_TARGET_FILE, 0755), 0);
    assert_answer(&port_status_endpoint, "", 200, UNBOUND);
    assert_answer(&unbind_port_endpoint, "", 200, REMOVED);
    assert_answer(&bind_port_endpoint, "{\"port\":8080}", 200, BOUND);
    assert_answer(&port_status_endpoint, "", 200, STATUS("8080"));
    assert_answer(&unbind_port_endpoint, "", 200, REMOVED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(binds_and_unbinds),      cmocka_unit_test(refuses_what_is_no_port),
        cmocka_unit_test(has_one_winner),         cmocka_unit_test(survives_unbinding_meanwhile),
        cmocka_unit_test(is_mended_by_unbinding),
    };
    return cmocka_run_group_tests(tests, init, clear);
}
