/*
 * Requests about background jobs.
 */
#include "procd/wire/client.h"

#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "procd/wire/client_request.h"

#define WAIT_OTHERS_MAX 4     /* descriptors that are polled besides procd's */
#define WAIT_SLICE_MS   60000 /* poll(2) takes an int */

static uint64_t number_of(const struct incoming *fields, enum field_tag tag)
{
    return (uint64_t)message_number(fields, tag, 0);
}

static const char *text_of(const struct incoming *fields, enum field_tag tag)
{
    const char *text = message_text(fields, tag);
    return text == NULL ? "" : text;
}

static void read_leftovers(const struct incoming *fields, struct job *job)
{
    struct incoming left = {0};
    while (job->left_count < LEFT_PROCESSES_MAX &&
           message_next_group(fields, FIELD_LEFT_PID, &left)) {
        job->left[job->left_count++] = (struct left_process){
            (pid_t)number_of(&left, FIELD_LEFT_PID), text_of(&left, FIELD_LEFT_NAME)};
    }
}

static void read_job(const struct incoming *fields, struct job *job)
{
    *job = (struct job){
        .pid = (pid_t)number_of(fields, FIELD_PID),
        .status = job_status_of(message_number(fields, FIELD_STATUS, JOB_RUNNING)),
        .command = text_of(fields, FIELD_COMMAND),
        .cwd = text_of(fields, FIELD_CWD),
        .started_at = number_of(fields, FIELD_STARTED_AT),
        .age_key = number_of(fields, FIELD_AGE_KEY),
        .has_position = message_number(fields, FIELD_NEXT_OFFSET, -1) >= 0,
        .cols = (int)message_number(fields, FIELD_COLS, 0),
        .rows = (int)message_number(fields, FIELD_ROWS, 0),
        .ended_at = number_of(fields, FIELD_ENDED_AT),
        .ending = ending_of(fields),
    };
    (void)snprintf(job->id, sizeof(job->id), "%s", text_of(fields, FIELD_ID));
    if (job->status == JOB_RUNNING) {
        job->ending.reason = END_UNKNOWN;
    }
    if (job->has_position) {
        job->position = job_position_of(fields);
    }
    read_leftovers(fields, job);
}

/* Begins a request about one job. */
static void ask_about(struct message *request, enum message_type type, const char *id)
{
    message_init(request, type);
    message_add_text(request, FIELD_ID, id);
}

enum procd_result procd_start(const struct command *command, struct job *job,
                              struct spawn_error *spawn_error)
{
    cleanup_message struct message request;
    cleanup_procd_answer struct procd_answer answer = {.packet = malloc(MESSAGE_PACKET_MAX)};
    message_init(&request, MESSAGE_START);
    client_add_command(&request, command);
    enum procd_result result = client_ask(&request, &answer, CLIENT_RETRY_MS, CLIENT_ANSWER_MS);
    if (result != PROCD_DONE) {
        return result;
    }
    if (answer.message.type == MESSAGE_FAILED) {
        *spawn_error = spawn_error_of(&answer.message);
        return PROCD_NOT_STARTED;
    }
    if (answer.message.type == MESSAGE_TOO_MANY) {
        return message_number(&answer.message, FIELD_COLS, 0) != 0 ? PROCD_TOO_MANY_TERMINALS
                                                                   : PROCD_TOO_MANY;
    }
    if (answer.message.type != MESSAGE_STARTED) {
        return PROCD_LOST;
    }
    read_job(&answer.message, job);
    job->command = job->cwd = ""; /* the answer is released */
    return PROCD_DONE;
}

/* Hands out the jobs in a JOBS message. The key of the last of them, 0 if there is none. */
static uint64_t read_jobs(const struct incoming *message, job_function *each, void *context)
{
    struct job job = {.age_key = 0};
    struct incoming fields = {0};
    while (message_next_group(message, FIELD_ID, &fields)) {
        read_job(&fields, &job);
        each(context, &job);
    }
    return job.age_key;
}

/* The result of an answer that is not the one for success. */
static enum procd_result refusal_of(const struct incoming *message, enum job_status *status)
{
    switch ((int)message->type) {
    case MESSAGE_NOT_FOUND: return PROCD_NOT_FOUND;
    case MESSAGE_NO_STDIN: return PROCD_NO_STDIN;
    case MESSAGE_LINE_TOO_LONG: return PROCD_LINE_TOO_LONG;
    case MESSAGE_NOT_RUNNING:
        *status = job_status_of(message_number(message, FIELD_STATUS, JOB_FAILED));
        return PROCD_NOT_RUNNING;
    default: return PROCD_LOST;
    }
}

/* Passes on the job of an answer to GET or WAIT. */
static enum procd_result take_job_answer(const struct procd_answer *answer, job_function *each,
                                         void *context)
{
    enum job_status status;
    if (answer->message.type != MESSAGE_JOBS) {
        return refusal_of(&answer->message, &status);
    }
    (void)read_jobs(&answer->message, each, context);
    return PROCD_DONE;
}

/* The jobs that were started after *after, as many as one answer holds; *more when that is not all.
 */
static enum procd_result list_page(uint64_t *after, bool left, bool *more, job_function *each,
                                   void *context)
{
    cleanup_message struct message request;
    cleanup_procd_answer struct procd_answer answer = {.packet = malloc(MESSAGE_PACKET_MAX)};
    message_init(&request, MESSAGE_LIST);
    message_add_number(&request, FIELD_AGE_KEY, (int64_t)*after);
    message_add_number(&request, FIELD_LEFT, left);
    enum procd_result result = client_ask_again(&request, &answer);
    if (result == PROCD_DONE) {
        *after = read_jobs(&answer.message, each, context);
        *more = message_number(&answer.message, FIELD_MORE, 0) != 0;
    }
    return result;
}

enum procd_result procd_list(bool left, job_function *each, void *context)
{
    enum procd_result result;
    uint64_t after = 0;
    bool more = false;
    do {
        result = list_page(&after, left, &more, each, context);
    } while (result == PROCD_DONE && more);
    return result;
}

enum procd_result procd_get(const char *id, job_function *each, void *context)
{
    cleanup_message struct message request;
    cleanup_procd_answer struct procd_answer answer = {.packet = malloc(MESSAGE_PACKET_MAX)};
    ask_about(&request, MESSAGE_GET, id);
    enum procd_result result = client_ask_again(&request, &answer);
    return result == PROCD_DONE ? take_job_answer(&answer, each, context) : result;
}

/* Waits until one of them is readable: 1 when it is `fd`, 0 when it is another, -1 at `deadline`.
 */
static int await_first(int fd, const struct pollfd *others, size_t count, int64_t deadline)
{
    struct pollfd polled[WAIT_OTHERS_MAX + 1] = {{.fd = fd, .events = POLLIN}};
    memcpy(polled + 1, others, count * sizeof(*others));
    for (;;) {
        int64_t left = deadline - clock_monotonic_ms();
        left = left < 0 ? 0 : left > WAIT_SLICE_MS ? WAIT_SLICE_MS : left;
        int ready = poll(polled, count + 1, (int)left);
        if (ready > 0) {
            return polled[0].revents != 0;
        }
        if (ready == 0 && clock_monotonic_ms() >= deadline) {
            return -1;
        }
    }
}

/* Asks once; PROCD_LOST when procd dies meanwhile, PROCD_NOT_RUNNING when the time is up. */
static enum procd_result attempt_wait(struct message *request, struct procd_answer *answer,
                                      int64_t deadline, const struct pollfd *others, size_t count)
{
    cleanup_fd int connection = -1;
    if (answer->packet == NULL ||
        client_send(request, NULL, 0, clock_monotonic_ms() + CLIENT_RETRY_MS, &connection) < 0) {
        return PROCD_UNREACHABLE;
    }
    int first = await_first(connection, others, count, deadline);
    if (first <= 0) {
        return first == 0 ? PROCD_INTERRUPTED : PROCD_NOT_RUNNING;
    }
    if (client_receive(connection, answer, clock_monotonic_ms() + CLIENT_ANSWER_MS) < 0) {
        return PROCD_LOST;
    }
    client_keep(KEPT_CONNECTION, &connection);
    return PROCD_DONE;
}

enum procd_result procd_wait(const char *id, int64_t timeout_ms, const struct pollfd *others,
                             size_t count, job_function *each, void *context)
{
    int64_t deadline = timeout_ms < 0 ? INT64_MAX : clock_monotonic_ms() + timeout_ms;
    cleanup_message struct message request;
    cleanup_procd_answer struct procd_answer answer = {.packet = malloc(MESSAGE_PACKET_MAX)};
    enum procd_result result;
    ask_about(&request, MESSAGE_WAIT, id);
    while ((result = attempt_wait(&request, &answer, deadline, others, count)) == PROCD_LOST) {
        if (await_first(-1, others, count, clock_monotonic_ms() + CLIENT_PAUSE_MS) == 0) {
            return PROCD_INTERRUPTED;
        }
        if (clock_monotonic_ms() >= deadline) {
            return PROCD_LOST;
        }
    }
    if (result == PROCD_NOT_RUNNING) {
        return procd_get(id, each, context); /* the job still runs, or has ended just now */
    }
    return result == PROCD_DONE ? take_job_answer(&answer, each, context) : result;
}

/* Asks once for what must not be carried out twice; `type` is the answer for success. */
static enum procd_result order_job(struct message *request, struct procd_answer *answer,
                                   enum message_type type, int64_t patience_ms,
                                   enum job_status *status)
{
    enum procd_result result = client_ask(request, answer, CLIENT_RETRY_MS, patience_ms);
    return result == PROCD_DONE && answer->message.type != type
               ? refusal_of(&answer->message, status)
               : result;
}

enum procd_result procd_kill(const char *id, const struct kill_order *kill, enum job_status *status)
{
    cleanup_message struct message request;
    cleanup_procd_answer struct procd_answer answer = {.packet = malloc(MESSAGE_PACKET_MAX)};
    int64_t patience_ms = CLIENT_ANSWER_MS;
    ask_about(&request, MESSAGE_KILL, id);
    if (kill->signal != SIGKILL) {
        message_add_number(&request, FIELD_SIGNAL, kill->signal);
    }
    if (kill->left) {
        message_add_number(&request, FIELD_LEFT, 1);
    }
    if (kill->signal != SIGKILL && kill->has_grace) {
        message_add_number(&request, FIELD_GRACE_MS, (int64_t)kill->grace_ms);
        patience_ms += (int64_t)kill->grace_ms;
    }
    return order_job(&request, &answer, MESSAGE_DONE, patience_ms, status);
}

enum procd_result procd_delete(const char *id, enum job_status *status)
{
    cleanup_message struct message request;
    cleanup_procd_answer struct procd_answer answer = {.packet = malloc(MESSAGE_PACKET_MAX)};
    ask_about(&request, MESSAGE_DELETE, id);
    return order_job(&request, &answer, MESSAGE_DONE, CLIENT_ANSWER_MS, status);
}

enum procd_result procd_write(const char *id, const void *data, size_t length, bool eof,
                              size_t *written, enum job_status *status)
{
    cleanup_message struct message request;
    cleanup_procd_answer struct procd_answer answer = {.packet = malloc(MESSAGE_PACKET_MAX)};
    ask_about(&request, MESSAGE_WRITE, id);
    message_add_bytes(&request, FIELD_DATA, data, length);
    if (eof) {
        message_add_number(&request, FIELD_EOF, 1);
    }
    enum procd_result result =
        order_job(&request, &answer, MESSAGE_WROTE, CLIENT_ANSWER_MS, status);
    *written = result == PROCD_DONE ? (size_t)message_number(&answer.message, FIELD_WRITTEN, 0) : 0;
    return result;
}

enum procd_result procd_open_job(const char *id, int *directory_fd)
{
    cleanup_message struct message request;
    cleanup_procd_answer struct procd_answer answer = {.packet = malloc(MESSAGE_PACKET_MAX)};
    ask_about(&request, MESSAGE_OPEN, id);
    enum procd_result result = client_ask_again(&request, &answer);
    if (result != PROCD_DONE) {
        return result;
    }
    *directory_fd = message_take_descriptor(&answer.message, 0);
    if (answer.message.type == MESSAGE_DONE && *directory_fd >= 0) {
        return PROCD_DONE;
    }
    return answer.message.type == MESSAGE_NOT_FOUND ? PROCD_NOT_FOUND : PROCD_UNREACHABLE;
}

enum procd_result procd_resize(const char *id, int cols, int rows, enum job_status *status)
{
    cleanup_message struct message request;
    cleanup_procd_answer struct procd_answer answer = {.packet = malloc(MESSAGE_PACKET_MAX)};
    ask_about(&request, MESSAGE_RESIZE, id);
    message_add_number(&request, FIELD_COLS, cols);
    message_add_number(&request, FIELD_ROWS, rows);
    return order_job(&request, &answer, MESSAGE_WROTE, CLIENT_ANSWER_MS, status);
}

enum procd_result procd_attach(const char *id, int *directory_fd, int *runner_fd,
                               enum job_status *status)
{
    cleanup_message struct message request;
    cleanup_procd_answer struct procd_answer answer = {.packet = malloc(MESSAGE_PACKET_MAX)};
    ask_about(&request, MESSAGE_ATTACH, id);
    enum procd_result result = client_ask_again(&request, &answer);
    if (result != PROCD_DONE) {
        return result;
    }
    cleanup_fd int directory = message_take_descriptor(&answer.message, 0);
    cleanup_fd int runner = message_take_descriptor(&answer.message, 1);
    bool is_attached = answer.message.type == MESSAGE_DONE && runner >= 0;
    result = is_attached ? PROCD_DONE : refusal_of(&answer.message, status);
    if (result == PROCD_DONE || result == PROCD_NOT_RUNNING) {
        if (directory < 0) {
            return PROCD_UNREACHABLE;
        }
        *directory_fd = steal_fd(&directory);
        *runner_fd = steal_fd(&runner);
    }
    return result;
}
