/*
 * Clients that change one file under conditions take turns, from the look at its state to its new
 * one.
 */
#pragma once

#include <pthread.h>

/* The lock for a path, as it is written; a few other paths share it. Thread-safe. */
pthread_mutex_t *file_turn(const char *path);
