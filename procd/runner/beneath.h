/*
 * A command that writes only beneath its working directory, as far as the kernel enforces that
 * (Landlock, landlock(7), with ABI 2, Linux 5.19): whatever names and links it meets, it makes,
 * changes, links and removes nothing elsewhere, and makes no device anywhere. What it has open
 * already stays open, and it may change modes and times of what it can reach.
 */
#pragma once

/*
 * In the child, by system calls alone: from now on this process and all it starts write only
 * beneath the working directory. It gains no rights by execve(2) any more. 0, also where the kernel
 * cannot do it; or -1 with errno.
 */
int beneath_enter(void);
