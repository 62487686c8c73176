#include "fcgi-app/http/outlet.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

void outlet_init(struct outlet *outlet, int fd, int request_id,
                 void (*give_back)(int fd, bool reuse))
{
    *outlet = (struct outlet){.fd = fd,
                              .request_id = request_id,
                              .give_back = give_back,
                              .measured = {.endpoint = METRICS_NONE}};
    outlet->end_left = sizeof(outlet->end);
    record_header(outlet->end, RECORD_STDOUT, request_id, 0);
    record_header(outlet->end + RECORD_HEADER_SIZE, RECORD_END_REQUEST, request_id,
                  RECORD_HEADER_SIZE); /* its 8 bytes are status 0, request complete */
}

/* One sendmsg(2) that never waits. The bytes, 0 when the connection is full, or -1. */
static ssize_t send_some(int fd, struct iovec *iov, size_t count)
{
    const struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
    for (;;) {
        ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0 || errno != EINTR) {
            return sent < 0 && errno == EAGAIN ? 0 : sent;
        }
    }
}

/* Sends of the current record what it takes. The bytes of data sent, or -1. */
static ssize_t send_in_record(struct outlet *outlet, const char *data, size_t length)
{
    size_t size = length < outlet->record_left ? length : outlet->record_left;
    struct iovec iov[] = {
        {outlet->header + RECORD_HEADER_SIZE - outlet->header_left, outlet->header_left},
        {(void *)(uintptr_t)data, size}};
    ssize_t sent = send_some(outlet->fd, iov, 2);
    if (sent < 0) {
        return -1;
    }
    size_t of_header = (size_t)sent < outlet->header_left ? (size_t)sent : outlet->header_left;
    outlet->header_left -= of_header;
    outlet->record_left -= (size_t)sent - of_header;
    return sent - (ssize_t)of_header;
}

ssize_t outlet_send(struct outlet *outlet, const char *data, size_t length)
{
    size_t done = 0;
    while (done < length) {
        if (outlet->record_left == 0) {
            outlet->record_left = length - done < RECORD_MAX ? length - done : RECORD_MAX;
            outlet->header_left = RECORD_HEADER_SIZE;
            record_header(outlet->header, RECORD_STDOUT, outlet->request_id, outlet->record_left);
        }
        ssize_t sent = send_in_record(outlet, data + done, length - done);
        if (sent < 0) {
            return -1;
        }
        done += (size_t)sent;
        if (outlet->header_left > 0 || (outlet->record_left > 0 && done < length)) {
            break; /* full */
        }
    }
    metrics_sent(&outlet->measured, done);
    return (ssize_t)done;
}

int outlet_end(struct outlet *outlet)
{
    struct iovec iov = {outlet->end + sizeof(outlet->end) - outlet->end_left, outlet->end_left};
    ssize_t sent = send_some(outlet->fd, &iov, 1);
    if (sent < 0) {
        return -1;
    }
    outlet->end_left -= (size_t)sent;
    return outlet->end_left == 0;
}

void outlet_close(struct outlet *outlet, bool reuse)
{
    metrics_end(&outlet->measured);
    outlet->give_back(outlet->fd, reuse);
    outlet->fd = -1;
}
