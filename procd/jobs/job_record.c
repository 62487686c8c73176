/*
 * Both records are messages of the protocol.
 */
#include "procd/jobs/job_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "procd/log/job_files.h"
#include "procd/wire/protocol.h"

#define RECORD_NEW  "record.new"
#define EXIT_NEW    "exit.new"
#define EXIT_ROOM   1024 /* what an exit record takes at most */
#define ELLIPSIS    "\xe2\x80\xa6"
#define RECORD_ROOM (2 * COMMAND_SHOWN_MAX + 1024)

char *command_shown(const char *text)
{
    size_t length = strlen(text);
    if (length <= COMMAND_SHOWN_MAX) {
        return strdup(text);
    }
    size_t cut = COMMAND_SHOWN_MAX - strlen(ELLIPSIS);
    while (cut > 0 && ((unsigned char)text[cut] & 0xc0) == 0x80) {
        cut--; /* not within a character */
    }
    char *shown = NULL;
    return asprintf(&shown, "%.*s%s", (int)cut, text, ELLIPSIS) < 0 ? NULL : shown;
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

int job_record_draft(int directory, const struct job_record *record, struct job_record_draft *draft)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_RECORD);
    message_add_text(&message, FIELD_ID, record->id);
    message_add_number(&message, FIELD_PID, 0);
    draft->pid_at = (off_t)(message.length - sizeof(int64_t)); /* the field's value ends it */
    message_add_number(&message, FIELD_STARTED_AT, (int64_t)record->started_at);
    message_add_number(&message, FIELD_AGE_KEY, (int64_t)record->age_key);
    message_add_text(&message, FIELD_CWD, record->cwd);
    message_add_text(&message, FIELD_COMMAND, record->command);
    if (record->request_id[0] != '\0') {
        message_add_text(&message, FIELD_REQUEST_ID, record->request_id);
    }
    if (record->has_terminal) {
        terminal_size_describe(&record->size, &message);
    }
    draft->directory = directory;
    draft->fd = message_save(directory, RECORD_NEW, &message);
    return draft->fd < 0 ? -1 : 0;
}

int job_record_publish(const struct job_record_draft *draft, pid_t pid)
{
    int64_t number = pid;
    if (pwrite(draft->fd, &number, sizeof(number), draft->pid_at) != (ssize_t)sizeof(number)) {
        return -1; /* a file does not take a part of what it has room for */
    }
    return renameat(draft->directory, RECORD_NEW, draft->directory, JOB_RECORD_FILE);
}

void job_record_draft_close(struct job_record_draft *draft)
{
    close_fd(&draft->fd);
}

int job_record_read(int directory, const char *id, struct job_record *record)
{
    cleanup_free char *buffer = malloc(RECORD_ROOM);
    struct incoming incoming;
    *record = (struct job_record){0};
    if (buffer == NULL ||
        load(directory, JOB_RECORD_FILE, MESSAGE_RECORD, buffer, RECORD_ROOM, &incoming) < 0) {
        return -1;
    }
    const char *named = message_text(&incoming, FIELD_ID);
    const char *command = message_text(&incoming, FIELD_COMMAND);
    const char *cwd = message_text(&incoming, FIELD_CWD);
    const char *request_id = message_text(&incoming, FIELD_REQUEST_ID);
    int64_t age_key = message_number(&incoming, FIELD_AGE_KEY, 0);
    if (named == NULL || strcmp(named, id) != 0 || strlen(id) != JOB_ID_SIZE - 1 ||
        command == NULL || cwd == NULL || age_key <= 0) {
        errno = EBADMSG;
        return -1;
    }
    memcpy(record->id, id, JOB_ID_SIZE);
    record->pid = (pid_t)message_number(&incoming, FIELD_PID, 0);
    record->started_at = (uint64_t)message_number(&incoming, FIELD_STARTED_AT, 0);
    record->age_key = (uint64_t)age_key;
    record->has_terminal = terminal_size_of(&incoming, &record->size);
    record->command = strdup(command);
    record->cwd = strdup(cwd);
    (void)snprintf(record->request_id, sizeof(record->request_id), "%s",
                   request_id == NULL ? "" : request_id);
    if (record->command == NULL || record->cwd == NULL) {
        job_record_clear(record);
        errno = ENOMEM;
        return -1;
    }
    return 0;
}

void job_record_clear(struct job_record *record)
{
    free(record->command);
    free(record->cwd);
    record->command = record->cwd = NULL;
}

int job_exit_reserve(int directory)
{
    static const char zeros[EXIT_ROOM];
    cleanup_fd int fd =
        openat(directory, EXIT_NEW, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    return fd < 0 ? -1 : io_write_all(fd, zeros, sizeof(zeros));
}

void job_exit_describe(const struct job_exit *ending, struct message *message)
{
    message_add_number(message, FIELD_STATUS, ending->status);
    ending_describe(&ending->how, message);
    message_add_number(message, FIELD_ENDED_AT, (int64_t)ending->ended_at);
    message_add_number(message, FIELD_ENDED_BOOT_NS, (int64_t)ending->ended_boot_ns);
    if (ending->runner > 0) {
        message_add_number(message, FIELD_RUNNER_PID, ending->runner);
        message_add_number(message, FIELD_RUNNER_STARTED, (int64_t)ending->runner_started);
    }
}

struct job_exit job_exit_of(const struct incoming *message)
{
    int64_t status = message_number(message, FIELD_STATUS, JOB_FAILED);
    int64_t ended_boot_ns = message_number(message, FIELD_ENDED_BOOT_NS, 0);
    return (struct job_exit){
        /* A command can reach what is read here: whatever it says, the job has ended. */
        .status =
            status > JOB_RUNNING && status <= JOB_KILLED ? (enum job_status)status : JOB_FAILED,
        .how = ending_of(message),
        .ended_at = (uint64_t)message_number(message, FIELD_ENDED_AT, 0),
        .ended_boot_ns = ended_boot_ns > 0 ? (uint64_t)ended_boot_ns : 0,
        .runner = (pid_t)message_number(message, FIELD_RUNNER_PID, 0),
        .runner_started = (uint64_t)message_number(message, FIELD_RUNNER_STARTED, 0),
    };
}

int job_exit_write(int directory, const struct job_exit *ending)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_EXITED);
    job_exit_describe(ending, &message);
    cleanup_fd int fd = message_save(directory, EXIT_NEW, &message);
    return fd < 0 ? -1 : renameat(directory, EXIT_NEW, directory, JOB_EXIT_FILE);
}

int job_exit_read(int directory, struct job_exit *ending)
{
    char buffer[EXIT_ROOM];
    struct incoming incoming;
    if (load(directory, JOB_EXIT_FILE, MESSAGE_EXITED, buffer, sizeof(buffer), &incoming) < 0) {
        return -1;
    }
    *ending = job_exit_of(&incoming);
    return 0;
}
