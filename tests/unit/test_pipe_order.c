/*
 * What was written first is read first, and no pipe waits without end for the other.
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
#include <sys/types.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/pipe_order.h"

#define BLOCK ((size_t)4096)

static int readers[2];
static int writers[2];
static int watch;
static struct pipe_order order;
static char buffer[65536];

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        int ends[2];
        assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
        readers[i] = ends[0];
        writers[i] = ends[1];
    }
    watch = pipe_order_watch(readers);
    assert_true(watch >= 0);
    pipe_order_init(&order, watch, readers);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_fd(&watch);
    for (int i = 0; i < 2; i++) {
        close_fd(&readers[i]);
        close_fd(&writers[i]);
    }
    return 0;
}

static void say(int stream, const char *text)
{
    assert_int_equal(io_write_all(writers[stream], text, strlen(text)), 0);
}

static void wake(void)
{
    struct pollfd polled[] = {{.fd = order.fds[0], .events = POLLIN},
                              {.fd = order.fds[1], .events = POLLIN}};
    assert_true(poll(polled, 2, 0) >= 0);
    pipe_order_wake(&order, polled);
}

/* The next piece is this one. */
static void assert_next(int stream, const char *text)
{
    int from = -1;
    ssize_t length = pipe_order_read(&order, buffer, sizeof(buffer), &from);
    assert_int_equal(length, (ssize_t)strlen(text));
    assert_int_equal(from, stream);
    assert_memory_equal(buffer, text, strlen(text));
}

static void assert_nothing(void)
{
    int from;
    assert_int_equal(pipe_order_read(&order, buffer, sizeof(buffer), &from), -1);
    assert_int_equal(errno, EAGAIN);
}

/* Either of the two may be first, again and again. */
static void what_was_first_is_first(void **state)
{
    (void)state;
    unsigned seed = 1;
    for (int i = 0; i < 1000; i++) {
        int first = rand_r(&seed) % 2;
        say(first, "first");
        say(1 - first, "second");
        wake();
        assert_next(first, "first");
        assert_next(1 - first, "second");
        assert_nothing();
    }
}

/* A reader that looks between the pieces needs no luck either. */
static void what_comes_while_it_reads(void **state)
{
    (void)state;
    say(0, "o1");
    wake();
    assert_next(0, "o1");
    say(1, "e1");
    say(0, "o2");
    assert_next(1, "e1");
    say(1, "e2");
    assert_next(0, "o2");
    assert_next(1, "e2");
    assert_nothing();
}

/* All of the earlier pipe comes before the later one, in however many reads. */
static void a_full_pipe_is_taken_whole(void **state)
{
    (void)state;
    size_t total = 0;
    (void)fcntl(writers[0], F_SETPIPE_SZ, 1 << 20);
    memset(buffer, 'x', sizeof(buffer));
    for (ssize_t written; (written = write(writers[0], buffer, BLOCK)) > 0;) {
        total += (size_t)written;
    }
    say(1, "end");
    wake();
    for (size_t taken = 0; taken < total;) {
        int from = -1;
        ssize_t length = pipe_order_read(&order, buffer, sizeof(buffer), &from);
        assert_true(length > 0 && from == 0);
        taken += (size_t)length;
    }
    assert_next(1, "end");
    assert_nothing();
}

/* A writer that keeps its pipe full does not hide the other pipe. */
static void a_writer_without_end(void **state)
{
    (void)state;
    static const char block[BLOCK];
    for (int i = 0; i < 10; i++) {
        int from = -1;
        while (write(writers[0], block, BLOCK) > 0) {
        }
        wake();
        assert_true(pipe_order_read(&order, buffer, BLOCK, &from) > 0 && from == 0);
        say(1, "other");
        int reads = 0;
        while (from == 0) {
            while (write(writers[0], block, BLOCK) > 0) {
            }
            assert_true(++reads < 100);
            assert_true(pipe_order_read(&order, buffer, BLOCK, &from) > 0);
        }
        assert_memory_equal(buffer, "other", 5);
    }
}

static void an_end_is_told_once(void **state)
{
    (void)state;
    int from = -1;
    say(0, "last words");
    close_fd(&writers[1]);
    close_fd(&writers[0]);
    wake();
    assert_next(0, "last words");
    wake();
    assert_int_equal(pipe_order_read(&order, buffer, sizeof(buffer), &from), 0);
    int other = 1 - from;
    wake();
    assert_int_equal(pipe_order_read(&order, buffer, sizeof(buffer), &from), 0);
    assert_int_equal(from, other);
    wake();
    assert_nothing();
}

/* One may open a pipe anew, and take what poll(2) has reported. */
static void a_competing_reader(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        say(0, "x");
        say(1, "y");
        wake();
        assert_int_equal(read(readers[i], buffer, 1), 1);
        assert_next(1 - i, i == 0 ? "y" : "x");
        assert_nothing();
    }
}

/* In packet mode each read(2) gives one write: a short read does not mean that the pipe is empty.
 */
static void a_pipe_of_packets(void **state)
{
    (void)state;
    assert_int_equal(fcntl(writers[0], F_SETFL, O_DIRECT), 0);
    say(0, "one");
    say(0, "two");
    wake();
    assert_next(0, "one");
    wake();
    assert_next(0, "two");
    wake();
    assert_nothing();
}

/* At the end only what the pipes hold is read, in the same order. */
static void the_end(void **state)
{
    (void)state;
    say(1, "e");
    say(0, "o");
    pipe_order_finish(&order);
    assert_next(1, "e");
    say(1, "too late");
    assert_next(0, "o");
    say(0, "too late");
    assert_nothing();
}

/* Without epoll nothing is lost. One pipe alone is read as it is. */
static void without_a_watch(void **state)
{
    (void)state;
    const int one[] = {readers[0], -1};
    pipe_order_init(&order, -1, readers);
    say(1, "e");
    say(0, "o");
    wake();
    assert_next(0, "o");
    assert_next(1, "e");
    assert_nothing();
    pipe_order_init(&order, -1, one);
    say(0, "alone");
    wake();
    assert_next(0, "alone");
    wake();
    assert_nothing();
    say(0, "at the end");
    pipe_order_finish(&order);
    assert_next(0, "at the end");
    assert_nothing();
}

int main(void)
{
#define WITH_PIPES(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_PIPES(what_was_first_is_first),
        WITH_PIPES(what_comes_while_it_reads),
        WITH_PIPES(a_full_pipe_is_taken_whole),
        WITH_PIPES(a_writer_without_end),
        WITH_PIPES(an_end_is_told_once),
        WITH_PIPES(a_competing_reader),
        WITH_PIPES(a_pipe_of_packets),
        WITH_PIPES(the_end),
        WITH_PIPES(without_a_watch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
