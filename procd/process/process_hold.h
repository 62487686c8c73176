/*
 * Holds a process, so that questions and signals reach it and no other process that has got its
 * number since. A pidfd does that. Where the kernel has none (before Linux 5.3) or a seccomp filter
 * refuses, the directory of the process in /proc does: it is empty once the process has been
 * reaped. In theory the number could be given to another process between the look at the directory
 * and the signal, but the kernel goes through all other numbers first.
 *
 * Thread-safe.
 */
#pragma once

#include <sys/types.h>

/* A descriptor (CLOEXEC) that the caller closes, or -1 with errno when there is no such process. A
 * pidfd becomes readable for poll(2) when the process ends; epoll_ctl(2) refuses the other kind
 * with EPERM. */
int process_hold(pid_t pid);

/* Sends a signal to the process `pid` that is held; signal 0 only asks whether it exists, which is
 * true of a zombie as well. 0, or -1 with errno, ESRCH when it has been reaped. */
int process_held_signal(int held, pid_t pid, int signal);
