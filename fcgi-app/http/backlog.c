/*
 * The backlog by /proc/net/unix: a connection that waits there has the path of its listener and no
 * inode yet (unix_seq_show() in net/unix/af_unix.c of Linux).
 */
#include "fcgi-app/http/backlog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/cleanup.h"

int64_t backlog_length(int listener)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size = sizeof(address) - 1; /* a NUL is left behind the path */
    char ending[sizeof(address.sun_path) + 8];
    cleanup_file FILE *table = fopen("/proc/net/unix", "re");
    if (table == NULL || getsockname(listener, (struct sockaddr *)&address, &size) < 0) {
        return -1;
    }
    size_t length = (size_t)snprintf(ending, sizeof(ending), " 0 %s\n", address.sun_path);
    cleanup_free char *line = NULL;
    size_t capacity = 0;
    int64_t count = 0;
    for (ssize_t read; (read = getline(&line, &capacity, table)) > 0;) {
        count += (size_t)read >= length && strcmp(line + (size_t)read - length, ending) == 0;
    }
    return ferror(table) ? -1 : count;
}
