/*
 * Code of a child that borrows its parent's memory until it executes (procd/runner/spawn.c): it
 * never returns to whoever would note that for a sanitizer, which would hold it against the parent.
 */
#ifndef COMMON_IN_CHILD_H
#define COMMON_IN_CHILD_H

#define IN_CHILD __attribute__((noinline, no_sanitize("thread", "address")))

#endif
