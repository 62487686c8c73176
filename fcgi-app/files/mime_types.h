/*
 * Media types by the extension of a name, as the system lists them.
 */
#pragma once

/* Reads the list of the system (/etc/mime.types) if there is one. Call once, before threads. */
void mime_types_init(void);

/* The type for a name of `length` bytes; "application/octet-stream" for one that the list does not
 * have. Never NULL; valid for ever. Thread-safe. */
const char *mime_type_of(const char *name, unsigned long length);
