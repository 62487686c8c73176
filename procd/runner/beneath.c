#include "procd/runner/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/in_child.h"

/* As in linux/landlock.h, which older headers lack in part. The numbers of the calls are the same
 * on all architectures but alpha. */
#define CALL_CREATE_RULESET 444
#define CALL_ADD_RULE       445
#define CALL_RESTRICT_SELF  446
#define CREATE_VERSION      1
#define RULE_PATH_BENEATH   1
#define ACCESS_WRITE_FILE   ((uint64_t)1 << 1)
#define ACCESS_REMOVE       ((uint64_t)3 << 4) /* directories and others */
#define ACCESS_MAKE_CHAR    ((uint64_t)1 << 6)
#define ACCESS_MAKE         ((uint64_t)15 << 7) /* directories, files, sockets, FIFOs */
#define ACCESS_MAKE_BLOCK   ((uint64_t)1 << 11)
#define ACCESS_MAKE_SYMLINK ((uint64_t)1 << 12)
#define ACCESS_REFER        ((uint64_t)1 << 13) /* ABI 2: links and renames between directories */
#define ACCESS_TRUNCATE     ((uint64_t)1 << 14) /* ABI 3 */
#define ABI_LEAST           2                   /* before, no file could have two directories */
#define ABI_TRUNCATE        3

struct ruleset {
    uint64_t handled_access;
};

struct path_beneath {
    uint64_t allowed_access;
    int32_t parent;
} __attribute__((packed));

IN_CHILD static int restrict_to(int ruleset, uint64_t access)
{
    struct path_beneath rule = {.allowed_access = access};
    rule.parent = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (rule.parent < 0) {
        return -1;
    }
    int result = syscall(CALL_ADD_RULE, ruleset, RULE_PATH_BENEATH, &rule, 0) < 0 ||
                         prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
                         syscall(CALL_RESTRICT_SELF, ruleset, 0) < 0
                     ? -1
                     : 0;
    (void)close(rule.parent);
    return result;
}

IN_CHILD int beneath_enter(void)
{
    long abi = syscall(CALL_CREATE_RULESET, NULL, 0, CREATE_VERSION);
    if (abi < ABI_LEAST) {
        return 0;
    }
    uint64_t allowed = ACCESS_WRITE_FILE | ACCESS_REMOVE | ACCESS_MAKE | ACCESS_MAKE_SYMLINK |
                       ACCESS_REFER | (abi < ABI_TRUNCATE ? 0 : ACCESS_TRUNCATE);
    struct ruleset rules = {.handled_access = allowed | ACCESS_MAKE_CHAR | ACCESS_MAKE_BLOCK};
    int ruleset = (int)syscall(CALL_CREATE_RULESET, &rules, sizeof(rules), 0);
    if (ruleset < 0) {
        return -1;
    }
    int result = restrict_to(ruleset, allowed);
    (void)close(ruleset);
    return result;
}
