#include "fcgi-app/files/raw_state.h"

#include <linux/magic.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/conditions.h"
#include "fcgi-app/http/request.h"

struct validators raw_validators(const struct stat *status, char etag[RAW_ETAG_SIZE])
{
    return (struct validators){
        .etag = raw_etag(status, etag), .has_date = true, .modified = status->st_mtim};
}

bool raw_state_is_asked(const struct request *request)
{
    return *request_param(request, "HTTP_IF_MATCH") != '\0' ||
           *request_param(request, "HTTP_IF_NONE_MATCH") != '\0' ||
           *request_param(request, "HTTP_IF_UNMODIFIED_SINCE") != '\0';
}

bool raw_state_holds(struct request *request, const char *path)
{
    struct stat status;
    char etag[RAW_ETAG_SIZE];
    struct validators current = {.etag = ""};
    if (!raw_state_is_asked(request)) {
        return true;
    }
    bool is_there = stat(path, &status) == 0;
    if (is_there && S_ISREG(status.st_mode)) {
        current = raw_validators(&status, etag);
    }
    if (conditions_check(request, is_there ? &current : NULL) == CONDITIONS_HOLD) {
        return true;
    }
    raw_refuse_state(request, path);
    return false;
}

bool raw_state_is_copied_up(const char *path, const struct stat *before, const struct stat *after)
{
    struct statfs system;
    return before->st_size == after->st_size && before->st_mtim.tv_sec == after->st_mtim.tv_sec &&
           before->st_mtim.tv_nsec == after->st_mtim.tv_nsec && statfs(path, &system) == 0 &&
           system.f_type == OVERLAYFS_SUPER_MAGIC;
}

void raw_refuse_state(struct request *request, const char *path)
{
    answer_error(request, 412, ERROR_precondition_failed,
                 "%s: It is not as the conditions of the request want it", path);
}
