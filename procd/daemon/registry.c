/*
 * The runner of a running job is known by its lock on the job's directory, and connected over the
 * socket in there. When that connection ends the directory says what has become of the job.
 */
#include "procd/daemon/registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/directory.h"
#include "common/logger.h"
#include "procd/daemon/leftovers.h"
#include "procd/daemon/retention.h"
#include "procd/jobs/job_directory.h"
#include "procd/log/byte_cursor.h"
#include "procd/log/job_position.h"
#include "procd/log/log_repair.h"
#include "procd/wire/job_changes.h"

/* How soon a runner that is alive but cannot be connected (it begins, or it ends), or whose socket
 * is full, is looked at again. */
#define LOOK_AGAIN_MS 10

/* The list of jobs goes in messages of about this size: that is what a client that reads slowly
 * holds in memory. */
#define PAGE_SIZE ((size_t)24576)

static struct {
    bool opened;   /* what is on the disk has been seen once */
    size_t unborn; /* jobs that a runner has, but whose record could not be read yet */
    LIST_HEAD(, expected_job) expected; /* not among the unborn */
    size_t expected_count;
} registry;

static void look_again(void);
static struct timer look_timer = {.due = look_again};

static void look_again_soon(void)
{
    loop_call_at(&look_timer, clock_monotonic_ms() + LOOK_AGAIN_MS);
}

/* ---- the life of a job ---- */

static void send_orders(struct registered_job *job)
{
    job->state = REGISTERED_HEARD;
    if (orders_send(job)) {
        job->state = REGISTERED_BEHIND;
        look_again_soon();
    }
}

/* The job has ended as job->ending says. It may be gone when this returns. */
static void settle(struct registered_job *job, int directory)
{
    loop_close(&job->runner);
    job->state = REGISTERED_ENDED;
    job_changes_count();
    job->has_position = directory >= 0 && job_position_read(directory, &job->position) == 0;
    registered_jobs.finished++;
    orders_end(job);
    if (registry.opened) { /* otherwise once, when all are known */
        retention_apply();
    }
}

/* What is known of the end of a job whose runner has died. */
static struct job_exit lost_exit(const struct registered_job *job)
{
    uint64_t now = clock_date_ns();
    uint64_t start = job->record.started_at; /* it does not end before, whatever the clock says */
    return (struct job_exit){.status = JOB_FAILED,
                             .how = {.code = -1, .reason = END_LOST},
                             .ended_at = now > start ? now : start,
                             .ended_boot_ns = clock_boot_ns()};
}

/* The runner has died and written no exit record: mends the log and writes the record. */
static void settle_lost(struct registered_job *job, int directory)
{
    job->ending = lost_exit(job);
    const char *request_id = job->record.request_id;
    log_request(LOG_WARNING, request_id, "job %s: its runner died", job->record.id);
    if (job_log_repair(directory) < 0) {
        log_request(LOG_ERR, request_id, "job %s: cannot mend its log: %m", job->record.id);
    }
    if (job_exit_write(directory, &job->ending) < 0) {
        log_request(LOG_ERR, request_id, "job %s: cannot write its exit record: %m",
                    job->record.id);
        job->ending.status = JOB_RUNNING;
        look_again_soon(); /* readers of its log wait for the record */
        return;
    }
    settle(job, directory);
}

static void hear_runner(struct watch *watch);

/* The runner lives: connects to it. */
static void connect_runner(struct registered_job *job, int directory)
{
    int fd = job_directory_connect(directory);
    job->runner = (struct watch){.fd = fd, .urgent = true, .ready = hear_runner};
    if (fd < 0 || loop_add(&job->runner) < 0) {
        close_fd(&job->runner.fd);
        look_again_soon();
        return;
    }
    send_orders(job);
}

/* Decides what an undecided job is now. It may be gone after that. */
static void decide_one(struct registered_job *job)
{
    cleanup_fd int directory = job_directory_open(job->record.id);
    bool is_free = directory >= 0 && job_directory_is_free(directory);
    if (directory < 0 && errno != ENOENT && errno != ENOTDIR) {
        look_again_soon(); /* procd lacks descriptors or memory; the job is not affected */
    } else if (directory < 0) {
        job->ending = lost_exit(job);
        settle(job, directory);
    } else if (job_exit_read(directory, &job->ending) == 0) {
        settle(job, directory);
    } else if (is_free) {
        settle_lost(job, directory);
    } else {
        connect_runner(job, directory);
    }
}

/* A message of the runner. After its last one the job may be gone. */
static void take_message(struct registered_job *job, const struct incoming *message)
{
    if (message->type == MESSAGE_ENDED) {
        job->ending = job_exit_of(message);
        cleanup_fd int directory = job_directory_open(job->record.id);
        settle(job, directory);
    } else if (message->type == MESSAGE_WROTE || message->type == MESSAGE_NO_STDIN ||
               message->type == MESSAGE_LINE_TOO_LONG) {
        orders_answer(job, message);
    } /* any other is of a later version, or not for us */
}

static void hear_runner(struct watch *watch)
{
    struct registered_job *job = (struct registered_job *)watch;
    char packet[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    int received = message_receive(watch->fd, packet, sizeof(packet), &message, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) {
        return;
    }
    if (received == 1 && message_open(&message) == 0) {
        take_message(job, &message);
        return;
    }
    loop_close(&job->runner);
    job->state = REGISTERED_UNDECIDED;
    orders_lose_runner(job);
    look_again_soon(); /* not at once: should it live and hang up again, that would be a loop */
}

/* ---- finding jobs ---- */

/*
 * Takes a job from its directory. 0, also when it has ended and is not kept; or -1 with errno, as
 * job_record_read and openat(2) have it.
 */
static int take_job(const char *id)
{
    if (registered_job_find(id) != NULL) {
        return 0;
    }
    cleanup_fd int directory = job_directory_open(id);
    cleanup_free struct registered_job *job = calloc(1, sizeof(*job));
    if (directory < 0 || job == NULL || job_record_read(directory, id, &job->record) < 0) {
        return -1;
    }
    job->runner.fd = -1;
    job->ending.status = JOB_RUNNING;
    TAILQ_INIT(&job->orders);
    if (registered_job_insert(job) < 0) {
        job_record_clear(&job->record);
        return -1;
    }
    decide_one(steal_pointer(job));
    return 0;
}

/* Whether the errno of take_job() says that there is no such job; otherwise procd lacks something.
 */
static bool is_no_job(int error)
{
    return error == ENOENT || error == ENOTDIR || error == EBADMSG;
}

size_t registry_running(void)
{
    return registered_jobs.count - registered_jobs.finished + registry.unborn +
           registry.expected_count;
}

size_t registry_terminals(void)
{
    size_t count = 0;
    for (size_t i = 0; i < registered_jobs.count; i++) {
        const struct registered_job *job = registered_jobs.all[i];
        count += job->state != REGISTERED_ENDED && job->record.has_terminal;
    }
    const struct expected_job *expected;
    LIST_FOREACH (expected, &registry.expected, entry) {
        count += expected->has_terminal;
    }
    return count;
}

void registry_expect(struct expected_job *job, const char *id, bool has_terminal)
{
    memcpy(job->id, id, JOB_ID_SIZE);
    job->has_terminal = has_terminal;
    LIST_INSERT_HEAD(&registry.expected, job, entry);
    registry.expected_count++;
}

static void expect_no_more(struct expected_job *job)
{
    LIST_REMOVE(job, entry);
    registry.expected_count--;
}

static bool is_expected(const char *id)
{
    const struct expected_job *job;
    LIST_FOREACH (job, &registry.expected, entry) {
        if (strcmp(job->id, id) == 0) {
            return true;
        }
    }
    return false;
}

void registry_adopt(struct expected_job *job)
{
    expect_no_more(job);
    if (take_job(job->id) < 0) {
        log_at(LOG_WARNING, "job %s: cannot read its record yet: %m", job->id);
        registry.unborn++;
        look_again_soon();
    }
}

void registry_give_up(struct expected_job *job)
{
    expect_no_more(job);
    job_directory_remove(job->id);
}

int registry_adopt_silent(struct expected_job *job, pid_t *pid)
{
    int taken = take_job(job->id);
    if (taken < 0 && is_no_job(errno)) {
        return 0;
    }
    registry_adopt(job);
    const struct registered_job *found = registered_job_find(job->id);
    if (found == NULL) {
        return -1;
    }
    *pid = found->record.pid;
    return 1;
}

/*
 * Takes a job that is found on the disk. False when it is to be looked at again: a runner has it
 * and has not begun it yet, or procd lacked something.
 */
static bool find_job(const char *id)
{
    if (take_job(id) == 0) {
        return true;
    }
    if (errno == EPROTONOSUPPORT) {
        if (!registry.opened) {
            log_at(LOG_WARNING, "job %s: procd leaves it alone: its record is of another version",
                   id);
        }
        return true;
    }
    cleanup_fd int directory = is_no_job(errno) ? job_directory_open(id) : -1;
    if (directory < 0 || !job_directory_is_free(directory)) {
        return false;
    }
    /* No runner has it, so no record will come, unless one came between the two looks. */
    if (take_job(id) < 0 && is_no_job(errno)) {
        job_directory_remove(id);
    }
    return true;
}

static int find_jobs(void)
{
    cleanup_directory DIR *entries = job_directories_list();
    if (entries == NULL) {
        return -1;
    }
    registry.unborn = 0;
    for (const char *name; (name = directory_next(entries)) != NULL;) {
        if (job_directory_is_name(name) && !is_expected(name) && !find_job(name)) {
            registry.unborn++;
        }
    }
    if (errno != 0) {
        return -1;
    }
    if (registry.unborn > 0) {
        look_again_soon();
    }
    return 0;
}

static bool is_pending(const struct registered_job *job)
{
    return job->state == REGISTERED_UNDECIDED || job->state == REGISTERED_BEHIND;
}

/* Does what can be done now for a job that waits for it. The job may be gone after that. */
static void catch_up(struct registered_job *job)
{
    if (job->state == REGISTERED_UNDECIDED) {
        decide_one(job);
    } else if (job->state == REGISTERED_BEHIND) {
        send_orders(job);
    }
}

static void catch_up_all(void)
{
    /* A job may go meanwhile; one that is passed over by that is looked at the next time. */
    for (size_t i = registered_jobs.count; i-- > 0;) {
        if (i < registered_jobs.count) {
            catch_up(registered_jobs.all[i]);
        }
    }
}

static void look_again(void)
{
    catch_up_all();
    for (size_t i = 0; i < registered_jobs.count; i++) {
        if (is_pending(registered_jobs.all[i])) {
            look_again_soon();
        }
    }
    static bool failed; /* the last look, which has been logged */
    if (registry.unborn > 0 && find_jobs() < 0) {
        if (!failed) {
            log_line("cannot read the jobs' directory: %m");
        }
        failed = true;
        look_again_soon(); /* procd lacks descriptors or memory: a job is still to be found */
    } else {
        failed = false;
    }
}

int registry_open(const char *run_directory, size_t keep_finished, uint64_t keep_finished_ms)
{
    if (job_directories_open(run_directory) < 0) {
        return -1;
    }
    retention_open(keep_finished, keep_finished_ms);
    int result = find_jobs();
    registry.opened = true;
    retention_apply();
    return result;
}

bool registry_order(struct registered_job *job, struct order *order)
{
    if (order->kind == ORDER_LEFT) {
        return leftovers_kill(job, order);
    }
    if (job->state == REGISTERED_ENDED) {
        return false;
    }
    orders_add(job, order);
    if (job->state == REGISTERED_HEARD || job->state == REGISTERED_BEHIND) {
        send_orders(job);
    }
    return true;
}

/* ---- questions ---- */

struct registered_job *registry_find(const char *id)
{
    struct registered_job *job = registered_job_find(id);
    if (job != NULL && is_pending(job)) {
        catch_up(job);
        job = registered_job_find(id);
    }
    return job;
}

/* Where the job's log begins and ends; for a running job what its runner last wrote to the disk. */
static bool find_log_position(const struct registered_job *job, struct job_position *position)
{
    if (job->state == REGISTERED_ENDED) {
        *position = job->position;
        return job->has_position;
    }
    cleanup_fd int directory = job_directory_open(job->record.id);
    return directory >= 0 && job_position_read(directory, position) == 0;
}

/* How large the job's terminal is, and where its byte log begins and ends. */
static void describe_terminal(const struct registered_job *job, struct message *message)
{
    struct terminal_size size = job->record.size;
    uint64_t first = 0;
    uint64_t next = 0;
    cleanup_fd int directory = job_directory_open(job->record.id);
    if (directory >= 0 && terminal_size_read(directory, &size) == 0 &&
        byte_log_bounds(directory, &first, &next) == 0) {
        message_add_number(message, FIELD_FIRST_OFFSET, (int64_t)first);
        message_add_number(message, FIELD_NEXT_OFFSET, (int64_t)next);
    }
    message_add_number(message, FIELD_COLS, size.cols);
    message_add_number(message, FIELD_ROWS, size.rows);
}

void registry_describe_job(struct registered_job *job, bool left, struct message *message)
{
    struct job_position position;
    message_add_text(message, FIELD_ID, job->record.id);
    message_add_number(message, FIELD_PID, job->record.pid);
    message_add_number(message, FIELD_STARTED_AT, (int64_t)job->record.started_at);
    message_add_number(message, FIELD_AGE_KEY, (int64_t)job->record.age_key);
    message_add_text(message, FIELD_CWD, job->record.cwd);
    message_add_text(message, FIELD_COMMAND, job->record.command);
    if (job->state == REGISTERED_ENDED) {
        job_exit_describe(&job->ending, message);
    } else {
        message_add_number(message, FIELD_STATUS, JOB_RUNNING);
    }
    if (job->record.has_terminal) {
        describe_terminal(job, message);
    } else if (find_log_position(job, &position)) {
        job_position_describe(&position, message);
    }
    if (left) {
        leftovers_describe(job, message);
    }
}

void registry_describe(uint64_t after, bool left, struct message *message)
{
    catch_up_all();
    for (size_t i = registered_job_after(after); i < registered_jobs.count; i++) {
        if (message->length > PAGE_SIZE) {
            message_add_number(message, FIELD_MORE, 1);
            return;
        }
        registry_describe_job(registered_jobs.all[i], left, message);
    }
}
