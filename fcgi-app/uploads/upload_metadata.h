/*
 * Upload-Metadata: `name base64, name base64, ...`. The names that mean something here are those of
 * the parameters of PUT /files, and `path`; others are the client's own.
 */
#pragma once

#include <stdbool.h>

#include "fcgi-app/files/fs.h"

struct upload_metadata {
    char *path; /* absolute; owned */
    bool parents;
    struct fs_wish wish;
};

/* Reads the header. NULL, or what is wrong with it. Clear it in any case. Thread-safe. */
const char *upload_metadata_read(struct upload_metadata *metadata, const char *text);

/* Frees what was read. */
void upload_metadata_clear(struct upload_metadata *metadata);
