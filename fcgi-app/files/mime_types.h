/*
 * Media types by the extension of a name, as the system lists them (/etc/mime.types), if it does.
 * The list is read when it is first needed.
 */
#pragma once

/* The type for a name of `length` bytes; "application/octet-stream" for one that the list does not
 * have. Never NULL; valid for ever. Thread-safe. */
const char *mime_type_of(const char *name, unsigned long length);
