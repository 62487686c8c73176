#include "fcgi-app/processes/job_end.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/io.h"
#include "procd/log/job_files.h"
#include "procd/wire/client.h"
#include "procd/wire/protocol.h"

#define STEP_MS 5

int job_end_is_there(int directory)
{
    struct stat status;
    if (fstatat(directory, JOB_EXIT_FILE, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        return 1;
    }
    if (errno != ENOENT) {
        return -1;
    }
    return fstat(directory, &status) < 0 ? -1 : status.st_nlink == 0;
}

bool job_end_is_near(int directory)
{
    return !directory_has(directory, JOB_SOCKET_FILE) && job_end_is_there(directory) == 0;
}

void job_end_await(int directory)
{
    for (int waited = 0; waited < JOB_END_MOST_MS && job_end_is_near(directory);
         waited += STEP_MS) {
        (void)io_poll(NULL, 0, STEP_MS);
    }
}

bool job_end_read(int directory, struct job *job)
{
    char record[MESSAGE_PACKET_SMALL];
    cleanup_incoming struct incoming message = {0};
    cleanup_fd int fd = io_open_regular(directory, JOB_EXIT_FILE, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : io_read_full(fd, record, sizeof(record));
    if (length < 0 || message_parse(record, (size_t)length, &message) < 0) {
        return false;
    }
    job->status = job_status_of(message_number(&message, FIELD_STATUS, JOB_FAILED));
    job->ended_at = (uint64_t)message_number(&message, FIELD_ENDED_AT, 0);
    job->ending = ending_of(&message);
    return true;
}

int job_end_look(int directory, struct job *job)
{
    job->status = JOB_RUNNING;
    int ended = job_end_is_there(directory);
    return ended < 0 || (ended > 0 && !job_end_read(directory, job)) ? -1 : 0;
}
