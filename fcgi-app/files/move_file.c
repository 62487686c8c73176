/*
 * POST /move_file and /copy_file: files and whole trees. The new name appears at once, with all of
 * its content: a copy is made under a hidden name beside it. A move is a rename; where the kernel
 * refuses that, because the other place is on another file system, or a directory is of an image's
 * layer, it is a copy whose original is removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/tree.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/fs_path.h"
#include "fcgi-app/files/fs_replace.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/files/served_file.h"
#include "fcgi-app/files/tree_copy.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"

/* A file on its way to another name. */
struct transfer {
    const char *from_path, *to_path; /* as the client gave them */
    struct fs_place from, to;
    bool overwrite;
    bool canceled; /* the client has left, or the server stops: nothing has changed */
    bool changed;  /* of a failure: the new name is there, and some of the old one, too */
    struct copy_wish wish;
    struct fs_error error;
};

static void transfer_clear(struct transfer *transfer)
{
    fs_place_clear(&transfer->from);
    fs_place_clear(&transfer->to);
}

/* Whether one of the two is inside the other, so that it would move into itself, or away with what
 * it replaces. 0, or -1 with the error. */
static int check_nesting(struct transfer *transfer)
{
    struct stat from, to;
    if (fstatat(transfer->from.directory, transfer->from.name, &from, AT_SYMLINK_NOFOLLOW) != 0) {
        return fs_fail(&transfer->error, errno, "open", transfer->from_path);
    }
    if (S_ISDIR(from.st_mode) && tree_holds(&from, transfer->to.directory) == 1) {
        return fs_refuse(&transfer->error, ERROR_invalid_request, "write", transfer->to_path,
                         "It is inside of what is to be put there");
    }
    if (fstatat(transfer->to.directory, transfer->to.name, &to, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(to.st_mode) && tree_holds(&to, transfer->from.directory) == 1) {
        return fs_fail(&transfer->error, transfer->overwrite ? ENOTEMPTY : EEXIST, "replace",
                       transfer->to_path);
    }
    return 0;
}

/* For a path that cannot be opened as a place: errno. Always -1. */
static int refuse_place(struct transfer *transfer, const char *verb, const char *path)
{
    return errno == EINVAL ? fs_refuse(&transfer->error, ERROR_invalid_path, verb, path,
                                       "The path ends in . or ..")
                           : fs_fail(&transfer->error, errno, verb, path);
}

/* Opens both places. 0, or -1 with the error. */
static int transfer_begin(struct transfer *transfer, const struct json_body *body)
{
    transfer->from_path = requested_path_of(body, "from");
    transfer->to_path = requested_path_of(body, "to");
    transfer->overwrite = json_flag(body, "overwrite");
    if (served_file_check(transfer->from_path, O_NOFOLLOW, "open", &transfer->error) != 0) {
        return -1;
    }
    if (fs_place_open(&transfer->from, transfer->from_path) != 0) {
        return refuse_place(transfer, "open", transfer->from_path);
    }
    if (fs_place_open(&transfer->to, transfer->to_path) != 0) {
        return refuse_place(transfer, "write", transfer->to_path);
    }
    return check_nesting(transfer);
}

/* Copies, without removing anything. 0, or -1 with the error. */
static int transfer_copy(struct transfer *transfer)
{
    char name[IO_RANDOM_NAME_SIZE];
    /* Looked at before all the work is done; the end decides. */
    if (!transfer->overwrite && directory_has(transfer->to.directory, transfer->to.name)) {
        return fs_fail(&transfer->error, EEXIST, "write", transfer->to_path);
    }
    if (tree_copy(&transfer->from, transfer->from_path, &transfer->to, &transfer->wish, name,
                  &transfer->canceled, &transfer->error) != 0) {
        return -1;
    }
    if (fs_replace(transfer->to.directory, name, &transfer->to,
                   transfer->overwrite ? FS_REPLACE_REMOVING : FS_REPLACE_NOTHING) != 0) {
        int number = errno;
        (void)tree_remove(transfer->to.directory, name);
        return fs_fail(&transfer->error, number, "write", transfer->to_path);
    }
    return 0;
}

/* Whether it is done already, because both are the same. */
static bool is_onto_itself(const struct transfer *transfer)
{
    return transfer->overwrite && fs_place_is_same(&transfer->from, &transfer->to);
}

static int transfer_move(struct transfer *transfer)
{
    if (fs_replace(transfer->from.directory, transfer->from.name, &transfer->to,
                   transfer->overwrite ? FS_REPLACE_WHOLE : FS_REPLACE_NOTHING) == 0) {
        return 0;
    }
    if (errno != EXDEV) {
        return fs_fail(&transfer->error, errno, "write", transfer->to_path);
    }
    if (transfer_copy(transfer) != 0) {
        return -1;
    }
    if (tree_remove(transfer->from.directory, transfer->from.name) != 0) {
        transfer->changed = true;
        return fs_fail(&transfer->error, errno, "copied, but remove", transfer->from_path);
    }
    return 0;
}

static void answer_transfer(struct request *request, const struct transfer *transfer, int result)
{
    int status = raw_status(transfer->error.code);
    if (result == 0) {
        answer_success(request);
    } else if (transfer->canceled) {
        answer_stopping(request); /* or the client has left */
    } else {
        /* Clients repeat every 5xx. */
        answer_failure(request, transfer->changed && status >= 500 ? 409 : status,
                       transfer->error.code, "%s", transfer->error.message);
    }
}

static void handle_transfer(struct request *request, const struct json_body *body, bool is_move)
{
    cleanup_(transfer_clear) struct transfer transfer = {
        .from.directory = -1,
        .to.directory = -1,
        .wish = {.keeps_owner = is_move, .check = stop_check_of(request)}};
    int result = transfer_begin(&transfer, body);
    if (result == 0 && !is_onto_itself(&transfer)) {
        result = (is_move ? transfer_move : transfer_copy)(&transfer);
    }
    answer_transfer(request, &transfer, result);
}

static void handle_move_file(struct request *request, const struct json_body *body)
{
    handle_transfer(request, body, true);
}

static void handle_copy_file(struct request *request, const struct json_body *body)
{
    handle_transfer(request, body, false);
}

static const struct json_member transfer_members[] = {
    {JSON_MEMBER("from", TEXT, "The file or directory."), .required = true},
    {JSON_MEMBER("to", TEXT, "Its new path, the name included."), .required = true},
    {JSON_MEMBER("overwrite", FLAG, "Replace what is there: a file or a whole directory.")},
};
const struct endpoint move_file_endpoint = {
    API_ROW(move_file),         .about = "Moves a file or a directory with everything in it.",
    MEMBERS(transfer_members),  .flags = JSON_ANSWER_FAILURE,
    .handle = handle_move_file,
};
const struct endpoint copy_file_endpoint = {
    API_ROW(copy_file),         .about = "Copies a file or a directory with everything in it.",
    MEMBERS(transfer_members),  .flags = JSON_ANSWER_FAILURE,
    .handle = handle_copy_file,
};
