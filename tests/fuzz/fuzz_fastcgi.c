/*
 * What comes in on fcgi-app's socket, through record_filter and libfcgi as fcgi-app uses them:
 * libfcgi survives what passes. The first byte is the most that a read(2) gives.
 */
#include <fcgiapp.h>

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fcgi-app/http/body_records.h"
#include "fcgi-app/http/record_filter.h"
#include "tests/fuzz/fuzz.h"

static struct record_filter filter;
static size_t read_max;

/* As in fcgi-app/http/fcgi.c. */
int OS_Read(int fd, char *buffer, size_t length);
int OS_Read(int fd, char *buffer, size_t length)
{
    ssize_t count = read(fd, buffer, length < read_max ? length : read_max);
    bool passes =
        count <= 0 || record_filter_pass(&filter, (const unsigned char *)buffer, (size_t)count);
    assert(passes || !record_filter_pass(&filter, (const unsigned char *)"", 1));
    return passes ? (int)count : 0;
}

/* Looks at all of a request and answers it. */
static void serve(FCGX_Request *request)
{
    char piece[100];
    size_t length = 0;
    for (char **param = request->envp; *param != NULL; param++) {
        length += strlen(*param);
    }
    assert(length <= (size_t)1 << 21);
    (void)FCGX_GetParam("CONTENT_LENGTH", request->envp);
    for (uint64_t taken = 0, left; (left = filter.body_size - taken) > 0;) {
        int got =
            FCGX_GetStr(piece, (int)(left < sizeof(piece) ? left : sizeof(piece)), request->in);
        if (got <= 0) {
            break;
        }
        taken += (uint64_t)got;
    }
    while (body_records_read(request->ipcFd, &filter, piece, sizeof(piece)) > 0) {
    }
    (void)FCGX_PutStr("Status: 200\r\n\r\n", 15, request->out);
    FCGX_Finish_r(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    int sockets[2];
    FCGX_Request request;
    filter = (struct record_filter){0};
    read_max = 1 + (size_t)input_number(&input, 1) * 32;
    assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR && FCGX_Init() == 0);
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    assert(send(sockets[0], input.data, input.left, MSG_DONTWAIT) == (ssize_t)input.left);
    assert(shutdown(sockets[0], SHUT_WR) == 0);
    assert(FCGX_InitRequest(&request, -1, 0) == 0);
    request.ipcFd = sockets[1];
    request.keepConnection = 1;
    while (request.ipcFd >= 0 && FCGX_Accept_r(&request) == 0 && FCGX_GetError(request.in) == 0) {
        serve(&request);
    }
    FCGX_Free(&request, 1);
    close_fd(&sockets[0]);
    return 0;
}
