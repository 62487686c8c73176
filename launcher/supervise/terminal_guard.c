/*
 * The filter compares the lower half of the request, since the kernel looks at no more.
 */
#include "launcher/supervise/terminal_guard.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include "common/logger.h"

#if defined(__x86_64__) || defined(__AARCH64EL__)

#define LOAD(member)          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define ANSWER(what)          BPF_STMT(BPF_RET | BPF_K, (what))

/* The numbers of ioctl(2): of the machine, of x32, which shares its architecture, and of the
 * 32-bit programs that may run beside. */
#ifdef __x86_64__
#define IS_IOCTL                                                                                   \
    EQUAL(AUDIT_ARCH_X86_64, 0, 4), LOAD(nr), EQUAL(16, 6, 0), EQUAL(0x40000000 + 514, 5, 0),      \
        EQUAL(0x40000000 + 16, 4, 3), EQUAL(AUDIT_ARCH_I386, 0, 2), LOAD(nr), EQUAL(54, 1, 0),     \
        ANSWER(SECCOMP_RET_ALLOW)
#else
#define IS_IOCTL                                                                                   \
    EQUAL(AUDIT_ARCH_AARCH64, 0, 2), LOAD(nr), EQUAL(29, 4, 3), EQUAL(AUDIT_ARCH_ARM, 0, 2),       \
        LOAD(nr), EQUAL(54, 1, 0), ANSWER(SECCOMP_RET_ALLOW)
#endif

/* clang-format off */
static struct sock_filter program[] = {
    LOAD(arch),
    IS_IOCTL,
    LOAD(args[1]),
    EQUAL(TIOCSTI, 1, 0),
    EQUAL(TIOCLINUX, 0, 1), /* pastes on a console */
    ANSWER(SECCOMP_RET_ERRNO | EPERM),
    ANSWER(SECCOMP_RET_ALLOW),
};
/* clang-format on */

#endif

int terminal_guard(void)
{
#ifdef IS_IOCTL
    const struct sock_fprog filter = {sizeof(program) / sizeof(program[0]), program};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0);
#else
    log_at(LOG_WARNING, "no seccomp filter for this machine: the command can type in its terminal");
    return 0;
#endif
}
