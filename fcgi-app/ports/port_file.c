#include "fcgi-app/ports/port_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"

int port_file_write(int directory, const char *name, const char *text, size_t length)
{
    cleanup_fd int fd =
        openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) {
        return -1;
    }
    return fchmod(fd, 0644) != 0 || io_write_all(fd, text, length) != 0 ? -1 : close(steal_fd(&fd));
}
