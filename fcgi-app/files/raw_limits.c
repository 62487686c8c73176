#include "fcgi-app/files/raw_limits.h"

#include <sys/statvfs.h>

#include "fcgi-app/http/answer.h"

static struct {
    uint64_t upload_max;
    uint64_t free_least;
} limits;

void raw_limits_init(uint64_t upload_max, uint64_t free_least)
{
    limits.upload_max = upload_max == 0 ? UINT64_MAX : upload_max;
    limits.free_least = free_least;
}

uint64_t raw_limits_upload_max(void)
{
    return limits.upload_max;
}

int raw_limits_check_size(struct request *request, uint64_t size)
{
    if (size <= limits.upload_max) {
        return 0;
    }
    answer_error(request, 413, ERROR_too_large, "The file is larger than SANDBOX_MAX_UPLOAD");
    return -1;
}

bool raw_limits_has_room(uint64_t room, uint64_t more)
{
    return room >= limits.free_least && room - limits.free_least >= more;
}

bool raw_limits_leaves_room(int fd, uint64_t more)
{
    struct statvfs disk;
    return limits.free_least == 0 || fstatvfs(fd, &disk) != 0 ||
           raw_limits_has_room((uint64_t)disk.f_bavail * disk.f_frsize, more);
}

int raw_limits_check_room(struct request *request, const char *path, uint64_t room, uint64_t more)
{
    if (raw_limits_has_room(room, more)) {
        return 0;
    }
    answer_error(request, 507, ERROR_no_space,
                 "write %s: The disk has %llu bytes free, of which SANDBOX_MIN_FREE keeps %llu",
                 path, (unsigned long long)room, (unsigned long long)limits.free_least);
    return -1;
}
