/*
 * What the methods of /files answer with.
 */
#pragma once

#include "api/errors.h"
#include "fcgi-app/files/fs.h"

struct request;
struct stat;

/* The status of an error here: that of HTTP which fits the code best. */
int raw_status(enum api_error error);

/* Answers with an error of the file system. */
void raw_refuse(struct request *request, const struct fs_error *error);

/* The same for a file that is to be written: a directory of its path that is missing is a 409, as
 * in WebDAV (RFC 4918, 9.7.1), because 404 would be the file's. */
void raw_refuse_write(struct request *request, const struct fs_error *error);

/* 0, or -1 when it has been answered that the body has a content coding. */
int raw_check_coding(struct request *request);

#define RAW_ETAG_SIZE 96

/* The entity tag of a file, with its quotes: it changes with the content. Returns `etag`. */
const char *raw_etag(const struct stat *status, char etag[RAW_ETAG_SIZE]);
