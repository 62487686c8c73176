/*
 * Choosing nginx's worker user.
 */
#include "nginx/launcher/worker_user.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Root in a container may have lost what setuid(2), setgroups(2) and chown(2) want. */
static bool can_change_user(void)
{
    const uint32_t wanted = 1U << CAP_SETUID | 1U << CAP_SETGID | 1U << CAP_CHOWN;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & wanted) == wanted;
}

void worker_user_choose(struct worker_user *worker)
{
    static const char *const names[] = {"www-data", "nginx", "nobody"}; /* Debian, nginx.org, any */
    worker->directive[0] = '\0';
    worker->group = (gid_t)-1;
    if (geteuid() != 0) {
        return;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && can_change_user(); i++) {
        const struct passwd *user = getpwnam(names[i]);
        const struct group *group = user == NULL ? NULL : getgrgid(user->pw_gid);
        if (group != NULL) {
            worker->group = group->gr_gid;
            snprintf(worker->directive, sizeof(worker->directive), "user %s %s;\n", names[i],
                     group->gr_name);
            return;
        }
    }
    snprintf(worker->directive, sizeof(worker->directive), "user root root;\n");
}
