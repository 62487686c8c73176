#include "procd/runner/job_input.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

/* The longest beginning of data[0..length) that is at most PIPE_BUF bytes and cuts no character. */
static size_t piece_length(const char *data, size_t length)
{
    if (length <= PIPE_BUF) {
        return length;
    }
    size_t cut = PIPE_BUF;
    while (cut > PIPE_BUF - 4 && ((unsigned char)data[cut] & 0xc0) == 0x80) {
        cut--;
    }
    return cut;
}

ssize_t job_input_write(int write_end, const char *data, size_t length)
{
    size_t done = 0;
    while (done < length) {
        ssize_t count = write(write_end, data + done, piece_length(data + done, length - done));
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return errno == EAGAIN ? (ssize_t)done : -1;
        }
        done += (size_t)count;
    }
    return (ssize_t)done;
}
