#pragma once

/* Remembers where relative paths begin (borrowed). Call once, before threads. */
void share_file_init(const char *start_directory);
