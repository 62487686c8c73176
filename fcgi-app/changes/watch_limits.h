/*
 * Why a tree cannot be watched, in words that name the kernel's limit and its value.
 */
#pragma once

#include <errno.h>

/* There is no instance of inotify. */
#define WATCH_NO_INSTANCE EUSERS

#define WATCH_REASON_SIZE 160

/* Of an errno: ENOSPC where there may be no more watches, or WATCH_NO_INSTANCE. It needs no escapes
 * in JSON. Thread-safe. Returns `reason`. */
const char *watch_limits_reason(int number, char reason[WATCH_REASON_SIZE]);
