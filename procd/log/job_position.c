/*
 * The file is one message whose size never changes, so a write over it needs no new room and no
 * rename. What a reader finds may be half of one write and half of the next; it reads until it has
 * found the same twice.
 */
#include "procd/log/job_position.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "procd/log/job_files.h"
#include "procd/wire/protocol.h"

#define ROOM     256 /* more than the file is long */
#define ATTEMPTS 100

static void render(const struct job_position *position, struct message *message)
{
    message_init(message, MESSAGE_POSITION);
    job_position_describe(position, message);
}

int job_position_create(int directory, const struct job_position *position)
{
    struct message message;
    render(position, &message);
    return message_save(directory, JOB_POSITION_FILE, &message);
}

int job_position_update(int fd, const struct job_position *position)
{
    struct message message;
    render(position, &message);
    return message_overwrite_file(fd, &message);
}

/* Reads until two reads in a row agree. Its length, or -1 with errno. */
static ssize_t read_settled(int fd, char *data)
{
    char again[ROOM];
    ssize_t length = io_read_at(fd, data, ROOM, 0);
    for (int attempt = 0; length >= 0 && attempt < ATTEMPTS; attempt++) {
        ssize_t length_again = io_read_at(fd, again, ROOM, 0);
        if (length_again == length && memcmp(data, again, (size_t)length) == 0) {
            return length;
        }
        length = length_again;
        memcpy(data, again, length < 0 ? 0 : (size_t)length);
    }
    if (length >= 0) {
        errno = EBADMSG;
    }
    return -1;
}

int job_position_read(int directory, struct job_position *position)
{
    char data[ROOM];
    struct incoming message;
    cleanup_fd int fd = io_open_regular(directory, JOB_POSITION_FILE, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : read_settled(fd, data);
    if (length < 0 || message_parse(data, (size_t)length, &message) < 0) {
        return -1;
    }
    *position = job_position_of(&message);
    /* A number that is missing is larger than any. */
    if (message.type != MESSAGE_POSITION || position->first_offset > position->next_offset ||
        position->first_line > position->lines_dropped ||
        position->lines_dropped > position->next_line || position->next_offset > INT64_MAX ||
        position->next_line > INT64_MAX) {
        errno = EBADMSG;
        return -1;
    }
    return 0;
}
