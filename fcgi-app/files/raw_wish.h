/*
 * What a client wishes beside the content of a file that it sends: its mode and its time, as texts.
 */
#pragma once

struct fs_wish;

/* Reads both into *wish; NULL is no wish. NULL, or what is wrong with them. Thread-safe. */
const char *raw_wish_read(struct fs_wish *wish, const char *mode, const char *mtime);
