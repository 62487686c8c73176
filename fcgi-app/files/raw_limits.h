/*
 * How large a file may be that clients send, and how much of a disk it must leave free.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct request;

#define RAW_ROOM_EVERY ((uint64_t)64 << 20) /* bytes after which the disk is looked at again */

/* Remembers the size of the largest file (0: no limit), and how many bytes a disk must keep free.
 * Call once, before threads. The rest is thread-safe. */
void raw_limits_init(uint64_t upload_max, uint64_t free_least);

/* The size of the largest file; UINT64_MAX: no limit. */
uint64_t raw_limits_upload_max(void);

/* 0, or -1 when it has been answered that a file of this size is too large. */
int raw_limits_check_size(struct request *request, uint64_t size);

/* Whether a disk that has `room` bytes free has room for `more`. */
bool raw_limits_has_room(uint64_t room, uint64_t more);

/* Whether the disk of an open file can have `more` bytes and keep what it must; true if it must
 * keep nothing: then the kernel says when it is full. */
bool raw_limits_leaves_room(int fd, uint64_t more);

/* Whether a disk that has `room` bytes free has room for `more` of the file `path`. 0, or -1 when
 * it has been answered that it has not. */
int raw_limits_check_room(struct request *request, const char *path, uint64_t room, uint64_t more);
