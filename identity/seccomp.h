/*
 * System calls that fcgi-app has no use for and that others have been broken by (seccomp(2)).
 */
#pragma once

/*
 * Forbids them to this thread and those that it will make: they fail with EPERM, and
 * clone3(2) with ENOSYS. Needs no_new_privs. A kernel that cannot is logged and no failure: this is
 * a second lock.
 */
void seccomp_forbid(void);
