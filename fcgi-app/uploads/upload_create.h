#pragma once

struct request;

/* POST of /uploads: a new upload, perhaps with its first bytes. Thread-safe. */
void upload_create(struct request *request);
