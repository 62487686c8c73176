/*
 * A link holds the number; /proc says which process has it by now.
 */
#include "common/service_pid.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/run_files.h"

/* The title of a master: ngx_master_process_cycle(). */
#define NGINX_TITLE "nginx: master process "

/*
 * Whether the process is the service by its command line: 1, 0, or -1 when that cannot be read. Not
 * by its name (/proc/<pid>/comm), which every thread of a process may change through /proc, and so
 * a client of fcgi-app: proc_pid_comm(5).
 */
static int is_service(long pid, const char *service)
{
    char path[40];
    char line[PATH_MAX];
    struct stat owner;
    (void)snprintf(path, sizeof(path), "/proc/%ld/cmdline", pid);
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    /* A command of another user that has got the number may have any command line, and may make a
     * reader of it wait. (A process that cannot be traced shows as root's: proc_pid(5).) */
    if (fd >= 0 && fstat(fd, &owner) == 0 && owner.st_uid != 0 && owner.st_uid != geteuid()) {
        return 0;
    }
    ssize_t length = fd < 0 ? -1 : io_read_full(fd, line, sizeof(line) - 1);
    if (length < 0) {
        return errno == ENOENT || errno == ESRCH ? 0 : -1;
    }
    line[length] = '\0';
    if (strcmp(service, "nginx") == 0) {
        return strncmp(line, NGINX_TITLE, strlen(NGINX_TITLE)) == 0;
    }
    const char *slash = strrchr(line, '/');
    return slash != NULL && strcmp(slash + 1, service) == 0;
}

pid_t service_pid(const char *run_directory, const char *service)
{
    char path[PATH_MAX];
    char number[16] = "";
    int length = snprintf(path, sizeof(path), RUN_LEADER_FORMAT, run_directory, service);
    if (length >= (int)sizeof(path) || readlink(path, number, sizeof(number) - 1) <= 0) {
        return 0;
    }
    long pid = strtol(number, NULL, 10);
    int is = pid > 1 ? is_service(pid, service) : 0;
    return is > 0 ? (pid_t)pid : (pid_t)is;
}
