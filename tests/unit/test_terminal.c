/*
 * A job with a terminal, by the connection that procd gives a client to its runner; and how long
 * the lines are that a terminal in canonical mode holds.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/ttydefaults.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "procd/jobs/job_record.h"
#include "procd/log/byte_cursor.h"
#include "procd/log/terminal_size.h"
#include "procd/runner/terminal_line.h"
#include "procd/wire/client.h"
#include "procd/wire/protocol.h"
#include "tests/unit/procd_fixture.h"

/* ---- a terminal and its runner ---- */

struct attached {
    char id[JOB_ID_SIZE];
    int directory, runner;
    struct byte_cursor cursor;
    char packet[MESSAGE_PACKET_MAX];
};

static void start(struct attached *attached, const char *cmd)
{
    const struct command command = {.cmd = cmd, .input = -1, .cols = 80, .rows = 24};
    struct job job;
    struct spawn_error error;
    assert_int_equal(procd_start(&command, &job, &error), PROCD_DONE);
    memcpy(attached->id, job.id, sizeof(job.id));
}

static void attach(struct attached *attached, const char *cmd)
{
    enum job_status status;
    start(attached, cmd);
    assert_int_equal(procd_attach(attached->id, &attached->directory, &attached->runner, &status),
                     PROCD_DONE);
    byte_cursor_open(&attached->cursor, attached->directory, 0);
}

static void detach(struct attached *attached)
{
    byte_cursor_close(&attached->cursor);
    close_fd(&attached->runner);
    close_fd(&attached->directory);
}

/* Waits until the terminal has put out `text`, from where the cursor is. */
static void await_output(struct attached *attached, const char *text)
{
    char all[4096];
    size_t length = 0;
    for (int tries = 0; tries < DEADLINE_MS; tries++) {
        uint64_t gap;
        ssize_t count =
            byte_cursor_read(&attached->cursor, all + length, sizeof(all) - 1 - length, &gap);
        assert_true(count >= 0);
        assert_int_equal(gap, 0);
        length += (size_t)count;
        all[length] = '\0';
        if (strstr(all, text) != NULL) {
            return;
        }
        (void)usleep(1000);
    }
    fail_msg("no %s in %s", text, all);
}

/* The next message of the runner, opened; the caller clears it. */
static void hear(struct attached *attached, struct incoming *message)
{
    await_readable(attached->runner);
    assert_int_equal(
        message_receive(attached->runner, attached->packet, sizeof(attached->packet), message, 0),
        1);
    assert_int_equal(message_open(message), 0);
}

static int64_t type_bytes(struct attached *attached, const char *data, size_t length,
                          int64_t serial, enum message_type expected)
{
    cleanup_message struct message message;
    cleanup_incoming struct incoming answer = {0};
    message_init(&message, MESSAGE_WRITE);
    message_add_bytes(&message, FIELD_DATA, data, length);
    message_add_number(&message, FIELD_SERIAL, serial);
    assert_int_equal(message_send(attached->runner, &message, NULL, 0), 0);
    hear(attached, &answer);
    assert_int_equal(answer.type, expected);
    assert_int_equal(message_number(&answer, FIELD_SERIAL, -1), serial);
    return message_number(&answer, FIELD_WRITTEN, -1);
}

static void offers_room(void **state)
{
    (void)state;
    static char paste[300000];
    struct attached attached;
    attach(&attached, "stty raw -echo; echo ready; read go </dev/fd/0; cat >/dev/null");
    await_output(&attached, "ready");
    memset(paste, 'x', sizeof(paste));
    size_t taken = (size_t)type_bytes(&attached, paste, sizeof(paste), 1, MESSAGE_WROTE);
    assert_in_range(taken, 4096, sizeof(paste) - 1);
    /* read(1) takes a byte at a time, and finds no end of a line: what it reads makes room. */
    for (int64_t serial = 2; taken < sizeof(paste); serial++) {
        cleanup_incoming struct incoming message = {0};
        hear(&attached, &message);
        assert_int_equal(message.type, MESSAGE_ROOM);
        taken += (size_t)type_bytes(&attached, paste + taken, sizeof(paste) - taken, serial,
                                    MESSAGE_WROTE);
    }
    enum job_status status;
    (void)kill_job(attached.id, &status);
    detach(&attached);
}

static void refuses_lines(void **state)
{
    (void)state;
    static char line[TERMINAL_LINE_MAX + 1];
    struct attached attached;
    attach(&attached, "echo ready; sleep 1000");
    await_output(&attached, "ready");
    memset(line, 'x', sizeof(line));
    assert_int_equal(type_bytes(&attached, line, sizeof(line), 7, MESSAGE_LINE_TOO_LONG), -1);
    assert_int_equal(type_bytes(&attached, line, sizeof(line) - 1, 8, MESSAGE_WROTE),
                     sizeof(line) - 1);
    assert_int_equal(type_bytes(&attached, "x", 1, 9, MESSAGE_LINE_TOO_LONG), -1);
    assert_int_equal(type_bytes(&attached, "\n", 1, 10, MESSAGE_WROTE), 1);
    enum job_status status;
    (void)kill_job(attached.id, &status);
    detach(&attached);
}

static void resizes_and_signals(void **state)
{
    (void)state;
    struct attached attached;
    struct terminal_size size;
    attach(&attached, "trap 'stty size; exit 5' INT; echo ready; while :; do sleep 0.01; done");
    await_output(&attached, "ready");
    cleanup_message struct message message;
    message_init(&message, MESSAGE_RESIZE);
    terminal_size_describe(&(const struct terminal_size){101, 33, 77}, &message);
    message_add_number(&message, FIELD_SERIAL, 5);
    assert_int_equal(message_send(attached.runner, &message, NULL, 0), 0);
    cleanup_incoming struct incoming answer = {0};
    hear(&attached, &answer);
    assert_int_equal(answer.type, MESSAGE_WROTE);
    assert_int_equal(terminal_size_read(attached.directory, &size), 0);
    assert_int_equal(size.set_by, 77);
    cleanup_message struct message kill;
    message_init(&kill, MESSAGE_KILL);
    message_add_number(&kill, FIELD_SIGNAL, SIGINT);
    assert_int_equal(message_send(attached.runner, &kill, NULL, 0), 0);
    await_output(&attached, "33 101");
    cleanup_incoming struct incoming ended = {0};
    hear(&attached, &ended);
    assert_int_equal(ended.type, MESSAGE_ENDED);
    assert_int_equal(message_number(&ended, FIELD_CODE, -1), 5);
    detach(&attached);
}

/* What has ended can be read to its end. */
static void gives_the_directory_of_an_ended_job(void **state)
{
    (void)state;
    struct attached attached;
    enum job_status status = JOB_RUNNING;
    start(&attached, "echo some; exit 3");
    await_job_end(attached.id);
    assert_int_equal(procd_attach(attached.id, &attached.directory, &attached.runner, &status),
                     PROCD_NOT_RUNNING);
    assert_int_equal(status, JOB_FAILED);
    assert_int_equal(attached.runner, -1);
    byte_cursor_open(&attached.cursor, attached.directory, 0);
    await_output(&attached, "some\r\n");
    struct job_exit ending;
    assert_int_equal(job_exit_read(attached.directory, &ending), 0);
    assert_int_equal(ending.how.code, 3);
    detach(&attached);
    assert_int_equal(procd_attach("00000000-0000-4000-8000-000000000000", &attached.directory,
                                  &attached.runner, &status),
                     PROCD_NOT_FOUND);
}

/* More clients than a runner listens to: the oldest go, and procd comes again. */
static void outlives_many_clients(void **state)
{
    (void)state;
    struct attached attached;
    int directories[20];
    int runners[20];
    enum job_status status;
    attach(&attached, "read line; exit 4");
    for (int i = 0; i < 20; i++) {
        enum procd_result attaching;
        do { /* as fast as the runner accepts */
            status = JOB_FAILED;
            directories[i] = runners[i] = -1;
            attaching = procd_attach(attached.id, &directories[i], &runners[i], &status);
            assert_true(attaching == PROCD_DONE || status == JOB_RUNNING);
            if (attaching != PROCD_DONE) {
                close_fd(&directories[i]);
            }
        } while (attaching != PROCD_DONE);
    }
    size_t written;
    enum procd_result result;
    do { /* an order that is given while procd is hung up on is not answered, and may be done */
        result = procd_write(attached.id, "\r", 1, false, &written, &status);
    } while (result == PROCD_LOST);
    await_job_end(attached.id);
    assert_int_equal(find_job(attached.id).ending.code, 4);
    for (int i = 0; i < 20; i++) {
        close_fd(&directories[i]);
        close_fd(&runners[i]);
    }
    detach(&attached);
}

/* ---- lines ---- */

static struct termios canonical_mode(void)
{
    struct termios mode = {.c_iflag = ICRNL, .c_lflag = ICANON | ISIG | IEXTEN};
    mode.c_cc[VINTR] = CINTR;
    mode.c_cc[VQUIT] = CQUIT;
    mode.c_cc[VSUSP] = CSUSP;
    mode.c_cc[VERASE] = CERASE;
    mode.c_cc[VKILL] = CKILL;
    mode.c_cc[VEOF] = CEOF;
    mode.c_cc[VLNEXT] = CLNEXT;
    return mode;
}

static size_t length_of(const struct termios *mode, const char *text, size_t length)
{
    struct terminal_line line = {0};
    terminal_line_take(&line, mode, text, length);
    return line.length;
}

static void follows_lines(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t length;
    } cases[] = {
        {"", 0},           {"abc", 3},          {"abc\n", 0},     {"abc\r", 0},   {"abc\rd", 1},
        {"abc\004", 0},    {"abc\025de", 2},    {"abc\003de", 2}, {"abc\177", 2}, {"\177\177a", 1},
        {"a\026\025b", 3}, {"a\026\026\nb", 1}, {"a\034bc", 2},   {"a\032bc", 2}, {"\xc3\xa9", 2},
    };
    struct termios mode = canonical_mode();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(length_of(&mode, cases[i].text, strlen(cases[i].text)), cases[i].length);
    }
    mode.c_lflag |= NOFLSH;
    assert_int_equal(length_of(&mode, "abc\003de", 6), 6);
    mode = canonical_mode();
    mode.c_cc[VKILL] = _POSIX_VDISABLE;
    mode.c_iflag = 0;
    assert_int_equal(length_of(&mode, "a\025\0b\rc", 6), 6);
    mode.c_lflag = 0;
    assert_int_equal(length_of(&mode, "abc", 3), 0);
}

static void knows_what_fits(void **state)
{
    (void)state;
    static char text[3 * TERMINAL_LINE_MAX];
    struct termios mode = canonical_mode();
    struct terminal_line line = {.length = 10};
    memset(text, 'x', sizeof(text));
    assert_true(terminal_line_fits(&line, &mode, text, TERMINAL_LINE_MAX - 10));
    assert_false(terminal_line_fits(&line, &mode, text, TERMINAL_LINE_MAX - 9));
    text[TERMINAL_LINE_MAX - 10] = '\n';
    assert_true(terminal_line_fits(&line, &mode, text, 2 * TERMINAL_LINE_MAX - 9));
    assert_false(terminal_line_fits(&line, &mode, text, 2 * TERMINAL_LINE_MAX - 8));
    assert_int_equal(line.length, 10);
    mode.c_lflag = 0;
    assert_true(terminal_line_fits(&line, &mode, text, sizeof(text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offers_room),
        cmocka_unit_test(refuses_lines),
        cmocka_unit_test(resizes_and_signals),
        cmocka_unit_test(gives_the_directory_of_an_ended_job),
        cmocka_unit_test(outlives_many_clients),
        cmocka_unit_test(follows_lines),
        cmocka_unit_test(knows_what_fits),
    };
    return cmocka_run_group_tests(tests, procd_setup, procd_teardown);
}
