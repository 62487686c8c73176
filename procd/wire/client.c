/*
 * Asking procd: kept connections, one request and one answer at a time on each; and the client's
 * end of a foreground command's lease.
 */
#include "procd/wire/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "procd/wire/protocol.h"

/* Killing an obstinate tree takes its time, and so does a machine that starts hundreds at once. */
#define ANSWER_TIMEOUT_MS 30000
#define RETRY_FOR_MS      5000 /* how long a procd that is being restarted is waited for */
#define RETRY_PAUSE_MS    10

#define WAIT_OTHERS_MAX 4     /* descriptors that are polled besides procd's */
#define WAIT_SLICE_MS   60000 /* poll(2) takes an int */

/* ---- kept connections ---- */

static struct sockaddr_un address = {.sun_family = AF_UNIX};

static struct {
    pthread_mutex_t lock;
    int idle[32];
    size_t count;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

int procd_client_init(const char *socket_path)
{
    int fd = open(socket_path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", fd);
    return 0;
}

static int kept_take(void)
{
    int fd = -1;
    pthread_mutex_lock(&kept.lock);
    if (kept.count > 0) {
        fd = kept.idle[--kept.count];
    }
    pthread_mutex_unlock(&kept.lock);
    return fd;
}

static void kept_put(int *fd)
{
    pthread_mutex_lock(&kept.lock);
    if (kept.count < sizeof(kept.idle) / sizeof(kept.idle[0])) {
        kept.idle[kept.count++] = steal_fd(fd);
    }
    pthread_mutex_unlock(&kept.lock);
    close_fd(fd);
}

static void pause_before_retry(void)
{
    const struct timespec pause = {.tv_nsec = RETRY_PAUSE_MS * 1000000L};
    (void)nanosleep(&pause, NULL);
}

static bool becomes_readable(int fd, int64_t deadline)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    for (;;) {
        int64_t left = deadline - clock_monotonic_ms();
        int ready = poll(&wait, 1, left > 0 ? (int)left : 0);
        if (ready >= 0 || errno != EINTR) {
            return ready > 0;
        }
    }
}

/* The socket may have been waiting for a procd: only its greeting says that there is one. */
static bool is_greeted(int fd, int64_t deadline)
{
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    return becomes_readable(fd, deadline) &&
           message_receive(fd, packet, sizeof(packet), &message, MSG_DONTWAIT) == 1 &&
           message.type == MESSAGE_DONE;
}

/* A connection that procd has accepted, or -1 with errno. */
static int connect_procd(int64_t deadline)
{
    for (;;) {
        int64_t left = deadline - clock_monotonic_ms();
        struct timeval timeout = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
        cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (left <= 0) {
            errno = EAGAIN;
            return -1;
        }
        /* The send timeout also bounds connect(2) while the backlog is full. */
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0 ||
            connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
            return -1;
        }
        if (is_greeted(fd, deadline)) {
            return steal_fd(&fd);
        }
        close_fd(&fd);
        pause_before_retry(); /* it died as we came */
    }
}

/*
 * Sends a request over a kept connection or a new one, and leaves the connection in *connection.
 * One whose procd is gone delivers nothing and says so, so that a new one can be tried.
 */
static int send_request(struct message *request, const int *descriptors, size_t count,
                        int64_t deadline, int *connection)
{
    for (;;) {
        cleanup_fd int fd = kept_take();
        if (fd < 0) {
            fd = connect_procd(deadline);
        }
        if (fd < 0) {
            return -1;
        }
        if (message_send(fd, request, descriptors, count) == 0) {
            *connection = steal_fd(&fd);
            return 0;
        }
        if (errno != EPIPE && errno != ECONNRESET && errno != ENOTCONN) {
            return -1;
        }
    }
}

/* ---- one request and its answer ---- */

/*
 * An answer. What is received goes to a small buffer, because the stacks of fcgi-app's threads are
 * many; only the list of all jobs needs a large one.
 */
struct answer {
    struct incoming message;
    char *large; /* allocated, or NULL */
    char small[MESSAGE_PACKET_SMALL];
};

static void answer_clear(struct answer *answer)
{
    incoming_clear(&answer->message);
    free(answer->large);
}
#define cleanup_answer cleanup_(answer_clear)

static int receive_answer(int connection, struct answer *answer, int64_t deadline)
{
    if (!becomes_readable(connection, deadline)) {
        return -1;
    }
    char *buffer = answer->large != NULL ? answer->large : answer->small;
    size_t size = answer->large != NULL ? MESSAGE_PACKET_MAX : sizeof(answer->small);
    if (message_receive(connection, buffer, size, &answer->message, 0) != 1) {
        return -1;
    }
    return message_open(&answer->message);
}

/*
 * PROCD_DONE when there is an answer, whatever it says; PROCD_UNREACHABLE when there is no procd
 * until `deadline`; PROCD_LOST when it has the request and does not answer for `patience_ms`.
 */
static enum procd_result ask(struct message *request, struct answer *answer, int64_t deadline,
                             int64_t patience_ms)
{
    cleanup_fd int connection = -1;
    if (send_request(request, NULL, 0, deadline, &connection) < 0) {
        return PROCD_UNREACHABLE;
    }
    if (receive_answer(connection, answer, clock_monotonic_ms() + patience_ms) < 0) {
        return PROCD_LOST;
    }
    kept_put(&connection);
    return PROCD_DONE;
}

/* Asks once: for what must not be carried out twice. */
static enum procd_result ask_once(struct message *request, struct answer *answer)
{
    return ask(request, answer, clock_monotonic_ms() + RETRY_FOR_MS, ANSWER_TIMEOUT_MS);
}

/* Asks again while procd is being restarted: for what may be. */
static enum procd_result ask_again(struct message *request, struct answer *answer)
{
    int64_t deadline = clock_monotonic_ms() + RETRY_FOR_MS;
    for (;;) {
        enum procd_result result = ask(request, answer, deadline, ANSWER_TIMEOUT_MS);
        if (result != PROCD_LOST) {
            return result;
        }
        if (clock_monotonic_ms() >= deadline) {
            return PROCD_UNREACHABLE;
        }
        pause_before_retry();
    }
}

const char *job_status_name(enum job_status status)
{
    static const char *const names[] = {[JOB_RUNNING] = "running",
                                        [JOB_COMPLETED] = "completed",
                                        [JOB_FAILED] = "failed",
                                        [JOB_KILLED] = "killed"};
    return names[status];
}

static enum end_reason reason_of(int64_t number)
{
    return number > END_UNKNOWN && number <= END_LOST ? (enum end_reason)number : END_LOST;
}

static enum job_status status_of(int64_t number)
{
    return number >= JOB_RUNNING && number <= JOB_KILLED ? (enum job_status)number : JOB_FAILED;
}

enum procd_result procd_ping(int timeout_ms)
{
    bool can_start;
    return procd_can_start(&can_start, timeout_ms);
}

enum procd_result procd_can_start(bool *can_start, int timeout_ms)
{
    cleanup_message struct message request;
    cleanup_answer struct answer answer = {.large = NULL};
    message_init(&request, MESSAGE_PING);
    enum procd_result result =
        ask(&request, &answer, clock_monotonic_ms() + timeout_ms, timeout_ms);
    if (result != PROCD_DONE || answer.message.type != MESSAGE_DONE) {
        return result == PROCD_DONE ? PROCD_LOST : result;
    }
    *can_start = message_number(&answer.message, FIELD_RUNNER_FAILURES, 0) == 0;
    return PROCD_DONE;
}

static void read_daemon_number(struct daemon_status *daemon, const struct field *field)
{
    switch ((int)field->tag) {
    case FIELD_STARTS:
        daemon->restarts = field->number > 0 ? field->number - 1 : 0;
        break;
    case FIELD_PID:
        daemon->pid = field->number;
        break;
    case FIELD_DESCRIPTORS:
        daemon->descriptors = field->number;
        break;
    case FIELD_THREADS:
        daemon->threads = field->number;
        break;
    case FIELD_RSS_KB:
        daemon->rss_kb = field->number;
        break;
    default:
        break;
    }
}

static void read_status(const struct incoming *message, struct procd_status *status)
{
    *status = (struct procd_status){
        .supervisor = -1, /* a FIELD_PID that comes after a FIELD_ID is a daemon's */
        .uptime_ms = message_number(message, FIELD_UPTIME_MS, -1),
        .running = message_number(message, FIELD_RUNNING, -1),
        .runners = message_number(message, FIELD_RUNNERS, -1),
        .idle_runners = message_number(message, FIELD_IDLE, -1),
        .runner_failures = message_number(message, FIELD_RUNNER_FAILURES, -1),
        .disk_free = message_number(message, FIELD_DISK_FREE, -1),
        .disk_total = message_number(message, FIELD_DISK_TOTAL, -1),
    };
    struct daemon_status *daemon = NULL;
    struct field field = {0};
    while (message_next(message, &field)) {
        if (field.tag == FIELD_ID && status->daemon_count == DAEMONS_MAX) {
            return;
        }
        if (field.tag == FIELD_ID) {
            daemon = &status->daemons[status->daemon_count++];
            *daemon = (struct daemon_status){
                .pid = -1, .restarts = -1, .descriptors = -1, .threads = -1, .rss_kb = -1};
            (void)snprintf(daemon->name, sizeof(daemon->name), "%s", field.text);
        } else if (daemon != NULL) {
            read_daemon_number(daemon, &field);
        } else if (field.tag == FIELD_PID) {
            status->supervisor = (pid_t)field.number;
        }
    }
}

enum procd_result procd_status(struct procd_status *status, int timeout_ms)
{
    cleanup_message struct message request;
    cleanup_answer struct answer answer = {.large = malloc(MESSAGE_PACKET_MAX)};
    message_init(&request, MESSAGE_STATUS);
    if (answer.large == NULL) {
        return PROCD_UNREACHABLE;
    }
    enum procd_result result =
        ask(&request, &answer, clock_monotonic_ms() + timeout_ms, timeout_ms);
    if (result == PROCD_DONE && answer.message.type != MESSAGE_STATUS) {
        return PROCD_LOST;
    }
    if (result == PROCD_DONE) {
        read_status(&answer.message, status);
    }
    return result;
}

static void add_command(struct message *message, const struct command *command)
{
    message_add_text(message, FIELD_CMD, command->cmd);
    if (command->request_id != NULL) {
        message_add_text(message, FIELD_REQUEST_ID, command->request_id);
    }
    if (command->cwd != NULL) {
        message_add_text(message, FIELD_CWD, command->cwd);
    }
    for (size_t i = 0; i < command->env_count; i++) {
        message_add_text(message, FIELD_ENV, command->env[i]);
    }
    if (command->timeout_ms > 0) {
        message_add_number(message, FIELD_TIMEOUT_MS, (int64_t)command->timeout_ms);
        message_add_number(message, FIELD_GRACE_MS, (int64_t)command->grace_ms);
    }
    for (int i = 0; i < CGROUP_LIMITS; i++) {
        if (command->limits[i] > 0) {
            message_add_number(message, cgroup_limit_field((enum cgroup_limit)i),
                               (int64_t)command->limits[i]);
        }
    }
    if (command->wait_tree) {
        message_add_number(message, FIELD_WAIT_TREE, 1);
    }
    if (command->keeps_stdin) {
        message_add_number(message, FIELD_STDIN, 1);
    }
    if (command->merges_stderr) {
        message_add_number(message, FIELD_MERGE_STDERR, 1);
    } else if (command->ordered) {
        message_add_number(message, FIELD_ORDERED, 1);
    }
    if (command->hangup_grace_ms > 0) {
        message_add_number(message, FIELD_HANGUP_GRACE_MS, (int64_t)command->hangup_grace_ms);
    }
}

static void read_spawn_error(const struct incoming *message, struct spawn_error *error)
{
    int64_t stage = message_number(message, FIELD_STAGE, SPAWN_PREPARE);
    error->stage =
        stage >= SPAWN_PREPARE && stage < SPAWN_STAGE_END ? (enum spawn_stage)stage : SPAWN_PREPARE;
    error->error = (int)message_number(message, FIELD_ERROR, EIO);
}

/* ---- foreground ---- */

/* What came of one attempt to start a foreground command. */
enum attempt { ATTEMPT_DECIDED, ATTEMPT_NOT_BEGUN };

/* Our own trouble before anything was sent is the same to the caller as the runner's. */
static enum procd_result not_started(struct spawn_error *error, int reason)
{
    *error = (struct spawn_error){.stage = SPAWN_PREPARE, .error = reason};
    return PROCD_NOT_STARTED;
}

static bool is_delivery_failure(int error)
{
    return error == ECONNREFUSED || error == ENOENT || error == EAGAIN || error == EPIPE ||
           error == ECONNRESET || error == EACCES;
}

static enum procd_result take_started(struct incoming *message, const struct command *command,
                                      int *lease, struct foreground *foreground)
{
    cleanup_fd int out = message_take_descriptor(message, 0);
    cleanup_fd int err = command->merges_stderr ? -1 : message_take_descriptor(message, 1);
    cleanup_fd int watch = command->ordered ? message_take_descriptor(message, 2) : -1;
    if (out < 0 || (err < 0 && !command->merges_stderr)) {
        return PROCD_LOST;
    }
    *foreground = (struct foreground){.lease = steal_fd(lease),
                                      .out = steal_fd(&out),
                                      .err = steal_fd(&err),
                                      .watch = steal_fd(&watch),
                                      .pid = (pid_t)message_number(message, FIELD_PID, 0),
                                      .grace_ms = command->hangup_grace_ms};
    return PROCD_DONE;
}

/*
 * Nothing has come over the lease for too long. It is shut, so that the runner can begin no more,
 * and then it is looked whether it has begun.
 */
static enum procd_result give_up(int lease)
{
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    (void)shutdown(lease, SHUT_RD);
    bool begun = message_receive(lease, packet, sizeof(packet), &message, MSG_DONTWAIT) == 1;
    return begun ? PROCD_LOST : PROCD_UNREACHABLE;
}

/* Reads the lease until the command runs, or it is known that it does not. */
static enum attempt await_start(const struct command *command, int *lease,
                                struct foreground *foreground, struct spawn_error *spawn_error,
                                enum procd_result *result)
{
    char packet[MESSAGE_PACKET_SMALL];
    enum attempt attempt = ATTEMPT_NOT_BEGUN;
    for (;;) {
        cleanup_incoming struct incoming message = {0};
        if (attempt == ATTEMPT_NOT_BEGUN &&
            !becomes_readable(*lease, clock_monotonic_ms() + ANSWER_TIMEOUT_MS)) {
            *result = give_up(*lease);
            return ATTEMPT_DECIDED;
        }
        int received = message_receive(*lease, packet, sizeof(packet), &message, 0);
        if (received != 1 || message_open(&message) < 0) {
            *result = attempt == ATTEMPT_DECIDED ? PROCD_RUNNER_LOST : PROCD_LOST;
            return received == 0 ? attempt : ATTEMPT_DECIDED; /* it may have been BEGIN */
        }
        attempt = ATTEMPT_DECIDED;
        if (message.type == MESSAGE_STARTED) {
            *result = take_started(&message, command, lease, foreground);
            return attempt;
        }
        if (message.type == MESSAGE_FAILED) {
            read_spawn_error(&message, spawn_error);
            *result = PROCD_NOT_STARTED;
            return attempt;
        }
    }
}

static enum attempt attempt_run(struct message *request, const struct command *command,
                                int64_t deadline, struct foreground *foreground,
                                struct spawn_error *spawn_error, enum procd_result *result)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        *result = not_started(spawn_error, errno);
        return ATTEMPT_DECIDED;
    }
    cleanup_fd int lease = pair[0];
    cleanup_fd int given = pair[1];
    cleanup_fd int connection = -1;
    const int descriptors[] = {given, command->input};
    size_t count = command->input > STDERR_FILENO ? 2 : 1;
    if (send_request(request, descriptors, count, deadline, &connection) < 0) {
        *result = is_delivery_failure(errno) ? PROCD_UNREACHABLE : not_started(spawn_error, errno);
        return ATTEMPT_DECIDED;
    }
    close_fd(&given);
    kept_put(&connection); /* nothing comes back on it */
    return await_start(command, &lease, foreground, spawn_error, result);
}

enum procd_result procd_run(const struct command *command, struct foreground *foreground,
                            struct spawn_error *spawn_error)
{
    cleanup_message struct message request;
    message_init(&request, MESSAGE_RUN);
    add_command(&request, command);
    int64_t deadline = clock_monotonic_ms() + RETRY_FOR_MS;
    for (;;) {
        enum procd_result result;
        if (attempt_run(&request, command, deadline, foreground, spawn_error, &result) ==
            ATTEMPT_DECIDED) {
            return result;
        }
        if (clock_monotonic_ms() >= deadline) {
            return PROCD_UNREACHABLE;
        }
        pause_before_retry();
    }
}

int foreground_ending(int lease, struct ending *ending)
{
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    *ending = (struct ending){.lost = true, .code = -1};
    int received = message_receive(lease, packet, sizeof(packet), &message, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) {
        return 0;
    }
    if (received != 1 || message_open(&message) < 0 || message.type != MESSAGE_EXIT) {
        return 1;
    }
    *ending = (struct ending){
        .code = (int)message_number(&message, FIELD_CODE, -1),
        .signal = (int)message_number(&message, FIELD_SIGNAL, 0),
        .reason = reason_of(message_number(&message, FIELD_REASON, END_LOST)),
        .left_children = message_number(&message, FIELD_LEFT_CHILDREN, 0) != 0,
        .duration_ms = (uint64_t)message_number(&message, FIELD_DURATION_MS, 0),
        .cpu_user_ms = (uint64_t)message_number(&message, FIELD_CPU_USER_MS, 0),
        .cpu_system_ms = (uint64_t)message_number(&message, FIELD_CPU_SYSTEM_MS, 0),
        .max_rss_kb = (uint64_t)message_number(&message, FIELD_MAX_RSS_KB, 0),
    };
    return 1;
}

void foreground_leave(int lease, uint64_t grace_ms)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_KILL);
    message_add_number(&message, FIELD_GRACE_MS, (int64_t)grace_ms);
    (void)message_send(lease, &message, NULL, 0);
}

/* ---- background ---- */

static void copy_id(char id[JOB_ID_SIZE], const char *text)
{
    (void)snprintf(id, JOB_ID_SIZE, "%s", text == NULL ? "" : text);
}

enum procd_result procd_start(const struct command *command, struct job *job,
                              struct spawn_error *spawn_error)
{
    cleanup_message struct message request;
    cleanup_answer struct answer answer = {.large = NULL};
    message_init(&request, MESSAGE_START);
    add_command(&request, command);
    enum procd_result result = ask_once(&request, &answer);
    if (result != PROCD_DONE) {
        return result;
    }
    if (answer.message.type == MESSAGE_FAILED) {
        read_spawn_error(&answer.message, spawn_error);
        return PROCD_NOT_STARTED;
    }
    if (answer.message.type == MESSAGE_TOO_MANY) {
        return PROCD_TOO_MANY;
    }
    if (answer.message.type != MESSAGE_STARTED) {
        return PROCD_LOST;
    }
    *job =
        (struct job){.pid = (pid_t)message_number(&answer.message, FIELD_PID, 0),
                     .status = JOB_RUNNING,
                     .command = "",
                     .cwd = "",
                     .started_at = (uint64_t)message_number(&answer.message, FIELD_STARTED_AT, 0)};
    copy_id(job->id, message_text(&answer.message, FIELD_ID));
    return PROCD_DONE;
}

static void read_job_number(struct job *job, enum field_tag tag, int64_t number)
{
    switch ((int)tag) {
    case FIELD_PID:
        job->pid = (pid_t)number;
        break;
    case FIELD_STATUS:
        job->status = status_of(number);
        break;
    case FIELD_STARTED_AT:
        job->started_at = (uint64_t)number;
        break;
    case FIELD_AGE_KEY:
        job->age_key = (uint64_t)number;
        break;
    case FIELD_LEFT_PID:
        if (job->left_count < LEFT_PROCESSES_MAX) {
            job->left[job->left_count++] = (struct left_process){(pid_t)number, ""};
        }
        break;
    case FIELD_ENDED_AT:
        job->ended_at = (uint64_t)number;
        break;
    case FIELD_CODE:
        job->exit_code = (int)number;
        break;
    case FIELD_SIGNAL:
        job->signal = (int)number;
        break;
    case FIELD_REASON:
        job->reason = reason_of(number);
        break;
    case FIELD_CPU_USER_MS:
        job->cpu_user_ms = (uint64_t)number;
        break;
    case FIELD_CPU_SYSTEM_MS:
        job->cpu_system_ms = (uint64_t)number;
        break;
    case FIELD_MAX_RSS_KB:
        job->max_rss_kb = (uint64_t)number;
        break;
    case FIELD_FIRST_OFFSET:
        job->position.first_offset = (uint64_t)number;
        break;
    case FIELD_FIRST_LINE:
        job->position.first_line = (uint64_t)number;
        break;
    case FIELD_NEXT_OFFSET:
        job->position.next_offset = (uint64_t)number;
        break;
    case FIELD_NEXT_LINE:
        job->position.next_line = (uint64_t)number;
        job->has_position = true;
        break;
    case FIELD_LINES_DROPPED:
        job->position.lines_dropped = (uint64_t)number;
        break;
    default:
        break;
    }
}

static void read_job_field(struct job *job, const struct field *field)
{
    switch ((int)field->tag) {
    case FIELD_ID:
        copy_id(job->id, field->text);
        break;
    case FIELD_COMMAND:
        job->command = field->text;
        break;
    case FIELD_CWD:
        job->cwd = field->text;
        break;
    case FIELD_LEFT_NAME:
        if (job->left_count > 0) {
            job->left[job->left_count - 1].name = field->text;
        }
        break;
    default:
        read_job_number(job, field->tag, field->number);
        break;
    }
}

/* Hands out the jobs in a JOBS message. The key of the last of them, 0 if there is none. */
static uint64_t read_jobs(const struct incoming *message, job_function *each, void *context)
{
    static const struct job none = {.command = "", .cwd = ""};
    struct job job = none;
    struct field field = {0};
    while (message_next(message, &field)) {
        if (field.tag == FIELD_ID && job.id[0] != '\0') {
            each(context, &job);
            job = none;
        }
        read_job_field(&job, &field);
    }
    if (job.id[0] != '\0') {
        each(context, &job);
    }
    return job.age_key;
}

/* What an answer says that is not the one that was hoped for. */
static enum procd_result refusal(const struct incoming *message, enum job_status *status)
{
    switch ((int)message->type) {
    case MESSAGE_NOT_FOUND:
        return PROCD_NOT_FOUND;
    case MESSAGE_NO_STDIN:
        return PROCD_NO_STDIN;
    case MESSAGE_NOT_RUNNING:
        *status = status_of(message_number(message, FIELD_STATUS, JOB_FAILED));
        return PROCD_NOT_RUNNING;
    default:
        return PROCD_LOST;
    }
}

/* The jobs that were started after *after, as many as one answer holds; *more when that is not all.
 */
static enum procd_result list_page(uint64_t *after, bool left, bool *more, job_function *each,
                                   void *context)
{
    cleanup_message struct message request;
    cleanup_answer struct answer answer = {.large = NULL};
    message_init(&request, MESSAGE_LIST);
    message_add_number(&request, FIELD_AGE_KEY, (int64_t)*after);
    message_add_number(&request, FIELD_LEFT, left);
    answer.large = malloc(MESSAGE_PACKET_MAX);
    if (answer.large == NULL) {
        return PROCD_UNREACHABLE;
    }
    enum procd_result result = ask_again(&request, &answer);
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

/* A question about one job, whose fields may take more than a small buffer. */
static int ask_about(struct message *request, enum message_type type, const char *id,
                     struct answer *answer)
{
    message_init(request, type);
    message_add_text(request, FIELD_ID, id);
    answer->large = malloc(MESSAGE_PACKET_MAX);
    return answer->large == NULL ? -1 : 0;
}

enum procd_result procd_get(const char *id, job_function *each, void *context)
{
    cleanup_message struct message request;
    cleanup_answer struct answer answer = {.large = NULL};
    enum job_status status;
    if (ask_about(&request, MESSAGE_GET, id, &answer) < 0) {
        return PROCD_UNREACHABLE;
    }
    enum procd_result result = ask_again(&request, &answer);
    if (result == PROCD_DONE && answer.message.type != MESSAGE_JOBS) {
        return refusal(&answer.message, &status);
    }
    if (result == PROCD_DONE) {
        (void)read_jobs(&answer.message, each, context);
    }
    return result;
}

/* Waits for the first of them. 1 when it is `fd`, 0 when it is one of the others, -1 at `deadline`.
 */
static int await_first(int fd, const struct pollfd *others, size_t count, int64_t deadline)
{
    struct pollfd polled[WAIT_OTHERS_MAX + 1] = {{.fd = fd, .events = POLLIN}};
    memcpy(polled + 1, others, count * sizeof(*others));
    for (;;) {
        int64_t left = deadline == INT64_MAX ? WAIT_SLICE_MS : deadline - clock_monotonic_ms();
        left = left < 0 ? 0 : left > WAIT_SLICE_MS ? WAIT_SLICE_MS : left;
        int ready = poll(polled, count + 1, (int)left);
        if (ready > 0) {
            return polled[0].revents != 0;
        }
        if (ready == 0 && deadline != INT64_MAX && clock_monotonic_ms() >= deadline) {
            return -1;
        }
    }
}

/* Asks once; PROCD_LOST when procd dies meanwhile, PROCD_NOT_RUNNING when the time is up. */
static enum procd_result attempt_wait(struct message *request, struct answer *answer,
                                      int64_t deadline, const struct pollfd *others, size_t count)
{
    cleanup_fd int connection = -1;
    if (send_request(request, NULL, 0, clock_monotonic_ms() + RETRY_FOR_MS, &connection) < 0) {
        return PROCD_UNREACHABLE;
    }
    int first = await_first(connection, others, count, deadline);
    if (first <= 0) {
        return first == 0 ? PROCD_INTERRUPTED : PROCD_NOT_RUNNING;
    }
    if (receive_answer(connection, answer, clock_monotonic_ms() + ANSWER_TIMEOUT_MS) < 0) {
        return PROCD_LOST;
    }
    kept_put(&connection);
    return PROCD_DONE;
}

enum procd_result procd_wait(const char *id, int64_t timeout_ms, const struct pollfd *others,
                             size_t count, job_function *each, void *context)
{
    int64_t deadline = timeout_ms < 0 ? INT64_MAX : clock_monotonic_ms() + timeout_ms;
    cleanup_message struct message request;
    cleanup_answer struct answer answer = {.large = NULL};
    enum job_status status;
    enum procd_result result;
    if (ask_about(&request, MESSAGE_WAIT, id, &answer) < 0) {
        return PROCD_UNREACHABLE;
    }
    while ((result = attempt_wait(&request, &answer, deadline, others, count)) == PROCD_LOST) {
        if (await_first(-1, others, count, clock_monotonic_ms() + RETRY_PAUSE_MS) == 0) {
            return PROCD_INTERRUPTED;
        }
        if (clock_monotonic_ms() >= deadline) {
            return PROCD_LOST;
        }
    }
    if (result == PROCD_NOT_RUNNING) {
        return procd_get(id, each, context); /* it still runs, or has ended just now */
    }
    if (result == PROCD_DONE && answer.message.type != MESSAGE_JOBS) {
        return refusal(&answer.message, &status);
    }
    if (result == PROCD_DONE) {
        (void)read_jobs(&answer.message, each, context);
    }
    return result;
}

/* Asks once for what must not be carried out twice; `type` is the answer that is hoped for. */
static enum procd_result order(struct message *request, struct answer *answer,
                               enum message_type type, int64_t patience_ms, enum job_status *status)
{
    enum procd_result result =
        ask(request, answer, clock_monotonic_ms() + RETRY_FOR_MS, patience_ms);
    return result == PROCD_DONE && answer->message.type != type ? refusal(&answer->message, status)
                                                                : result;
}

enum procd_result procd_kill(const char *id, const struct kill_order *kill, enum job_status *status)
{
    cleanup_message struct message request;
    cleanup_answer struct answer answer = {.large = NULL};
    int64_t patience_ms = ANSWER_TIMEOUT_MS;
    message_init(&request, MESSAGE_KILL);
    message_add_text(&request, FIELD_ID, id);
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
    return order(&request, &answer, MESSAGE_DONE, patience_ms, status);
}

enum procd_result procd_delete(const char *id, enum job_status *status)
{
    cleanup_message struct message request;
    cleanup_answer struct answer answer = {.large = NULL};
    message_init(&request, MESSAGE_DELETE);
    message_add_text(&request, FIELD_ID, id);
    return order(&request, &answer, MESSAGE_DONE, ANSWER_TIMEOUT_MS, status);
}

enum procd_result procd_write(const char *id, const void *data, size_t length, bool eof,
                              size_t *written, enum job_status *status)
{
    cleanup_message struct message request;
    cleanup_answer struct answer answer = {.large = NULL};
    message_init(&request, MESSAGE_WRITE);
    message_add_text(&request, FIELD_ID, id);
    message_add_bytes(&request, FIELD_DATA, data, length);
    if (eof) {
        message_add_number(&request, FIELD_EOF, 1);
    }
    enum procd_result result = order(&request, &answer, MESSAGE_WROTE, ANSWER_TIMEOUT_MS, status);
    *written = result == PROCD_DONE ? (size_t)message_number(&answer.message, FIELD_WRITTEN, 0) : 0;
    return result;
}

enum procd_result procd_open_job(const char *id, int *directory_fd)
{
    cleanup_message struct message request;
    cleanup_answer struct answer answer = {.large = NULL};
    message_init(&request, MESSAGE_OPEN);
    message_add_text(&request, FIELD_ID, id);
    enum procd_result result = ask_again(&request, &answer);
    if (result != PROCD_DONE) {
        return result;
    }
    *directory_fd = message_take_descriptor(&answer.message, 0);
    if (answer.message.type == MESSAGE_DONE && *directory_fd >= 0) {
        return PROCD_DONE;
    }
    return answer.message.type == MESSAGE_NOT_FOUND ? PROCD_NOT_FOUND : PROCD_UNREACHABLE;
}
