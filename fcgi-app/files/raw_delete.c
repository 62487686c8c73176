/*
 * DELETE of /files: a file, a link itself, an empty directory, or a tree.
 */
#include "fcgi-app/files/raw_delete.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/raw_state.h"
#include "fcgi-app/files/served_file.h"
#include "fcgi-app/http/json_body.h"
#include "fcgi-app/http/request.h"

static int remove_path(const char *path, bool is_recursive, struct fs_error *error)
{
    struct stat status;
    if (served_file_check(path, O_NOFOLLOW, "remove", error) != 0) {
        return -1;
    }
    if (lstat(path, &status) != 0) {
        return fs_fail(error, errno, "remove", path);
    }
    if (!S_ISDIR(status.st_mode)) {
        return fs_delete_file(path, error);
    }
    if (is_recursive) {
        return fs_delete_tree(path, error);
    }
    return rmdir(path) == 0 ? 0 : fs_fail(error, errno, "remove", path);
}

void raw_delete(struct request *request, const struct json_body *query, const char *path)
{
    struct fs_error error;
    if (!raw_state_holds(request, path)) {
        return;
    }
    if (remove_path(path, json_flag(query, "recursive"), &error) != 0) {
        raw_refuse(request, &error);
        return;
    }
    (void)request_begin(request, 204, NULL, NULL);
}
