/*
 * The file is one message whose size never changes, so a write over it needs no new room and no
 * rename.
 */
#include "procd/log/job_position.h"

#include <errno.h>

#include "procd/log/job_files.h"
#include "procd/log/settled_file.h"
#include "procd/wire/protocol.h"

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

int job_position_read(int directory, struct job_position *position)
{
    char data[SETTLED_FILE_MAX];
    struct incoming message;
    ssize_t length = settled_file_read(directory, JOB_POSITION_FILE, data);
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
