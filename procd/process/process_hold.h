/*
 * Holding a process, so that what is asked and sent concerns it, and no other process that has got
 * its number since. By a pidfd; where the kernel has none (before Linux 5.3) or a seccomp filter
 * refuses, by its directory in /proc, which is empty once the process has been reaped. Between that
 * look and the signal a number could be given again, in theory: the kernel goes through all others
 * first.
 *
 * Thread-safe.
 */
#ifndef PROCD_PROCESS_PROCESS_HOLD_H
#define PROCD_PROCESS_PROCESS_HOLD_H

#include <sys/types.h>

/* A descriptor (CLOEXEC) that the caller closes, or -1 with errno when there is no such process.
 * It becomes readable for poll(2) when the process ends, if it is a pidfd: epoll_ctl(2) takes no
 * other, and says EPERM. */
int process_hold(pid_t pid);

/* Sends a signal to the process `pid` that is held; 0 only looks whether it is there, as a zombie
 * is. 0, or -1 with errno, ESRCH when it has been reaped. */
int process_held_signal(int held, pid_t pid, int signal);

#endif
