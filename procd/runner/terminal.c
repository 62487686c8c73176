/*
 * The master is read until it has nothing, 4 KiB at a time, as the kernel hands them out; then all
 * is written to the log at once, because each write wakes those who view it.
 */
#include "procd/runner/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/logger.h"
#include "procd/runner/confinement.h"

#define READ_MAX       ((size_t)65536)
#define READS_PER_TURN 16
#define FINISH_READS   4 /* more than the kernel holds of what was written before */
#define SLAVE_FLAGS    (O_RDWR | O_NOCTTY | O_CLOEXEC)

/* ---- the beginning ---- */

/* A devpts may be mounted without a link to it in /dev. */
static int open_master(void)
{
    const int flags = O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK;
    int fd = open("/dev/ptmx", flags);
    if (fd < 0 && errno == ENOENT) {
        fd = open("/dev/pts/ptmx", flags);
    }
    return fd;
}

/* By the master where the kernel can (Linux 4.13), so that no path is needed. */
static int open_slave(int master)
{
    char path[32];
    int fd = ioctl(master, TIOCGPTPEER, SLAVE_FLAGS);
    if (fd < 0 && (errno == ENOTTY || errno == EINVAL)) {
        fd = ptsname_r(master, path, sizeof(path)) == 0 ? open(path, SLAVE_FLAGS) : -1;
    }
    return fd;
}

static int set_size(int master, const struct terminal_size *size)
{
    const struct winsize kernel = {.ws_col = (unsigned short)size->cols,
                                   .ws_row = (unsigned short)size->rows};
    return ioctl(master, TIOCSWINSZ, &kernel);
}

/* Nobody but its owner may write to it, and characters are erased whole. */
static int prepare_slave(int slave)
{
    struct termios mode;
    if (confinement_give(slave) < 0 || fchmod(slave, S_IRUSR | S_IWUSR) < 0 ||
        tcgetattr(slave, &mode) < 0) {
        return -1;
    }
    mode.c_iflag |= IUTF8;
    return tcsetattr(slave, TCSANOW, &mode);
}

int terminal_open(struct terminal *terminal, const struct terminal_size *size, int directory,
                  uint64_t log_max)
{
    int unlocked = 0;
    terminal->master = open_master();
    if (terminal->master < 0 || ioctl(terminal->master, TIOCSPTLCK, &unlocked) < 0) {
        return -1;
    }
    terminal->slave = open_slave(terminal->master);
    if (terminal->slave < 0 || prepare_slave(terminal->slave) < 0 ||
        set_size(terminal->master, size) < 0) {
        return -1;
    }
    terminal->size_file = terminal_size_create(directory, size);
    return terminal->size_file < 0 ? -1 : byte_log_open(&terminal->log, directory, log_max);
}

void terminal_close(struct terminal *terminal)
{
    byte_log_close(&terminal->log);
    close_fd(&terminal->size_file);
    close_fd(&terminal->slave);
    close_fd(&terminal->master);
}

/* ---- output ---- */

short terminal_events(const struct terminal *terminal, bool wants_room)
{
    return wants_room || terminal->eofs_owed > 0 ? POLLIN | POLLOUT : POLLIN;
}

bool terminal_is_open(const struct terminal *terminal)
{
    return terminal->master >= 0 && !terminal->is_over;
}

/* The master has reported a hang-up: nobody has the slave, not even we, as after vhangup(2). While
 * the session lives somebody may open it again. */
static void hear_hangup(struct terminal *terminal)
{
    bool is_ours = terminal->slave >= 0;
    close_fd(&terminal->slave);
    if (is_ours) {
        terminal->slave = open_slave(terminal->master);
    }
    terminal->is_over = terminal->slave < 0;
}

/* Reads until there is no more, or as much as one write to the log is to have. Whether there may be
 * more. */
static bool read_batch(struct terminal *terminal)
{
    static char buffer[READ_MAX]; /* a runner has one job and one thread */
    size_t used = 0;
    ssize_t count = 1;
    while (count > 0 && used < sizeof(buffer)) {
        count = io_read_some(terminal->master, buffer + used, sizeof(buffer) - used);
        used += count > 0 ? (size_t)count : 0;
    }
    int error = errno;
    if (used > 0) {
        byte_log_write(&terminal->log, buffer, used);
    }
    if (count < 0 && error != EAGAIN) {
        hear_hangup(terminal);
    }
    return count > 0;
}

void terminal_read(struct terminal *terminal)
{
    for (int reads = 0; reads < READS_PER_TURN && read_batch(terminal); reads++) {
    }
}

void terminal_leave(struct terminal *terminal)
{
    close_fd(&terminal->slave);
}

void terminal_finish(struct terminal *terminal)
{
    terminal_leave(terminal);
    for (int reads = 0; reads < FINISH_READS && !terminal->is_over && read_batch(terminal);
         reads++) {
    }
    byte_log_close(&terminal->log);
}

/* ---- input ---- */

/* Writes once. The count, 0 when there is no room, or -1. */
static ssize_t write_some(struct terminal *terminal, const struct termios *mode, const char *data,
                          size_t length)
{
    ssize_t count = TEMP_FAILURE_RETRY(write(terminal->master, data, length));
    if (count < 0) {
        return errno == EAGAIN ? 0 : -1;
    }
    terminal_line_take(&terminal->line, mode, data, (size_t)count);
    return count;
}

/* Writes the end-of-file characters that are owed. Whether none is any more. */
static bool pay_eofs(struct terminal *terminal, const struct termios *mode)
{
    const char eof = (char)(mode->c_cc[VEOF] == _POSIX_VDISABLE ? CEOF : mode->c_cc[VEOF]);
    while (terminal->eofs_owed > 0 && write_some(terminal, mode, &eof, 1) == 1) {
        terminal->eofs_owed--;
    }
    return terminal->eofs_owed == 0;
}

enum terminal_input terminal_write(struct terminal *terminal, const char *data, size_t length,
                                   bool eof, size_t *written)
{
    struct termios mode;
    *written = 0;
    if (tcgetattr(terminal->master, &mode) < 0) {
        return TERMINAL_GONE;
    }
    if (!pay_eofs(terminal, &mode)) {
        terminal->eofs_owed += eof && length == 0;
        return TERMINAL_TOOK;
    }
    if (!terminal_line_fits(&terminal->line, &mode, data, length)) {
        return TERMINAL_LINE_TOO_LONG;
    }
    ssize_t count = 1;
    while (*written < length && count > 0) {
        count = write_some(terminal, &mode, data + *written, length - *written);
        *written += count > 0 ? (size_t)count : 0;
    }
    if (eof && *written == length) {
        terminal->eofs_owed++;
        (void)pay_eofs(terminal, &mode);
    }
    return count < 0 ? TERMINAL_GONE : TERMINAL_TOOK;
}

bool terminal_has_room(struct terminal *terminal)
{
    struct termios mode;
    return tcgetattr(terminal->master, &mode) == 0 && pay_eofs(terminal, &mode);
}

/* ---- orders ---- */

int terminal_resize(struct terminal *terminal, const struct terminal_size *size)
{
    if (set_size(terminal->master, size) < 0) {
        return -1;
    }
    return terminal_size_update(terminal->size_file, size);
}

pid_t terminal_signal(const struct terminal *terminal, int signal)
{
    pid_t group = tcgetpgrp(terminal->master);
    /* The kernel takes these three (pty_signal()), and asks for no permission: a command may have
     * become another user. */
    bool is_key = signal == SIGINT || signal == SIGQUIT || signal == SIGTSTP;
    if (is_key && ioctl(terminal->master, TIOCSIG, signal) == 0) {
        return group;
    }
    if (group <= 1 || kill(-group, signal) < 0) {
        return -1;
    }
    return group;
}
