/*
 * The content of an upload on its way: from the body of a request to the part beside the target,
 * and to the target's name. All with the lock of the record. Where a function has answered the
 * request, or the client left, it returns -1. Thread-safe.
 */
#pragma once

#include <stdint.h>

struct request;
struct upload_record;

/* Appends the request's body to the open part (borrowed) at *offset, where its position is, and
 * moves that. What came before a failure or a cut stays, unless the request has a checksum. */
int upload_content_receive(struct request *request, const struct upload_record *record, int part,
                           uint64_t *offset);

/* All has come, so the target gets it. The record says then that it is done. */
int upload_content_publish(struct request *request, struct upload_record *record, int part);
