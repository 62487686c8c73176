#include "procd/log/terminal_size.h"

#include <errno.h>

#include "procd/log/job_files.h"
#include "procd/log/settled_file.h"
#include "procd/wire/protocol.h"

void terminal_size_describe(const struct terminal_size *size, struct message *message)
{
    message_add_number(message, FIELD_COLS, size->cols);
    message_add_number(message, FIELD_ROWS, size->rows);
    message_add_number(message, FIELD_SET_BY, size->set_by);
}

static bool is_terminal_length(int64_t number)
{
    return number >= 1 && number <= TERMINAL_SIZE_MAX;
}

bool terminal_size_of(const struct incoming *message, struct terminal_size *size)
{
    int64_t cols = message_number(message, FIELD_COLS, 0);
    int64_t rows = message_number(message, FIELD_ROWS, 0);
    if (!is_terminal_length(cols) || !is_terminal_length(rows)) {
        return false;
    }
    *size = (struct terminal_size){(int)cols, (int)rows, message_number(message, FIELD_SET_BY, 0)};
    return true;
}

static void render_size(const struct terminal_size *size, struct message *message)
{
    message_init(message, MESSAGE_SIZE);
    terminal_size_describe(size, message);
}

int terminal_size_create(int directory, const struct terminal_size *size)
{
    struct message message;
    render_size(size, &message);
    return message_save(directory, JOB_SIZE_FILE, &message);
}

int terminal_size_update(int fd, const struct terminal_size *size)
{
    struct message message;
    render_size(size, &message);
    return message_overwrite_file(fd, &message);
}

int terminal_size_read(int directory, struct terminal_size *size)
{
    char data[SETTLED_FILE_MAX];
    struct incoming message;
    ssize_t length = settled_file_read(directory, JOB_SIZE_FILE, data);
    if (length < 0 || message_parse(data, (size_t)length, &message) < 0) {
        return -1;
    }
    if (message.type != MESSAGE_SIZE || !terminal_size_of(&message, size)) {
        errno = EBADMSG;
        return -1;
    }
    return 0;
}
