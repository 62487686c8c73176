/*
 * The two records, in the form of the protocol's messages.
 */
#include "procd/job_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "procd/job_files.h"
#include "procd/protocol.h"

#define RECORD_NEW  "record.new"
#define EXIT_NEW    "exit.new"
#define EXIT_ROOM   1024 /* what an exit record takes at most */
#define ELLIPSIS    "\xe2\x80\xa6"
#define RECORD_ROOM (COMMAND_SHOWN_MAX + 1024)

char *command_shown(const char *cmd)
{
    size_t length = strlen(cmd);
    if (length <= COMMAND_SHOWN_MAX) {
        return strdup(cmd);
    }
    size_t cut = COMMAND_SHOWN_MAX - strlen(ELLIPSIS);
    while (cut > 0 && ((unsigned char)cmd[cut] & 0xc0) == 0x80) {
        cut--; /* not within a character */
    }
    char *shown = NULL;
    return asprintf(&shown, "%.*s%s", (int)cut, cmd, ELLIPSIS) < 0 ? NULL : shown;
}

/* Writes the message to `draft`, over what is there, and gives it its name. */
static int publish(int directory, const char *draft, const char *name, struct message *message)
{
    cleanup_fd int fd = openat(directory, draft, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || message_write_file(fd, message) < 0 ||
        ftruncate(fd, (off_t)message->length) < 0) {
        return -1;
    }
    return renameat(directory, draft, directory, name);
}

/* Reads a record of type `type` into `buffer`, which must outlive *incoming. */
static int load(int directory, const char *name, enum message_type type, char *buffer, size_t size,
                struct incoming *incoming)
{
    cleanup_fd int fd = io_open_regular(directory, name, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : io_read_full(fd, buffer, size);
    if (length < 0 || message_parse(buffer, (size_t)length, incoming) < 0) {
        return -1;
    }
    if (incoming->type != type) {
        errno = EBADMSG;
        return -1;
    }
    return 0;
}

int job_record_write(int directory, const struct job_record *record)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_RECORD);
    message_add_text(&message, FIELD_ID, record->id);
    message_add_number(&message, FIELD_PID, record->pid);
    message_add_number(&message, FIELD_STARTED_AT, (int64_t)record->started_at);
    message_add_text(&message, FIELD_COMMAND, record->command);
    return publish(directory, RECORD_NEW, JOB_RECORD_FILE, &message);
}

int job_record_read(int directory, struct job_record *record)
{
    cleanup_free char *buffer = malloc(RECORD_ROOM);
    struct incoming incoming;
    *record = (struct job_record){0};
    if (buffer == NULL ||
        load(directory, JOB_RECORD_FILE, MESSAGE_RECORD, buffer, RECORD_ROOM, &incoming) < 0) {
        return -1;
    }
    const char *id = message_text(&incoming, FIELD_ID);
    const char *command = message_text(&incoming, FIELD_COMMAND);
    if (id == NULL || strlen(id) != JOB_ID_SIZE - 1 || command == NULL) {
        errno = EBADMSG;
        return -1;
    }
    memcpy(record->id, id, JOB_ID_SIZE);
    record->pid = (pid_t)message_number(&incoming, FIELD_PID, 0);
    record->started_at = (uint64_t)message_number(&incoming, FIELD_STARTED_AT, 0);
    record->command = strdup(command);
    return record->command == NULL ? -1 : 0;
}

void job_record_clear(struct job_record *record)
{
    free(record->command);
    record->command = NULL;
}

int job_exit_reserve(int directory)
{
    static const char zeros[EXIT_ROOM];
    cleanup_fd int fd =
        openat(directory, EXIT_NEW, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -1 : io_write_all(fd, zeros, sizeof(zeros));
}

int job_exit_write(int directory, const struct job_exit *ending)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_EXITED);
    message_add_number(&message, FIELD_STATUS, ending->status);
    message_add_number(&message, FIELD_CODE, ending->code);
    message_add_number(&message, FIELD_SIGNAL, ending->signal);
    message_add_number(&message, FIELD_LOST, ending->lost);
    message_add_number(&message, FIELD_ENDED_AT, (int64_t)ending->ended_at);
    message_add_number(&message, FIELD_CPU_USER_MS, (int64_t)ending->cpu_user_ms);
    message_add_number(&message, FIELD_CPU_SYSTEM_MS, (int64_t)ending->cpu_system_ms);
    message_add_number(&message, FIELD_MAX_RSS_KB, (int64_t)ending->max_rss_kb);
    return publish(directory, EXIT_NEW, JOB_EXIT_FILE, &message);
}

int job_exit_read(int directory, struct job_exit *ending)
{
    char buffer[EXIT_ROOM];
    struct incoming incoming;
    if (load(directory, JOB_EXIT_FILE, MESSAGE_EXITED, buffer, sizeof(buffer), &incoming) < 0) {
        return -1;
    }
    int64_t status = message_number(&incoming, FIELD_STATUS, JOB_FAILED);
    *ending = (struct job_exit){
        .status =
            status >= JOB_COMPLETED && status <= JOB_KILLED ? (enum job_status)status : JOB_FAILED,
        .code = (int)message_number(&incoming, FIELD_CODE, -1),
        .signal = (int)message_number(&incoming, FIELD_SIGNAL, 0),
        .lost = message_number(&incoming, FIELD_LOST, 0) != 0,
        .ended_at = (uint64_t)message_number(&incoming, FIELD_ENDED_AT, 0),
        .cpu_user_ms = (uint64_t)message_number(&incoming, FIELD_CPU_USER_MS, 0),
        .cpu_system_ms = (uint64_t)message_number(&incoming, FIELD_CPU_SYSTEM_MS, 0),
        .max_rss_kb = (uint64_t)message_number(&incoming, FIELD_MAX_RSS_KB, 0),
    };
    return 0;
}
