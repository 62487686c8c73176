#include "procd/wire/words.h"

#include <errno.h>

#include "common/cleanup.h"
#include "procd/wire/protocol.h"

int spawn_send_failure(int socket, enum spawn_stage stage, int error)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_FAILED);
    message_add_number(&message, FIELD_STAGE, stage);
    message_add_number(&message, FIELD_ERROR, error);
    return message_send(socket, &message, NULL, 0);
}

int spawn_send_started(int socket, pid_t pid, const int *descriptors, size_t count)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_STARTED);
    message_add_number(&message, FIELD_PID, pid);
    return message_send(socket, &message, descriptors, count);
}

struct spawn_error spawn_error_of(const struct incoming *message)
{
    int64_t stage = message_number(message, FIELD_STAGE, SPAWN_PREPARE);
    bool known = stage >= SPAWN_PREPARE && stage < SPAWN_STAGE_END;
    return (struct spawn_error){.stage = known ? (enum spawn_stage)stage : SPAWN_PREPARE,
                                .error = (int)message_number(message, FIELD_ERROR, EIO)};
}

const char *job_status_name(enum job_status status)
{
    static const char *const names[] = {[JOB_RUNNING] = "running",
                                        [JOB_COMPLETED] = "completed",
                                        [JOB_FAILED] = "failed",
                                        [JOB_KILLED] = "killed"};
    return names[status];
}

enum job_status job_status_of(int64_t number)
{
    return number >= JOB_RUNNING && number <= JOB_KILLED ? (enum job_status)number : JOB_FAILED;
}

const char *end_reason_name(enum end_reason reason)
{
    static const char *const names[] = {
        [END_UNKNOWN] = NULL,    [END_EXIT] = "exit",       [END_SIGNAL] = "signal",
        [END_KILLED] = "killed", [END_TIMEOUT] = "timeout", [END_OOM] = "oom",
        [END_LOST] = "lost",
    };
    return names[reason];
}

enum end_reason end_reason_of(int64_t number)
{
    return number > END_UNKNOWN && number <= END_LOST ? (enum end_reason)number : END_LOST;
}

void ending_describe(const struct ending *ending, struct message *message)
{
    message_add_number(message, FIELD_CODE, ending->code);
    message_add_number(message, FIELD_SIGNAL, ending->signal);
    message_add_number(message, FIELD_REASON, ending->reason);
    message_add_number(message, FIELD_CPU_USER_MS, (int64_t)ending->cpu_user_ms);
    message_add_number(message, FIELD_CPU_SYSTEM_MS, (int64_t)ending->cpu_system_ms);
    message_add_number(message, FIELD_MAX_RSS_KB, (int64_t)ending->max_rss_kb);
}

struct ending ending_of(const struct incoming *message)
{
    return (struct ending){
        .code = (int)message_number(message, FIELD_CODE, -1),
        .signal = (int)message_number(message, FIELD_SIGNAL, 0),
        .reason = end_reason_of(message_number(message, FIELD_REASON, END_LOST)),
        .cpu_user_ms = (uint64_t)message_number(message, FIELD_CPU_USER_MS, 0),
        .cpu_system_ms = (uint64_t)message_number(message, FIELD_CPU_SYSTEM_MS, 0),
        .max_rss_kb = (uint64_t)message_number(message, FIELD_MAX_RSS_KB, 0),
    };
}

void job_position_describe(const struct job_position *position, struct message *message)
{
    message_add_number(message, FIELD_FIRST_OFFSET, (int64_t)position->first_offset);
    message_add_number(message, FIELD_FIRST_LINE, (int64_t)position->first_line);
    message_add_number(message, FIELD_NEXT_OFFSET, (int64_t)position->next_offset);
    message_add_number(message, FIELD_NEXT_LINE, (int64_t)position->next_line);
    message_add_number(message, FIELD_LINES_DROPPED, (int64_t)position->lines_dropped);
}

struct job_position job_position_of(const struct incoming *message)
{
    return (struct job_position){
        .first_offset = (uint64_t)message_number(message, FIELD_FIRST_OFFSET, -1),
        .first_line = (uint64_t)message_number(message, FIELD_FIRST_LINE, -1),
        .next_offset = (uint64_t)message_number(message, FIELD_NEXT_OFFSET, -1),
        .next_line = (uint64_t)message_number(message, FIELD_NEXT_LINE, -1),
        .lines_dropped = (uint64_t)message_number(message, FIELD_LINES_DROPPED, -1),
    };
}
