/*
 * Files in memory.
 *
 * Thread-safe.
 */
#pragma once

#include <errno.h>
#include <sys/mman.h>

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3; not in glibc's headers yet where we build on Debian 12 */
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/*
 * An empty memory file, close-on-exec, that can be sealed; or -1 with errno. Not executable where
 * the kernel knows the difference: some are configured to make no others (vm.memfd_noexec = 2).
 */
static inline int memory_file_create(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) {
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    return fd;
}
