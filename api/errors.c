#include "api/errors.h"

#include <errno.h>

const char *api_error_code(enum api_error error)
{
#define CODE(code, when) #code,
    static const char *const codes[API_ERROR_COUNT] = {API_ERRORS(CODE)};
    return codes[error];
}

enum api_error api_error_of_errno(int number)
{
    static const struct {
        int number;
        enum api_error error;
    } known[] = {
        {ENOENT, ERROR_not_found},        {EEXIST, ERROR_exists},
        {ENOTDIR, ERROR_not_a_directory}, {EISDIR, ERROR_is_a_directory},
        {ENOTEMPTY, ERROR_not_empty},     {ENAMETOOLONG, ERROR_invalid_path},
        {ELOOP, ERROR_invalid_path},      {EACCES, ERROR_permission_denied},
        {EPERM, ERROR_permission_denied}, {EROFS, ERROR_read_only},
        {ENOSPC, ERROR_no_space},         {EDQUOT, ERROR_no_space},
        {EFBIG, ERROR_no_space},          {EBUSY, ERROR_in_use},
        {ETXTBSY, ERROR_in_use},          {ENXIO, ERROR_unsupported},
        {ENODEV, ERROR_unsupported},      {EOPNOTSUPP, ERROR_unsupported},
        {ENOMEM, ERROR_unavailable},      {EMFILE, ERROR_unavailable},
        {ENFILE, ERROR_unavailable},
    };
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].number == number) {
            return known[i].error;
        }
    }
    return ERROR_io_error;
}
