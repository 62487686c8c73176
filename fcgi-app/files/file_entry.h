/*
 * What a file or directory is, as /stat_file and the details of /list_dir describe it. The members
 * that published clients read come first: their time and mode are strings.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

struct writer;

/* Room for the name of a user or group; a longer one is left out. */
#define OWNER_NAME_SIZE 64

/* The owners of the last entry: most have the same. Begins with zeros; belongs to one thread. */
struct owner_names {
    bool is_filled;
    uid_t uid;
    gid_t gid;
    char user[OWNER_NAME_SIZE], group[OWNER_NAME_SIZE]; /* "": there is none */
};

struct file_entry {
    const char *name; /* as it is to be written */
    size_t name_length;
    const struct stat *status;
    /* Where the link is that the entry is, or that led to it: for readlinkat(2). `link` NULL: there
     * is none. */
    int directory;
    const char *link;
};

/* Writes the members of an object: name, is_dir, size, mod_time, mode, type, uid, gid, user, group,
 * link_target, etag; the last four only where there are such. 0, or -1 when the client has left. */
int file_entry_write(struct writer *writer, struct owner_names *owners,
                     const struct file_entry *entry);

/* "file", "directory", "symlink", "fifo", "socket", "character_device", "block_device". Static. */
const char *file_type_name(mode_t mode);
