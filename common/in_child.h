/*
 * For functions of a child that borrows its parent's memory until it executes (runner/spawn.c).
 * They are not instrumented: a sanitizer would take their accesses for the parent's, since they
 * never return.
 */
#pragma once

#define IN_CHILD __attribute__((noinline, no_sanitize("thread", "address")))
