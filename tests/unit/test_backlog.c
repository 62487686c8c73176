/*
 * The backlog of a listening socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "fcgi-app/http/backlog.h"

static int open_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

static void counts_who_waits(void **state)
{
    (void)state;
    char directory[] = "/tmp/nxs-backlog-XXXXXX";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_non_null(mkdtemp(directory));
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
    int listener = open_socket();
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(backlog_length(listener), 0);
    int clients[3];
    for (int i = 0; i < 3; i++) {
        clients[i] = open_socket();
        assert_int_equal(connect(clients[i], (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(backlog_length(listener), i + 1);
    }
    int accepted = accept(listener, NULL, NULL);
    assert_int_equal(backlog_length(listener), 2);
    (void)close(accepted);
    for (int i = 0; i < 3; i++) {
        (void)close(clients[i]);
    }
    (void)close(listener);
    (void)unlink(address.sun_path);
    (void)rmdir(directory);
}

static void knows_no_backlog_of_what_is_no_socket(void **state)
{
    (void)state;
    assert_int_equal(backlog_length(-1), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_who_waits),
        cmocka_unit_test(knows_no_backlog_of_what_is_no_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
