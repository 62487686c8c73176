#include "fcgi-app/files/file_entry.h"

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/rfc3339.h"
#include "fcgi-app/files/name_text.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/http/writer.h"

#define ACCOUNT_SIZE 4096 /* of an account's line in its file */

const char *file_type_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "directory";
    case S_IFLNK: return "symlink";
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
    case S_IFCHR: return "character_device";
    default: return "block_device";
    }
}

/* ---- owners ---- */

/* Into `out`; "" where the name is none, or too long. */
static void keep_name(char out[OWNER_NAME_SIZE], const char *name)
{
    size_t length = name == NULL ? OWNER_NAME_SIZE : strlen(name);
    out[0] = '\0';
    if (length < OWNER_NAME_SIZE) {
        memcpy(out, name, length + 1);
    }
}

static void look_up_user(struct owner_names *owners, uid_t uid)
{
    char text[ACCOUNT_SIZE];
    struct passwd account, *found = NULL;
    (void)getpwuid_r(uid, &account, text, sizeof(text), &found);
    owners->uid = uid;
    keep_name(owners->user, found == NULL ? NULL : found->pw_name);
}

static void look_up_group(struct owner_names *owners, gid_t gid)
{
    char text[ACCOUNT_SIZE];
    struct group account, *found = NULL;
    (void)getgrgid_r(gid, &account, text, sizeof(text), &found);
    owners->gid = gid;
    keep_name(owners->group, found == NULL ? NULL : found->gr_name);
}

static void fill_owners(struct owner_names *owners, const struct stat *status)
{
    if (!owners->is_filled || owners->uid != status->st_uid) {
        look_up_user(owners, status->st_uid);
    }
    if (!owners->is_filled || owners->gid != status->st_gid) {
        look_up_group(owners, status->st_gid);
    }
    owners->is_filled = true;
}

/* ---- the members ---- */

static void write_owners(struct writer *writer, struct owner_names *owners,
                         const struct stat *status)
{
    fill_owners(owners, status);
    (void)writer_string(writer, ",\"uid\":");
    (void)writer_number(writer, status->st_uid);
    (void)writer_string(writer, ",\"gid\":");
    (void)writer_number(writer, status->st_gid);
    if (owners->user[0] != '\0') {
        (void)writer_string(writer, ",");
        (void)name_text_write(writer, "user", owners->user, strlen(owners->user));
    }
    if (owners->group[0] != '\0') {
        (void)writer_string(writer, ",");
        (void)name_text_write(writer, "group", owners->group, strlen(owners->group));
    }
}

static void write_link_target(struct writer *writer, const struct file_entry *entry)
{
    char target[PATH_MAX];
    ssize_t length = entry->link == NULL
                         ? -1
                         : readlinkat(entry->directory, entry->link, target, sizeof(target));
    if (length >= 0) {
        (void)writer_string(writer, ",");
        (void)name_text_write(writer, "link_target", target, (size_t)length);
    }
}

static void write_etag(struct writer *writer, const struct stat *status)
{
    char etag[RAW_ETAG_SIZE];
    if (S_ISREG(status->st_mode)) {
        (void)raw_etag(status, etag);
        (void)writer_string(writer, ",\"etag\":\"");
        (void)writer_text(writer, etag, strlen(etag));
        (void)writer_string(writer, "\"");
    }
}

/* Without printf(3): a tree has many entries. */
static void write_status(struct writer *writer, const struct stat *status, const char *modified)
{
    const unsigned mode = (unsigned)status->st_mode;
    const char octal[] = {(char)('0' + (mode >> 9 & 7)), (char)('0' + (mode >> 6 & 7)),
                          (char)('0' + (mode >> 3 & 7)), (char)('0' + (mode & 7)), '\0'};
    (void)writer_string(writer, S_ISDIR(status->st_mode) ? ",\"is_dir\":true,\"size\":"
                                                         : ",\"is_dir\":false,\"size\":");
    (void)writer_number(writer, (uint64_t)status->st_size);
    (void)writer_string(writer, ",\"mod_time\":\"");
    (void)writer_string(writer, modified);
    (void)writer_string(writer, "\",\"mode\":\"");
    (void)writer_string(writer, octal);
    (void)writer_string(writer, "\",\"type\":\"");
    (void)writer_string(writer, file_type_name(status->st_mode));
    (void)writer_string(writer, "\"");
}

int file_entry_write(struct writer *writer, struct owner_names *owners,
                     const struct file_entry *entry)
{
    char modified[RFC3339_SIZE];
    const struct stat *status = entry->status;
    (void)rfc3339_format(status->st_mtim.tv_sec, (uint32_t)status->st_mtim.tv_nsec, modified);
    (void)name_text_write(writer, "name", entry->name, entry->name_length);
    write_status(writer, status, modified);
    write_owners(writer, owners, status);
    write_link_target(writer, entry);
    write_etag(writer, status);
    return writer->failed ? -1 : 0;
}
