/*
 * A file in FastCGI records: the kernel moves its bytes into the connection, they are not copied
 * here.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/*
 * Sends `length` bytes of the file from `offset` on as standard output of a request. 0, or -1 when
 * the connection is broken, the file cannot be read, or has become shorter: then the last record is
 * not whole, and the connection must be closed. *sent is how many of the bytes have gone.
 * Thread-safe.
 */
int file_records_send(int connection, int request_id, int file, off_t offset, uint64_t length,
                      uint64_t *sent);
