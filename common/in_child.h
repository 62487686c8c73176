/*
 * For functions of a child that borrows its parent's memory until it executes (runner/spawn.c), and
 * of the parent meanwhile. They are not instrumented: a sanitizer would take the child's accesses
 * for the parent's, and keeps notes for one of them at a time.
 */
#pragma once

#define IN_CHILD __attribute__((noinline, no_sanitize("thread", "address")))
