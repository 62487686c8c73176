#include "procd/runner/job_peers.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "procd/jobs/job_directory.h"
#include "procd/wire/protocol.h"

int job_peers_listen(struct job_peers *peers, int directory)
{
    struct sockaddr_un address;
    cleanup_fd int fd = job_directory_socket(directory, &address);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, JOB_PEERS_MAX) < 0) {
        return -1;
    }
    peers->listener = steal_fd(&fd);
    return 0;
}

/* That of one which has gone; else the oldest. */
static int slot_to_leave(const struct job_peers *peers)
{
    for (int i = 0; i < JOB_PEERS_MAX; i++) {
        if (peers->all[i] < 0) {
            return i;
        }
    }
    return 0;
}

bool job_peers_accept(struct job_peers *peers)
{
    int peer =
        (int)TEMP_FAILURE_RETRY(accept4(peers->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (peer < 0) {
        return false;
    }
    int leaves = slot_to_leave(peers);
    size_t later = (size_t)(JOB_PEERS_MAX - 1 - leaves);
    close_fd(&peers->all[leaves]);
    memmove(peers->all + leaves, peers->all + leaves + 1, later * sizeof(peers->all[0]));
    memmove(peers->wants_room + leaves, peers->wants_room + leaves + 1,
            later * sizeof(peers->wants_room[0]));
    peers->all[JOB_PEERS_MAX - 1] = peer;
    peers->wants_room[JOB_PEERS_MAX - 1] = false;
    return true;
}

void job_peers_report_end(const struct job_peers *peers, const struct job_exit *ending)
{
    cleanup_message struct message message;
    message_init(&message, MESSAGE_ENDED);
    job_exit_describe(ending, &message);
    for (int i = 0; i < JOB_PEERS_MAX; i++) {
        if (peers->all[i] >= 0) {
            (void)message_send(peers->all[i], &message, NULL, 0);
        }
    }
}

bool job_peers_want_room(const struct job_peers *peers)
{
    for (int i = 0; i < JOB_PEERS_MAX; i++) {
        if (peers->wants_room[i] && peers->all[i] >= 0) {
            return true;
        }
    }
    return false;
}

void job_peers_close(struct job_peers *peers)
{
    close_fd(&peers->listener);
    for (int i = 0; i < JOB_PEERS_MAX; i++) {
        close_fd(&peers->all[i]);
    }
}
