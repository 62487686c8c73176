/*
 * The pump: both pipes at once, the end of the command and not of its pipes, nothing lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/pipe_order.h"
#include "fcgi-app/commands/pump.h"
#include "procd/wire/protocol.h"
#include "tests/unit/fake_request.h"

/* A command that the test plays: its ends of the pipes and of the lease. */
struct command_end {
    int out, err, lease;
};

struct collected {
    char data[2][1 << 20];
    size_t length[2];
    char order[4096]; /* the first byte of each piece */
    size_t pieces;
    size_t refuse_after; /* bytes in all; 0: never */
    int rests;
};

static struct foreground foreground;
static struct command_end command;
static struct collected collected;
static struct ending ending;

static int collect(void *context, enum pump_stream stream, const char *data, size_t length)
{
    struct collected *into = context;
    if (into->length[stream] + length <= sizeof(into->data[stream])) {
        memcpy(into->data[stream] + into->length[stream], data, length);
    }
    into->length[stream] += length;
    if (into->pieces < sizeof(into->order)) {
        into->order[into->pieces++] = data[0];
    }
    return into->refuse_after != 0 &&
                   into->length[PUMP_STDOUT] + into->length[PUMP_STDERR] > into->refuse_after
               ? -1
               : 0;
}

static int count_rest(void *context)
{
    struct collected *into = context;
    into->rests++;
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    int out[2];
    int err[2];
    int lease[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    assert_int_equal(io_set_nonblocking(out[0], 1), 0);
    assert_int_equal(io_set_nonblocking(err[0], 1), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lease), 0);
    const int readers[] = {out[0], err[0]};
    foreground = (struct foreground){
        .lease = lease[0], .out = out[0], .err = err[0], .watch = pipe_order_watch(readers)};
    assert_true(foreground.watch >= 0);
    command = (struct command_end){.lease = lease[1], .out = out[1], .err = err[1]};
    memset(&collected, 0, sizeof(collected));
    ending = (struct ending){.code = 77};
    return 0;
}

static void close_end(int *fd)
{
    if (*fd >= 0) {
        assert_int_equal(close(*fd), 0);
        *fd = -1;
    }
}

static int tear_down(void **state)
{
    (void)state;
    close_end(&command.out);
    close_end(&command.err);
    close_end(&command.lease);
    foreground_end(&foreground);
    return 0;
}

static void report_end(int code)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_EXIT);
    message_add_number(&message, FIELD_CODE, code);
    assert_int_equal(message_send(command.lease, &message, NULL, 0), 0);
}

static enum pump_result pump(void)
{
    static const struct pump_sink sink = {.data = collect, .rest = count_rest};
    struct request request = fake_request("", 0);
    return pump_run(&foreground, &request, &sink, &collected, &ending);
}

static void assert_collected(enum pump_stream stream, const char *text)
{
    assert_int_equal(collected.length[stream], strlen(text));
    assert_memory_equal(collected.data[stream], text, strlen(text));
}

static void test_output_and_end(void **state)
{
    (void)state;
    assert_int_equal(io_write_all(command.out, "out", 3), 0);
    assert_int_equal(io_write_all(command.err, "error", 5), 0);
    close_end(&command.out);
    close_end(&command.err);
    report_end(3);
    assert_int_equal(pump(), PUMP_ENDED);
    assert_collected(PUMP_STDOUT, "out");
    assert_collected(PUMP_STDERR, "error");
    assert_int_equal(ending.code, 3);
    assert_false(ending.lost);
    assert_true(collected.rests > 0);
}

static void test_a_pipe_that_is_held(void **state)
{
    (void)state;
    assert_int_equal(io_write_all(command.out, "before the end", 14), 0);
    report_end(0); /* both writers stay open: a descendant has them */
    assert_int_equal(pump(), PUMP_ENDED);
    assert_collected(PUMP_STDOUT, "before the end");
}

static void test_an_endless_writer(void **state)
{
    (void)state;
    static const char block[4096] = "x";
    pid_t writer = fork();
    assert_true(writer >= 0);
    if (writer == 0) {
        (void)close(foreground.out);
        while (write(command.out, block, sizeof(block)) > 0) {
        }
        _exit(0);
    }
    report_end(0);
    assert_int_equal(pump(), PUMP_ENDED);
    assert_int_equal(kill(writer, SIGKILL), 0);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
}

static void write_much(int first, int second)
{
    static char block[300000];
    memset(block, 'x', sizeof(block));
    assert_int_equal(io_write_all(first, block, sizeof(block)), 0);
    assert_int_equal(io_write_all(second, block, sizeof(block)), 0);
}

/* More than a pipe holds on either stream, in either order. */
static void test_both_pipes(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        pid_t writer = fork();
        assert_true(writer >= 0);
        if (writer == 0) {
            write_much(order == 0 ? command.out : command.err,
                       order == 0 ? command.err : command.out);
            report_end(0);
            _exit(0);
        }
        close_end(&command.out);
        close_end(&command.err);
        assert_int_equal(pump(), PUMP_ENDED);
        assert_int_equal(collected.length[PUMP_STDOUT], 300000);
        assert_int_equal(collected.length[PUMP_STDERR], 300000);
        assert_int_equal(waitpid(writer, NULL, 0), writer);
        (void)tear_down(state);
        (void)set_up(state);
    }
}

static void test_a_lost_runner(void **state)
{
    (void)state;
    assert_int_equal(io_write_all(command.out, "x", 1), 0);
    close_end(&command.out);
    close_end(&command.err);
    close_end(&command.lease);
    assert_int_equal(pump(), PUMP_ENDED);
    assert_true(ending.lost);
    assert_collected(PUMP_STDOUT, "x");
}

static void test_a_sink_that_refuses(void **state)
{
    (void)state;
    collected.refuse_after = 2;
    assert_int_equal(io_write_all(command.err, "abc", 3), 0);
    assert_int_equal(pump(), PUMP_REFUSED);
}

/* At the end, too, what was written first is passed on first, whatever stream it is on. */
static void test_the_order_at_the_end(void **state)
{
    (void)state;
    assert_int_equal(io_write_all(command.err, "1", 1), 0);
    assert_int_equal(io_write_all(command.out, "2", 1), 0);
    report_end(0); /* both writers stay open */
    assert_int_equal(pump(), PUMP_ENDED);
    assert_int_equal(collected.pieces, 2);
    assert_memory_equal(collected.order, "12", 2);
}

/* poll(2) reports what a command then takes out of its own pipe: nobody waits for more of it. */
static void test_a_competing_reader(void **state)
{
    (void)state;
    pid_t reader = fork();
    assert_true(reader >= 0);
    if (reader == 0) {
        char path[32];
        char byte;
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", command.out);
        int own = open(path, O_RDONLY | O_CLOEXEC);
        for (int i = 0; own >= 0 && i < 100000; i++) {
            if (write(command.out, "x", 1) != 1 ||
                (io_set_nonblocking(own, 1) == 0 && read(own, &byte, 1) < 0 && errno != EAGAIN)) {
                _exit(1);
            }
        }
        report_end(0);
        _exit(own < 0);
    }
    int status;
    close_end(&command.out);
    close_end(&command.err);
    assert_int_equal(pump(), PUMP_ENDED);
    assert_int_equal(waitpid(reader, &status, 0), reader);
    assert_int_equal(status, 0);
    assert_true(collected.length[PUMP_STDOUT] <= 100000);
}

/* The end of a command is the end of its tree, which the runner reports. */
static void test_the_end_of_the_tree_is_awaited(void **state)
{
    (void)state;
    pid_t runner = fork();
    assert_true(runner >= 0);
    if (runner == 0) {
        char nothing;
        close_end(&foreground.lease);
        struct pollfd hangup = {.fd = command.lease, .events = POLLIN};
        bool heard = poll(&hangup, 1, -1) == 1 && read(command.lease, &nothing, 1) == 0;
        (void)poll(NULL, 0, 50); /* the command cleans up */
        report_end(0);
        _exit(!heard);
    }
    int status;
    close_end(&command.lease);
    foreground_end(&foreground); /* returns when the runner has reported */
    assert_int_equal(foreground.lease, -1);
    assert_int_equal(waitpid(runner, &status, 0), runner);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_output_and_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_pipe_that_is_held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_endless_writer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_both_pipes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_lost_runner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_sink_that_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_order_at_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_competing_reader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_end_of_the_tree_is_awaited, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
