/*
 * Jobs in an array by age. The runner of a running one is known by its lock on the job's directory
 * and heard of over the socket in there; when it falls silent the directory tells what became of
 * the job.
 */
#include "procd/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "procd/job_files.h"
#include "procd/job_log.h"
#include "procd/job_record.h"

/* How soon a runner that is alive but does not answer (it begins, or it ends) is looked at again.
 */
#define LOOK_AGAIN_MS 10

struct registered_job {
    struct watch runner; /* first: a watch is its job. Open while the runner is heard of */
    struct job_record record;
    struct job_exit ending; /* status JOB_RUNNING until it has ended */
    bool undecided;         /* to be looked at again */
    bool kill_ordered;
    struct kill_waiter *waiters; /* the first order first */
};

static struct {
    int directory; /* RUN/state/jobs */
    struct registered_job **jobs;
    size_t count, capacity;
    size_t finished;
    bool unborn;     /* somebody has a job that has no record yet */
    uint64_t newest; /* started_at of the last job: no two have the same */
} registry = {.directory = -1};

static void look_again(struct timer *timer);
static struct timer look_timer = {.due = look_again};

/* ---- directories ---- */

static int open_job_directory(const char *id)
{
    return openat(registry.directory, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Another description of the directory, so that reading it moves nobody's position. */
static DIR *list_directory(int directory)
{
    cleanup_fd int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (entries != NULL) {
        (void)steal_fd(&copy);
    }
    return entries;
}

void registry_discard(const char *id)
{
    cleanup_fd int directory = open_job_directory(id);
    cleanup_directory DIR *entries = directory < 0 ? NULL : list_directory(directory);
    struct dirent *entry;
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        (void)unlinkat(directory, entry->d_name, 0); /* fails for . and .. */
    }
    if (unlinkat(registry.directory, id, AT_REMOVEDIR) < 0 && errno != ENOENT) {
        log_line("job %s: cannot remove its files: %m", id);
    }
}

/* A random UUID: RFC 9562, version 4. */
static int make_id(char id[JOB_ID_SIZE])
{
    unsigned char b[16];
    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b)) {
        return -1;
    }
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    (void)snprintf(id, JOB_ID_SIZE,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
    return 0;
}

static bool is_id(const char *text)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    for (size_t i = 0; i < sizeof(form); i++) {
        bool hexadecimal = text[i] != '\0' && strchr("0123456789abcdef", text[i]) != NULL;
        if (form[i] == 'x' ? !hexadecimal : text[i] != form[i]) {
            return false;
        }
    }
    return true;
}

int registry_create(char id[JOB_ID_SIZE], uint64_t *started_at)
{
    if (make_id(id) < 0 || mkdirat(registry.directory, id, 0700) < 0) {
        return -1;
    }
    cleanup_fd int directory = open_job_directory(id);
    if (directory < 0 || flock(directory, LOCK_EX | LOCK_NB) < 0) {
        int saved = errno;
        registry_discard(id);
        errno = saved;
        return -1;
    }
    uint64_t now = clock_date_ns();
    registry.newest = now > registry.newest ? now : registry.newest + 1;
    *started_at = registry.newest;
    return steal_fd(&directory);
}

int registry_open_directory(const struct registered_job *job)
{
    return open_job_directory(job->record.id);
}

/* ---- the life of a job ---- */

struct registered_job *registry_find(const char *id)
{
    for (size_t i = registry.count; i-- > 0;) {
        if (strcmp(registry.jobs[i]->record.id, id) == 0) {
            return registry.jobs[i];
        }
    }
    return NULL;
}

static void remove_job(size_t index)
{
    struct registered_job *job = registry.jobs[index];
    registry_discard(job->record.id);
    registry.count--;
    memmove(registry.jobs + index, registry.jobs + index + 1,
            (registry.count - index) * sizeof(*registry.jobs));
    registry.finished--;
    job_record_clear(&job->record);
    free(job);
}

/* By the time of its end: a job that ran for long and has just ended is news. */
static size_t oldest_finished(void)
{
    size_t oldest = registry.count;
    for (size_t i = 0; i < registry.count; i++) {
        const struct job_exit *ending = &registry.jobs[i]->ending;
        if (ending->status != JOB_RUNNING &&
            (oldest == registry.count ||
             ending->ended_at < registry.jobs[oldest]->ending.ended_at)) {
            oldest = i;
        }
    }
    return oldest;
}

static void remove_oldest_finished(void)
{
    while (registry.finished > JOBS_FINISHED_MAX) {
        size_t oldest = oldest_finished();
        if (oldest == registry.count) {
            return;
        }
        remove_job(oldest);
    }
}

/* The job has ended as job->ending says. It may be gone when this returns. */
static void settle(struct registered_job *job)
{
    loop_close(&job->runner);
    job->undecided = false;
    registry.finished++;
    /* The first order has killed it, if an order has; whoever came later finds it ended. */
    bool first = job->ending.status == JOB_KILLED;
    struct kill_waiter *waiter;
    while ((waiter = job->waiters) != NULL) {
        job->waiters = waiter->next;
        waiter->job = NULL;
        waiter->ended(waiter, first, job->ending.status);
        first = false;
    }
    remove_oldest_finished();
}

/* The runner is dead and has left no word: makes the log whole and writes what can be said. */
static void settle_lost(struct registered_job *job, int directory)
{
    job->ending = (struct job_exit){
        .status = JOB_FAILED, .code = -1, .lost = true, .ended_at = clock_date_ns()};
    log_line("job %s: its runner died", job->record.id);
    if (job_log_repair(directory) < 0) {
        log_line("job %s: log: %m", job->record.id);
    }
    if (job_exit_write(directory, &job->ending) < 0) {
        log_line("job %s: exit record: %m", job->record.id);
    }
    settle(job);
}

static void look_again_soon(void)
{
    if (look_timer.at == 0) {
        look_timer.at = clock_monotonic_ms() + LOOK_AGAIN_MS;
    }
}

static void order_kill(struct registered_job *job)
{
    if (message_send_plain(job->runner.fd, MESSAGE_KILL) < 0) {
        log_line("job %s: order to its runner: %m", job->record.id);
    }
}

static int connect_runner(int directory)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", directory,
                   JOB_SOCKET_FILE);
    cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        return -1;
    }
    return steal_fd(&fd);
}

static void hear_runner(struct watch *watch);

/* Finds out what the job is now, and listens to its runner if there is one. */
static void look_at(struct registered_job *job)
{
    cleanup_fd int directory = open_job_directory(job->record.id);
    bool is_free = directory >= 0 && flock(directory, LOCK_SH | LOCK_NB) == 0;
    if (directory < 0 || job_exit_read(directory, &job->ending) == 0) {
        if (directory < 0) {
            job->ending = (struct job_exit){.status = JOB_FAILED, .code = -1, .lost = true};
        }
        settle(job);
        return;
    }
    if (is_free) {
        settle_lost(job, directory);
        return;
    }
    int fd = connect_runner(directory);
    job->runner = (struct watch){.fd = fd, .urgent = true, .ready = hear_runner};
    if (fd < 0 || loop_add(&job->runner) < 0) {
        close_fd(&job->runner.fd);
        job->undecided = true;
        look_again_soon();
        return;
    }
    job->undecided = false;
    if (job->kill_ordered) {
        order_kill(job);
    }
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
    if (received == 1 && message.type == MESSAGE_ENDED && message_open(&message) == 0) {
        int64_t status = message_number(&message, FIELD_STATUS, JOB_FAILED);
        job->ending = (struct job_exit){
            /* The socket's path can be reached by commands: whatever they say, the job has ended.
             */
            .status =
                status > JOB_RUNNING && status <= JOB_KILLED ? (enum job_status)status : JOB_FAILED,
            .code = (int)message_number(&message, FIELD_CODE, -1),
            .signal = (int)message_number(&message, FIELD_SIGNAL, 0),
            .ended_at = (uint64_t)message_number(&message, FIELD_ENDED_AT, 0),
        };
        settle(job);
        return;
    }
    loop_close(&job->runner);
    look_at(job);
}

/* ---- finding jobs ---- */

static bool make_space(void)
{
    if (registry.count < registry.capacity) {
        return true;
    }
    size_t capacity = registry.capacity == 0 ? 64 : registry.capacity * 2;
    struct registered_job **jobs = reallocarray(registry.jobs, capacity, sizeof(*jobs));
    if (jobs == NULL) {
        return false;
    }
    registry.jobs = jobs;
    registry.capacity = capacity;
    return true;
}

static void insert_by_age(struct registered_job *job)
{
    size_t at = registry.count++;
    for (; at > 0 && registry.jobs[at - 1]->record.started_at > job->record.started_at; at--) {
        registry.jobs[at] = registry.jobs[at - 1];
    }
    registry.jobs[at] = job;
    if (job->record.started_at > registry.newest) {
        registry.newest = job->record.started_at;
    }
}

struct registered_job *registry_adopt(const char *id)
{
    struct registered_job *known = registry_find(id);
    if (known != NULL) {
        return known;
    }
    cleanup_fd int directory = open_job_directory(id);
    cleanup_free struct registered_job *job = calloc(1, sizeof(*job));
    if (directory < 0 || job == NULL || !make_space() ||
        job_record_read(directory, &job->record) < 0) {
        return NULL;
    }
    job->runner.fd = -1;
    job->ending.status = JOB_RUNNING;
    struct registered_job *adopted = steal_pointer(job);
    insert_by_age(adopted);
    look_at(adopted);
    return registry_find(id);
}

/*
 * Takes a job that is found on the disk. False when it has no record yet but somebody has it: a
 * runner that has not got so far.
 */
static bool find_job(const char *id)
{
    if (registry_adopt(id) != NULL) {
        return true;
    }
    cleanup_fd int directory = open_job_directory(id);
    if (directory >= 0 && flock(directory, LOCK_SH | LOCK_NB) < 0) {
        return false;
    }
    /* Nobody has it, so nothing more comes; unless it came between the two looks. */
    if (registry_adopt(id) == NULL) {
        registry_discard(id);
    }
    return true;
}

static int find_jobs(void)
{
    cleanup_directory DIR *entries = list_directory(registry.directory);
    if (entries == NULL) {
        return -1;
    }
    registry.unborn = false;
    struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        if (is_id(entry->d_name) && !find_job(entry->d_name)) {
            registry.unborn = true;
        }
    }
    if (registry.unborn) {
        look_again_soon();
    }
    return 0;
}

static void decide(void)
{
    /* A job may go meanwhile; who is passed over by that is looked at the next time. */
    for (size_t i = registry.count; i-- > 0;) {
        if (i < registry.count && registry.jobs[i]->undecided) {
            look_at(registry.jobs[i]);
        }
    }
}

static void look_again(struct timer *timer)
{
    (void)timer;
    decide();
    for (size_t i = 0; i < registry.count; i++) {
        if (registry.jobs[i]->undecided) {
            look_again_soon();
        }
    }
    if (registry.unborn && find_jobs() < 0) {
        log_line("cannot read the jobs' directory: %m");
    }
}

/* Makes a directory below `parent` if need be and opens it. */
static int enter_directory(int parent, const char *name)
{
    if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST) {
        return -1;
    }
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int registry_open(const char *run_directory)
{
    cleanup_fd int run = open(run_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_fd int state = run < 0 ? -1 : enter_directory(run, PROCD_STATE_NAME);
    registry.directory = state < 0 ? -1 : enter_directory(state, PROCD_JOBS_NAME);
    if (registry.directory < 0) {
        return -1;
    }
    loop_add_timer(&look_timer);
    return find_jobs();
}

void registry_close(void)
{
    for (size_t i = 0; i < registry.count; i++) {
        loop_close(&registry.jobs[i]->runner);
        job_record_clear(&registry.jobs[i]->record);
        free(registry.jobs[i]);
    }
    free(steal_pointer(registry.jobs));
    registry.count = 0;
    close_fd(&registry.directory);
}

/* ---- orders and questions ---- */

bool registry_kill(struct registered_job *job, struct kill_waiter *waiter, enum job_status *status)
{
    if (job->ending.status != JOB_RUNNING) {
        *status = job->ending.status;
        return false;
    }
    struct kill_waiter **link = &job->waiters;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = waiter;
    waiter->next = NULL;
    waiter->job = job;
    if (!job->kill_ordered) {
        job->kill_ordered = true;
        if (job->runner.fd >= 0) {
            order_kill(job);
        }
    }
    return true;
}

void registry_forget(struct kill_waiter *waiter)
{
    if (waiter->job == NULL) {
        return;
    }
    for (struct kill_waiter **link = &waiter->job->waiters; *link != NULL; link = &(*link)->next) {
        if (*link == waiter) {
            *link = waiter->next;
            break;
        }
    }
    waiter->job = NULL;
}

void registry_describe_job(const struct registered_job *job, struct message *message)
{
    message_add_text(message, FIELD_ID, job->record.id);
    message_add_number(message, FIELD_PID, job->record.pid);
    message_add_number(message, FIELD_STARTED_AT, (int64_t)job->record.started_at);
}

void registry_describe(struct message *message)
{
    decide();
    for (size_t i = 0; i < registry.count; i++) {
        const struct registered_job *job = registry.jobs[i];
        registry_describe_job(job, message);
        message_add_number(message, FIELD_STATUS, job->ending.status);
        message_add_number(message, FIELD_ENDED_AT, (int64_t)job->ending.ended_at);
        message_add_number(message, FIELD_CODE, job->ending.code);
        message_add_number(message, FIELD_SIGNAL, job->ending.signal);
        message_add_text(message, FIELD_COMMAND, job->record.command);
    }
}
