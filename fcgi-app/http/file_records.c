#include "fcgi-app/http/file_records.h"

#include <errno.h>
#include <stddef.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "common/fastcgi_record.h"

/* What may wait in the connection. The kernel may allow less; more than a record is enough. */
#define WAITING_BYTES (1 << 20)

/* The header waits in the kernel for the bytes that follow it. 0 or -1. */
static int send_header(int connection, int request_id, size_t size)
{
    unsigned char header[RECORD_HEADER_SIZE];
    record_header(header, RECORD_STDOUT, request_id, size);
    for (size_t done = 0; done < sizeof(header);) {
        ssize_t sent =
            send(connection, header + done, sizeof(header) - done, MSG_NOSIGNAL | MSG_MORE);
        if (sent < 0 && errno != EINTR) {
            return -1;
        }
        done += sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

static int send_content(int connection, int file, off_t *offset, size_t size)
{
    while (size > 0) {
        ssize_t sent = sendfile(connection, file, offset, size);
        if (sent == 0 || (sent < 0 && errno != EINTR)) {
            return -1;
        }
        size -= sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

int file_records_send(int connection, int request_id, int file, off_t offset, uint64_t length,
                      uint64_t *sent)
{
    off_t begin = offset;
    static const int waiting = WAITING_BYTES;
    *sent = 0;
    if (length > RECORD_MAX) {
        (void)setsockopt(connection, SOL_SOCKET, SO_SNDBUF, &waiting, sizeof(waiting));
    }
    while (length > 0) {
        size_t size = length < RECORD_MAX ? (size_t)length : RECORD_MAX;
        int result = send_header(connection, request_id, size) != 0
                         ? -1
                         : send_content(connection, file, &offset, size);
        *sent = (uint64_t)(offset - begin);
        if (result != 0) {
            return -1;
        }
        length -= size;
    }
    return 0;
}
