/*
 * The filter lists what is refused. A list of what is allowed would change with every libc and
 * kernel. fcgi-app and terminal execute nothing, trace no process, change no user and make no
 * namespace.
 */
#include "identity/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "common/logger.h"

/* Of little-endian machines whose clone(2) has its flags first (not so s390's): ARGUMENT is right
 * for them. Others have no filter. */
#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__AARCH64EL__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef ARCHITECTURE

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, (what))
#define REFUSE       ANSWER(SECCOMP_RET_ERRNO | EPERM)
#define FORBID(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), REFUSE
#define ARGUMENT     LOAD(args[0]) /* the lower half of the first */

/* CLONE_NEWTIME is not among clone(2)'s flags: its bit belongs to the signal there. */
#define NAMESPACES                                                                                 \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET)

/* clang-format off */
static struct sock_filter program[] = {
    /* Another machine's calls (32-bit ones) have other numbers. */
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
    REFUSE,
    LOAD(nr),
#ifdef __x86_64__
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1), /* x32: the same architecture */
    REFUSE,
#endif
    /* other programs and processes */
    FORBID(execve), FORBID(execveat), FORBID(ptrace), FORBID(process_vm_readv),
    FORBID(process_vm_writev), FORBID(pidfd_getfd), FORBID(kcmp),
    /* other users */
    FORBID(setuid), FORBID(setgid), FORBID(setreuid), FORBID(setregid), FORBID(setresuid),
    FORBID(setresgid), FORBID(setfsuid), FORBID(setfsgid), FORBID(setgroups), FORBID(capset),
    /* namespaces and mounts */
    FORBID(unshare), FORBID(setns), FORBID(mount), FORBID(umount2), FORBID(pivot_root),
    FORBID(chroot), FORBID(open_tree), FORBID(move_mount), FORBID(fsopen), FORBID(fsconfig),
    FORBID(fsmount), FORBID(fspick), FORBID(mount_setattr),
    /* clone3(2) has its flags in memory, where no filter sees them. libc takes the old one then. */
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
    ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
    /* large parts of the kernel that nothing here needs */
    FORBID(bpf), FORBID(perf_event_open), FORBID(userfaultfd), FORBID(io_uring_setup),
    FORBID(io_uring_register), FORBID(io_uring_enter), FORBID(add_key), FORBID(request_key),
    FORBID(keyctl), FORBID(init_module), FORBID(finit_module), FORBID(delete_module),
    FORBID(kexec_load), FORBID(kexec_file_load),
    /* The flags take the place of the number, so this comes last. */
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
    ARGUMENT,
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 0, 1),
    REFUSE,
    ANSWER(SECCOMP_RET_ALLOW),
};
/* clang-format on */

void seccomp_forbid(void)
{
    const struct sock_fprog filter = {sizeof(program) / sizeof(program[0]), program};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) < 0) {
        log_at(LOG_WARNING, "no seccomp filter here: %m");
    }
}

#else

void seccomp_forbid(void)
{
    log_at(LOG_WARNING, "no seccomp filter for this machine");
}

#endif
