/*
 * Threads that nobody joins. Only the pages of its stack that a thread touches cost memory; the
 * deepest handlers of fcgi-app need about 30 KiB.
 */
#pragma once

/* Starts a thread with a stack of 256 KiB. 0, or an errno. Thread-safe. */
int detached_thread_start(void *(*run)(void *argument), void *argument);
