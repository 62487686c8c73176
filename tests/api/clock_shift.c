/* Preloaded: the date is shifted by the number of seconds in the file CLOCK_SHIFT. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char path[256];

__attribute__((constructor)) static void remember_path(void)
{
    const char *value = getenv("CLOCK_SHIFT");
    strncpy(path, value == NULL ? "" : value, sizeof(path) - 1);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    char text[32] = "";
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    int fd = clock == CLOCK_REALTIME ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)!read(fd, text, sizeof(text) - 1);
        (void)close(fd);
        now->tv_sec += strtol(text, NULL, 10);
    }
    return result;
}
