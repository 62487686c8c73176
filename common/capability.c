/*
 * glibc has no functions for these system calls.
 */
#include "common/capability.h"

#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

static int get(struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return (int)syscall(SYS_capget, &header, data);
}

static int set(const struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return (int)syscall(SYS_capset, &header, data);
}

int capability_read(uint32_t *effective)
{
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    int result = get(data);
    *effective = data[0].effective;
    return result;
}

int capability_keep(uint32_t kept)
{
    const struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
        {.permitted = kept, .effective = kept}};
    return set(data);
}

int capability_drop_inheritable(void)
{
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (get(data) < 0) {
        return -1;
    }
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        data[i].inheritable = 0;
    }
    return set(data);
}
