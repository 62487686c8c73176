/*
 * The file-system calls: what they keep, follow, refuse and leave behind. Runs as root too, where
 * some cases act as another user.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/fs_path.h"
#include "fcgi-app/http/spools.h"
#include "tests/unit/no_tmpfile.h"

#define NOBODY 65534

/* ---- what another user does between two calls ---- */

/* Each runs once, after the next call that looks at a path, or makes a directory. */
static void (*after_look)(void), (*after_make)(void);

static void let_others_act(void (**after)(void))
{
    void (*act)(void) = *after;
    *after = NULL;
    if (act != NULL) {
        int number = errno;
        act();
        errno = number;
    }
}

/* What the kernel refuses: an open(2) of a relative path with all of these flags, by EACCES; and
 * fallocate(2), by this errno. 0: nothing. */
static int refused_flags, no_fallocate;

/* The names are the linker's. NOLINTBEGIN(bugprone-reserved-identifier) */
int __real_stat(const char *path, struct stat *status);
int __wrap_stat(const char *path, struct stat *status);
int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __real_mkdirat(int directory, const char *path, mode_t mode);
int __wrap_mkdirat(int directory, const char *path, mode_t mode);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_fallocate(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length);

int __wrap_stat(const char *path, struct stat *status)
{
    int result = __real_stat(path, status);
    let_others_act(&after_look);
    return result;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    int result = __real_mkdir(path, mode);
    let_others_act(&after_make);
    return result;
}

int __wrap_mkdirat(int directory, const char *path, mode_t mode)
{
    int result = __real_mkdirat(directory, path, mode);
    let_others_act(&after_make);
    return result;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (refused_flags != 0 && (flags & refused_flags) == refused_flags && path[0] != '/') {
        errno = EACCES;
        return -1;
    }
    int fd = __real_open(path, flags, mode);
    let_others_act(&after_look);
    return fd;
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t length)
{
    if (no_fallocate != 0) {
        errno = no_fallocate;
        return -1;
    }
    return __real_fallocate(fd, mode, offset, length);
}
/* NOLINTEND(bugprone-reserved-identifier) */

static char top[] = "/tmp/test_fs.XXXXXX";
static struct fs_error error;

/* Each test has a fresh directory as its working directory, so that its paths are short. */
static int enter_directory(void **state)
{
    (void)state;
    (void)umask(022); /* as main() has it */
    (void)strcpy(top, "/tmp/test_fs.XXXXXX");
    return mkdtemp(top) == NULL || chmod(top, 0755) != 0 || chdir(top) != 0;
}

static int enter_directory_without_tmpfile(void **state)
{
    no_tmpfile = EOPNOTSUPP;
    return enter_directory(state);
}

static int leave_directory(void **state)
{
    (void)state;
    no_tmpfile = 0;
    no_fallocate = 0;
    refused_flags = 0;
    return chdir("/") != 0 || fs_delete_tree(top, &error) != 0 || access(top, F_OK) == 0;
}

static void make_file(const char *path, const char *content)
{
    cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
}

static void assert_content(const char *path, const char *expected)
{
    char content[100];
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t length = read(fd, content, sizeof(content) - 1);
    assert_true(length >= 0);
    content[length] = '\0';
    assert_string_equal(content, expected);
}

static unsigned mode_of(const char *path)
{
    struct stat status;
    assert_int_equal(lstat(path, &status), 0);
    return status.st_mode & 07777;
}

static ino_t inode_of(const char *path)
{
    struct stat status;
    assert_int_equal(lstat(path, &status), 0);
    return status.st_ino;
}

/* The names in a directory, one space after each. */
static const char *names_in(const char *path)
{
    static char joined[1000];
    cleanup_(name_list_clear) struct name_list names = {.text = NULL};
    size_t length = 0;
    joined[0] = '\0';
    assert_int_equal(fs_list(path, &names, NULL, &error), 0);
    for (size_t i = 0; i < names.count; i++) {
        length += (size_t)snprintf(joined + length, sizeof(joined) - length, "%s ",
                                   name_list_at(&names, i));
        assert_true(length < sizeof(joined));
    }
    return joined;
}

static int write_file(const char *path, const char *content)
{
    struct fs_writer *writer = fs_write_begin(path, &error);
    if (writer == NULL) {
        return -1;
    }
    if (fs_write_data(writer, content, strlen(content), &error) != 0) {
        fs_write_cancel(writer);
        return -1;
    }
    return fs_write_commit(writer, &error);
}

static void assert_error(const char *words)
{
    if (strstr(error.message, words) == NULL) {
        print_error("no \"%s\" in \"%s\"\n", words, error.message);
    }
    assert_non_null(strstr(error.message, words));
}

/* Becomes another user where that is possible. Whether it was. */
static bool become_nobody(void)
{
    return geteuid() == 0 && setegid(NOBODY) == 0 && seteuid(NOBODY) == 0;
}

static void become_root(bool was_root)
{
    if (was_root) {
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(setegid(0), 0);
    }
}

/* ---- writing ---- */

static void writes_new_and_old_files(void **state)
{
    (void)state;
    assert_int_equal(write_file("new", "one"), 0);
    assert_content("new", "one");
    assert_int_equal(mode_of("new"), 0644);
    assert_int_equal(chmod("new", 04751), 0);
    assert_int_equal(write_file("new", ""), 0);
    assert_content("new", "");
    /* any write but root's takes the owner's rights away, as in place */
    assert_int_equal(mode_of("new"), geteuid() == 0 ? 04751 : 0751);
    assert_string_equal(names_in("."), "new ");
}

static void keeps_the_old_content_until_commit(void **state)
{
    (void)state;
    make_file("file", "old");
    struct fs_writer *writer = fs_write_begin("file", &error);
    assert_int_equal(fs_write_data(writer, "new", 3, &error), 0);
    assert_content("file", "old");
    if (no_tmpfile != 0) {
        assert_non_null(strstr(names_in("."), ".sandbox-"));
    } else { /* a server that is killed now leaves nothing behind */
        assert_string_equal(names_in("."), "file ");
    }
    fs_write_cancel(writer);
    fs_write_cancel(NULL);
    assert_content("file", "old");
    assert_string_equal(names_in("."), "file ");
}

static void writes_through_links(void **state)
{
    (void)state;
    assert_int_equal(mkdir("sub", 0755), 0);
    make_file("sub/target", "old");
    assert_int_equal(chmod("sub/target", 0600), 0);
    assert_int_equal(symlink("target", "sub/link"), 0); /* relative to its own directory */
    assert_int_equal(symlink("sub/link", "chain"), 0);
    assert_int_equal(write_file("chain", "new"), 0);
    assert_content("sub/target", "new");
    assert_int_equal(mode_of("sub/target"), 0600);
    assert_int_equal(symlink("sub/missing", "dangling"), 0);
    assert_int_equal(write_file("dangling", "made"), 0);
    assert_content("sub/missing", "made");
    assert_int_equal(symlink("loop", "loop"), 0);
    assert_int_equal(write_file("loop", "x"), -1);
    assert_error("open loop: Too many levels of symbolic links");
    assert_string_equal(names_in("sub"), "link missing target ");
    assert_string_equal(names_in("."), "chain dangling loop sub ");
}

static void refuses_what_cannot_be_written(void **state)
{
    (void)state;
    make_file("file", "");
    assert_int_equal(mkdir("dir", 0755), 0);
    assert_int_equal(symlink("dir", "link"), 0);
    static const struct {
        const char *path;
        const char *words;
    } rows[] = {
        {"dir", "open dir: Is a directory"},
        {"link", "Is a directory"},
        {"dir/", "Is a directory"},
        {"link/", "Is a directory"},
        {"new/", "Is a directory"},
        {"file/", "Not a directory"},
        {".", "Is a directory"},
        {"dir/..", "Is a directory"},
        {"/", "Is a directory"},
        {"missing/file", "open missing/file: No such file or directory"},
        {"file/file", "Not a directory"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(write_file(rows[i].path, "x"), -1);
        assert_error(rows[i].words);
    }
    char long_name[5000];
    memset(long_name, 'x', sizeof(long_name));
    long_name[sizeof(long_name) - 1] = '\0';
    assert_int_equal(write_file(long_name, "x"), -1);
    assert_error("File name too long");
    assert_string_equal(names_in("."), "dir file link ");
    assert_string_equal(names_in("dir"), "");
}

static void writes_devices_in_place(void **state)
{
    (void)state;
    assert_int_equal(write_file("/dev/null", "x"), 0);
    assert_int_equal(write_file("/dev/full", "x"), -1);
    assert_error("write /dev/full: No space left on device");
}

static void never_waits_for_a_fifo(void **state)
{
    (void)state;
    assert_int_equal(mkfifo("fifo", 0644), 0);
    assert_int_equal(write_file("fifo", "x"), -1);
    assert_error("open fifo: No such device or address");
    cleanup_fd int reader = open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(write_file("fifo", "x"), 0);
    char byte;
    assert_int_equal(read(reader, &byte, 1), 1);
    struct fs_writer *writer = fs_write_begin("fifo", &error); /* more than a pipe takes */
    static const char much[1 << 20];
    assert_int_equal(fs_write_data(writer, much, sizeof(much), &error), -1);
    assert_error("write fifo: Resource temporarily unavailable");
    fs_write_cancel(writer);
}

/* RLIMIT_FSIZE stands for a full disk. */
static void keeps_the_old_content_when_the_disk_is_full(void **state)
{
    (void)state;
    struct rlimit old;
    make_file("file", "old");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit small = {.rlim_cur = 5000, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    static const char much[10000];
    struct fs_writer *writer = fs_write_begin("file", &error);
    int result = fs_write_data(writer, much, sizeof(much), &error);
    fs_write_cancel(writer);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(result, -1);
    assert_error("write file: File too large");
    assert_content("file", "old");
    assert_string_equal(names_in("."), "file ");
}

static void writes_in_place_where_nothing_may_be_made(void **state)
{
    (void)state;
    assert_int_equal(mkdir("dir", 0755), 0);
    make_file("dir/file", "a long old content");
    ino_t inode = inode_of("dir/file");
    assert_int_equal(chmod("dir/file", 0666), 0);
    assert_int_equal(chmod("dir", 0555), 0);
    bool root = become_nobody();
    int old = write_file("dir/file", "new"), fresh = write_file("dir/fresh", "x");
    become_root(root);
    assert_int_equal(old, 0);
    assert_int_equal(fresh, -1);
    assert_error("open dir/fresh: Permission denied");
    assert_content("dir/file", "new");
    assert_int_equal(inode_of("dir/file"), inode);
    assert_int_equal(chmod("dir", 0755), 0);
}

static void writes_in_place_what_may_not_be_replaced(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip(); /* it takes two users */
    }
    assert_int_equal(mkdir("sticky", 0755), 0);
    assert_int_equal(chmod("sticky", 01777), 0);
    make_file("sticky/file", "a long old content");
    assert_int_equal(chmod("sticky/file", 0666), 0);
    ino_t inode = inode_of("sticky/file");
    /* The kernel's fs.protected_regular concerns O_CREAT only, which is not used on what is there.
     */
    bool root = become_nobody();
    int result = write_file("sticky/file", "new");
    become_root(root);
    if (result != 0) {
        print_error("%s\n", error.message);
    }
    assert_int_equal(result, 0);
    assert_content("sticky/file", "new");
    assert_int_equal(inode_of("sticky/file"), inode);
    assert_string_equal(names_in("sticky"), "file ");
}

static void refuses_read_only_files(void **state)
{
    (void)state;
    make_file("file", "old");
    assert_int_equal(chmod("file", 0444), 0);
    assert_int_equal(chmod(".", 0777), 0);
    bool root = become_nobody();
    int result = write_file("file", "new");
    become_root(root);
    assert_int_equal(result, -1);
    assert_error("open file: Permission denied");
    assert_content("file", "old");
}

static void keeps_the_owner(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip(); /* only root gives files away */
    }
    make_file("file", "old");
    assert_int_equal(chown("file", NOBODY, NOBODY), 0);
    assert_int_equal(write_file("file", "new"), 0);
    struct stat status;
    assert_int_equal(stat("file", &status), 0);
    assert_int_equal(status.st_uid, NOBODY);
    assert_int_equal(status.st_gid, NOBODY);
}

/* ---- writing: what a file is beside its content ---- */

/* user::rw- user:<id>:rw- group::--- mask::rw- other::---, as the kernel keeps it. */
static const struct {
    uint32_t version;
    struct {
        uint16_t tag, permissions;
        uint32_t id;
    } entries[5];
} access_list = {2, {{1, 6, ~0U}, {2, 6, 12345}, {4, 0, ~0U}, {16, 6, ~0U}, {32, 0, ~0U}}};

#define ACCESS_LIST "system.posix_acl_access"

/* Gives it, or skips the test where the file system has none. */
static void set_attribute(const char *path, const char *name, const void *value, size_t size)
{
    if (setxattr(path, name, value, size, 0) != 0) {
        assert_true(errno == ENOTSUP || errno == EPERM);
        skip();
    }
}

static void assert_attribute(const char *path, const char *name, const void *value, size_t size)
{
    char present[100];
    assert_int_equal(getxattr(path, name, present, sizeof(present)), size);
    assert_memory_equal(present, value, size);
}

static void assert_no_attribute(const char *path, const char *name)
{
    assert_int_equal(getxattr(path, name, NULL, 0), -1);
    assert_int_equal(errno, ENODATA);
}

static void keeps_lists_and_attributes(void **state)
{
    (void)state;
    make_file("file", "old");
    assert_int_equal(chmod("file", 0600), 0);
    set_attribute("file", ACCESS_LIST, &access_list, sizeof(access_list));
    set_attribute("file", "user.note", "kept", 4);
    set_attribute("file", "user.empty", "", 0);
    ino_t inode = inode_of("file");
    assert_int_equal(write_file("file", "new"), 0);
    assert_content("file", "new");
    assert_attribute("file", ACCESS_LIST, &access_list, sizeof(access_list));
    assert_attribute("file", "user.note", "kept", 4);
    assert_attribute("file", "user.empty", "", 0);
    assert_int_equal(mode_of("file"), 0660); /* the group's part is the mask of the list */
    assert_int_not_equal(inode_of("file"), inode);
}

/* What a directory gives to the files that are made in it the old file did not have. */
static void takes_no_list_from_the_directory(void **state)
{
    (void)state;
    make_file("file", "old");
    set_attribute(".", "system.posix_acl_default", &access_list, sizeof(access_list));
    assert_int_equal(write_file("file", "new"), 0);
    assert_content("file", "new");
    assert_no_attribute("file", ACCESS_LIST);
    assert_int_equal(mode_of("file"), 0644);
}

static void takes_capabilities_away(void **state)
{
    (void)state;
    static const uint32_t net_bind[] = {0x02000001, 1 << 10, 0, 0, 0};
    make_file("file", "old");
    assert_int_equal(chmod("file", 0755), 0);
    set_attribute("file", "security.capability", net_bind, sizeof(net_bind));
    assert_int_equal(write_file("file", "new"), 0);
    assert_no_attribute("file", "security.capability");
    assert_int_equal(mode_of("file"), 0755);
}

static int flags_of(const char *path)
{
    int flags = 0;
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    return ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 ? flags : 0;
}

static void keeps_flags_of_the_inode(void **state)
{
    (void)state;
    make_file("file", "old");
    int flags = flags_of("file") | FS_NODUMP_FL;
    cleanup_fd int fd = open("file", O_RDONLY | O_CLOEXEC);
    if (ioctl(fd, FS_IOC_SETFLAGS, &flags) != 0) {
        skip();
    }
    assert_int_equal(write_file("file", "new"), 0);
    assert_content("file", "new");
    assert_true((flags_of("file") & FS_NODUMP_FL) != 0);
}

/* As a shell's `>` leaves it: only its owner or root could give the file that replaces it away. */
static void keeps_the_owner_that_it_cannot_give(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip(); /* it takes two users */
    }
    assert_int_equal(chmod(".", 0777), 0);
    make_file("file", "a long old content");
    assert_int_equal(chown("file", 0, NOBODY), 0);
    assert_int_equal(chmod("file", 0660), 0);
    ino_t inode = inode_of("file");
    bool root = become_nobody();
    int result = write_file("file", "new");
    become_root(root);
    assert_int_equal(result, 0);
    struct stat status;
    assert_int_equal(stat("file", &status), 0);
    assert_int_equal(status.st_uid, 0);
    assert_int_equal(status.st_gid, NOBODY);
    assert_int_equal(mode_of("file"), 0660);
    assert_int_equal(inode_of("file"), inode);
    assert_content("file", "new");
    assert_string_equal(names_in("."), "file ");
}

static void takes_the_owners_rights_from_a_program_that_changes(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    assert_int_equal(chmod(".", 0777), 0);
    make_file("file", "old");
    assert_int_equal(chown("file", NOBODY, NOBODY), 0);
    assert_int_equal(chmod("file", 06755), 0);
    bool root = become_nobody();
    int result = write_file("file", "new");
    become_root(root);
    assert_int_equal(result, 0);
    assert_int_equal(mode_of("file"), 0755);
    assert_content("file", "new");
}

static void writes_all_names_of_a_file(void **state)
{
    (void)state;
    make_file("file", "old");
    assert_int_equal(link("file", "other"), 0);
    assert_int_equal(write_file("file", "longer than the old"), 0);
    assert_content("other", "longer than the old");
    assert_int_equal(write_file("other", "new"), 0);
    assert_content("file", "new");
    assert_int_equal(write_file("other", ""), 0);
    assert_content("file", "");
    assert_int_equal(inode_of("file"), inode_of("other"));
    assert_string_equal(names_in("."), "file other ");
}

/* ---- writing: over the old content ---- */

static void keeps_the_old_content_where_nothing_may_be_made(void **state)
{
    (void)state;
    assert_int_equal(mkdir("dir", 0755), 0);
    make_file("dir/file", "a long old content");
    assert_int_equal(chmod("dir/file", 0666), 0);
    assert_int_equal(chmod("dir", 0555), 0);
    bool root = become_nobody();
    struct fs_writer *writer = fs_write_begin("dir/file", &error);
    int result = writer == NULL ? -1 : fs_write_data(writer, "new", 3, &error);
    fs_write_cancel(writer);
    become_root(root);
    assert_int_equal(chmod("dir", 0755), 0);
    assert_int_equal(result, 0);
    assert_content("dir/file", "a long old content");
}

/* Longer than one piece of a copy. */
static void overwrites_with_much(void **state)
{
    (void)state;
    enum { SIZE = 1000000 };
    cleanup_free char *much = malloc(SIZE), *present = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        much[i] = (char)(i % 251);
    }
    assert_int_equal(mkdir("dir", 0755), 0);
    make_file("dir/file", "old");
    assert_int_equal(chmod("dir/file", 0666), 0);
    assert_int_equal(chmod("dir", 0555), 0);
    bool root = become_nobody();
    struct fs_writer *writer = fs_write_begin("dir/file", &error);
    int result = writer == NULL ? -1 : fs_write_data(writer, much, SIZE, &error);
    result = result == 0 ? fs_write_commit(writer, &error) : result;
    become_root(root);
    assert_int_equal(chmod("dir", 0755), 0);
    assert_int_equal(result, 0);
    cleanup_fd int fd = open("dir/file", O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, present, SIZE), SIZE);
    assert_memory_equal(much, present, SIZE);
    assert_int_equal(read(fd, present, 1), 0);
}

static void keeps_the_old_content_without_room_for_the_new(void **state)
{
    (void)state;
    make_file("file", "old");
    assert_int_equal(link("file", "other"), 0);
    no_fallocate = ENOSPC;
    assert_int_equal(write_file("file", "longer than the old"), -1);
    assert_error("write file: No space left on device");
    assert_content("file", "old");
    no_fallocate = EOPNOTSUPP;
    assert_int_equal(write_file("file", "longer than the old"), 0);
    assert_content("other", "longer than the old");
    assert_string_equal(names_in("."), "file other ");
}

/* Files of the kernel take a write, and no other file in their directory. */
static void writes_files_of_the_kernel(void **state)
{
    (void)state;
    char name[32] = "";
    assert_int_equal(prctl(PR_GET_NAME, name), 0);
    assert_int_equal(write_file("/proc/self/comm", "renamed"), 0);
    assert_content("/proc/self/comm", "renamed\n");
    assert_int_equal(prctl(PR_SET_NAME, name), 0);
}

static pid_t run_a_copy_of_sleep(const char *path)
{
    int started[2];
    assert_int_equal(pipe2(started, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)execl(path, "sleep", "600", NULL);
        _exit(127);
    }
    char byte;
    close_fd(&started[1]);
    assert_int_equal(read(started[0], &byte, 1), 0); /* it was closed by execve(2) */
    close_fd(&started[0]);
    return pid;
}

static void copy_file(const char *from, const char *to)
{
    cleanup_fd int in = open(from, O_RDONLY | O_CLOEXEC);
    cleanup_fd int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    while (sendfile(out, in, NULL, 1 << 20) > 0) {
    }
}

/* A program that runs can be replaced, not changed. */
static void replaces_a_program_that_runs(void **state)
{
    (void)state;
    copy_file("/bin/sleep", "program");
    pid_t pid = run_a_copy_of_sleep("./program");
    assert_int_equal(write_file("program", "#!/bin/sh\n"), 0);
    assert_content("program", "#!/bin/sh\n");
    assert_int_equal(mode_of("program"), 0755);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    copy_file("/bin/sleep", "linked");
    assert_int_equal(link("linked", "other"), 0);
    pid = run_a_copy_of_sleep("./linked");
    int result = write_file("linked", "x");
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(result, -1);
    assert_error("write linked: Text file busy");
}

/* ---- writing: who decides ---- */

/* What a security module, or fs.protected_symlinks, refuses to open. */
static void writes_nothing_that_the_kernel_refuses(void **state)
{
    (void)state;
    make_file("file", "old");
    assert_int_equal(symlink("file", "link"), 0);
    assert_int_equal(symlink("nothing", "dangling"), 0);
    refused_flags = O_WRONLY;
    static const char *const paths[] = {"file", "link", "dangling", "/dev/../dev/null"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(write_file(paths[i], "new"), -1);
        assert_error("Permission denied");
    }
    assert_int_equal(write_file(paths[3], "new"), 0);
    refused_flags = 0;
    assert_content("file", "old");
    assert_string_equal(names_in("."), "dangling file link ");
}

/*
 * fs.protected_regular and fs.protected_fifos are for open(2) with O_CREAT, which a shell's `>`
 * has. A file that is not there is not made by asking.
 */
static void asks_the_kernel_as_a_shell_does(void **state)
{
    (void)state;
    make_file("file", "old");
    assert_int_equal(mkfifo("fifo", 0644), 0);
    cleanup_fd int reader = open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    assert_int_equal(chmod(".", 01777), 0); /* elsewhere it has no rule about files */
    refused_flags = O_WRONLY | O_CREAT;
    assert_int_equal(write_file("file", "new"), -1);
    assert_error("open file: Permission denied");
    assert_int_equal(write_file("fifo", "new"), -1);
    assert_error("open fifo: Permission denied");
    struct fs_writer *writer = fs_write_begin("new", &error);
    assert_non_null(writer);
    assert_int_equal(access("new", F_OK), -1);
    assert_int_equal(fs_write_commit(writer, &error), 0);
    refused_flags = 0;
    assert_content("file", "old");
    assert_string_equal(names_in("."), "fifo file new ");
}

static void leaves_nothing_behind_a_link_to_nothing(void **state)
{
    (void)state;
    assert_int_equal(mkdir("sub", 0755), 0);
    assert_int_equal(symlink("sub/new", "link"), 0);
    struct fs_writer *writer = fs_write_begin("link", &error);
    assert_non_null(writer);
    assert_int_equal(fs_write_data(writer, "x", 1, &error), 0);
    fs_write_cancel(writer);
    assert_string_equal(names_in("sub"), "");
    assert_int_equal(symlink("sub/none/new", "lost"), 0);
    assert_int_equal(write_file("lost", "x"), -1);
    assert_error("open lost: No such file or directory");
}

static void replaces_what_others_have_changed_meanwhile(void **state)
{
    (void)state;
    make_file("file", "old");
    struct fs_writer *writer = fs_write_begin("file", &error);
    assert_int_equal(fs_write_data(writer, "new", 3, &error), 0);
    assert_int_equal(unlink("file"), 0);
    assert_int_equal(fs_write_commit(writer, &error), 0);
    assert_content("file", "new");
    writer = fs_write_begin("file", &error);
    assert_int_equal(fs_write_data(writer, "newer", 5, &error), 0);
    assert_int_equal(chmod("file", 0600), 0);
    assert_int_equal(fs_write_commit(writer, &error), 0);
    assert_content("file", "newer");
    assert_int_equal(mode_of("file"), 0600);
}

/* ---- content that is in memory ---- */

static void write_directly(const char *path, const char *content)
{
    struct fs_writer *writer = fs_write_begin_direct(path);
    assert_non_null(writer);
    assert_int_equal(fs_write_data(writer, content, strlen(content), &error), 0);
    assert_int_equal(fs_write_commit(writer, &error), 0);
    assert_content(path, content);
}

static void writes_directly_where_nothing_is_special(void **state)
{
    (void)state;
    assert_int_equal(mkdir("d", 0755), 0);
    assert_int_equal(symlink("d", "link"), 0);
    write_directly("d/file", "one");
    assert_int_equal(mode_of("d/file"), 0644);
    assert_int_equal(chmod("d/file", 0640), 0);
    assert_int_equal(link("d/file", "d/other"), 0);
    write_directly("link/file", "two"); /* in place */
    assert_content("d/other", "two");
    assert_int_equal(unlink("d/other"), 0);
    write_directly("d/file", "three");
    assert_int_equal(mode_of("d/file"), 0640);
    static const mode_t modes[] = {0666, 01644, 0600, 0777}; /* with what the umask takes, too */
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        assert_int_equal(chmod("d/file", modes[i]), 0);
        write_directly("d/file", "again");
        assert_int_equal(mode_of("d/file"), modes[i]);
    }
    assert_int_equal(chmod("d", 01777), 0);
    write_directly("d/new", "four");
    assert_string_equal(names_in("d"), "file new ");
}

static void leaves_all_else_to_the_other_way(void **state)
{
    (void)state;
    char magic[DESCRIPTOR_PATH_SIZE + 5];
    make_file("full", "x");
    make_file("empty", "");
    assert_int_equal(mkfifo("fifo", 0644), 0);
    cleanup_fd int reader = open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(symlink("full", "link"), 0);
    assert_int_equal(symlink("none", "lost"), 0);
    assert_int_equal(mkdir("sticky", 01777), 0);
    assert_int_equal(chmod("sticky", 01777), 0);
    make_file("sticky/full", "x");
    cleanup_fd int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(magic, sizeof(magic), "/proc/self/fd/%d/new", directory);
    const char *const paths[] = {"empty", "fifo",   "link", "lost",   "sticky/full",
                                 magic,   "none/x", "new/", "full/x", "/proc/self/comm",
                                 ".",     "",       "/"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_null(fs_write_begin_direct(paths[i]));
    }
    assert_string_equal(names_in("."), "empty fifo full link lost sticky ");
}

/* ---- content that has arrived before ---- */

static void assert_not_early(const char *path)
{
    assert_int_equal(fs_write_early(path), -1);
}

static void offers_no_file_for_what_is_not_replaced(void **state)
{
    (void)state;
    assert_int_equal(mkfifo("fifo", 0644), 0);
    cleanup_fd int reader = open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(symlink("none", "link"), 0);
    static const char *const paths[] = {"fifo", "link",   "none/x",        ".",
                                        "",     "fifo/x", "/proc/version", "/"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_not_early(paths[i]);
    }
    assert_string_equal(names_in("."), "fifo link ");
}

/* A file made early for `made` becomes the content of `path`. Whether it was adopted. */
static bool adopt_for(const char *made, const char *path)
{
    cleanup_fd int early = fs_write_early(made);
    assert_true(early >= 0);
    assert_int_equal(write(early, "early", 5), 5);
    struct fs_writer *writer = fs_write_begin(path, &error);
    assert_non_null(writer);
    bool adopted = fs_write_adopt(writer, early);
    if (!adopted) {
        assert_int_equal(fs_write_data(writer, "late", 4, &error), 0);
    }
    assert_int_equal(fs_write_commit(writer, &error), 0);
    return adopted;
}

static void takes_content_that_was_there_before(void **state)
{
    (void)state;
    if (no_tmpfile != 0) {
        assert_not_early("new"); /* with a name it would outlive a server that is killed */
        return;
    }
    assert_int_equal(mkdir("d", 0755), 0);
    assert_int_equal(symlink("d/old", "link"), 0);
    make_file("d/old", "old");
    assert_int_equal(chmod("d/old", 0640), 0);
    assert_true(adopt_for("new", "new"));
    assert_true(adopt_for("link", "link"));
    assert_content("new", "early");
    assert_content("d/old", "early");
    assert_int_equal(mode_of("new"), 0644);
    assert_int_equal(mode_of("d/old"), 0640);
    assert_int_equal(link("new", "other"), 0);
    assert_true(adopt_for("d/x", "other")); /* which is written in place */
    assert_content("new", "early");
    assert_string_equal(names_in("."), "d link new other ");
    assert_string_equal(names_in("d"), "old ");
}

static void takes_no_content_from_another_disk(void **state)
{
    (void)state;
    if (access("/dev/shm", W_OK) != 0) {
        skip();
    }
    char elsewhere[100];
    (void)snprintf(elsewhere, sizeof(elsewhere), "/dev/shm/test_fs.%d", (int)getpid());
    bool adopted = adopt_for(elsewhere, "file");
    struct stat here, there;
    assert_int_equal(stat(".", &here) + stat("/dev/shm", &there), 0);
    assert_true(!adopted || here.st_dev == there.st_dev);
    assert_content("file", adopted ? "early" : "late");
}

/* ---- reading ---- */

static void opens_regular_files_only(void **state)
{
    (void)state;
    struct stat status;
    make_file("file", "12345");
    assert_int_equal(symlink("file", "link"), 0);
    cleanup_fd int fd = fs_open("link", &status, &error);
    assert_true(fd >= 0);
    assert_int_equal(status.st_size, 5);
    cleanup_fd int proc = fs_open("/proc/self/status", &status, &error);
    assert_true(proc >= 0);
    assert_int_equal(status.st_size, 0);
    assert_int_equal(fs_open(".", &status, &error), -1);
    assert_error("read .: Is a directory");
    assert_int_equal(fs_open("missing", &status, &error), -1);
    assert_error("open missing: No such file or directory");
    assert_int_equal(mkfifo("fifo", 0644), 0);
    assert_int_equal(fs_open("fifo", &status, &error), -1);
    assert_error("read fifo: Not a regular file");
    assert_int_equal(fs_open("/dev/zero", &status, &error), -1);
    cleanup_fd int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    assert_int_equal(bind(socket_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(fs_open("socket", &status, &error), -1);
    assert_error("Not a regular file");
}

static void put_a_fifo_there(void)
{
    assert_int_equal(rename("file", "moved"), 0);
    assert_int_equal(mkfifo("file", 0644), 0);
}

/* A FIFO that comes between the look and the opening is never waited for, and not read. */
static void reads_no_fifo_that_is_swapped_in(void **state)
{
    (void)state;
    struct stat status;
    make_file("file", "12345");
    after_look = put_a_fifo_there;
    assert_int_equal(fs_open("file", &status, &error), -1);
    assert_null(after_look);
    assert_error("read file: Not a regular file");
}

/* ---- directories ---- */

static void makes_directories_with_parents(void **state)
{
    (void)state;
    assert_int_equal(fs_make_directory("a/b//c/", &error), 0);
    assert_int_equal(mode_of("a/b/c"), 0755);
    assert_int_equal(fs_make_directory("a/b/c", &error), 0);
    assert_int_equal(symlink("a", "link"), 0);
    assert_int_equal(fs_make_directory("link", &error), 0);
    assert_int_equal(fs_make_directory("link/d/e", &error), 0);
    assert_int_equal(access("a/d/e", F_OK), 0);
    char absolute[100];
    (void)snprintf(absolute, sizeof(absolute), "%s/x/y", top);
    assert_int_equal(fs_make_directory(absolute, &error), 0);
    make_file("file", "");
    assert_int_equal(fs_make_directory("file", &error), -1);
    assert_error("mkdir file: File exists");
    assert_int_equal(fs_make_directory("file/x", &error), -1);
    assert_error("Not a directory");
    assert_int_equal(fs_make_directory("/", &error), 0);
}

static void put_the_private_directory_there(void)
{
    assert_int_equal(rename("a", "made"), 0);
    assert_int_equal(rename("private", "a"), 0);
}

/* A user who may rename in the parent can put any directory of ours in the place of the new one. */
static void changes_no_mode_by_name(void **state)
{
    (void)state;
    (void)umask(077);
    assert_int_equal(mkdir("private", 0700), 0);
    ino_t private = inode_of("private");
    after_make = put_the_private_directory_there;
    assert_int_equal(fs_make_directory("a", &error), 0);
    assert_null(after_make);
    assert_int_equal(inode_of("a"), private);
    assert_int_equal(mode_of("a"), 0700);
}

static void put_a_link_there(void)
{
    assert_int_equal(rmdir("a"), 0);
    assert_int_equal(symlink("outside", "a"), 0);
}

static void makes_nothing_behind_a_link_that_is_swapped_in(void **state)
{
    (void)state;
    assert_int_equal(mkdir("outside", 0755), 0);
    after_make = put_a_link_there;
    assert_int_equal(fs_make_directory("a/b", &error), -1);
    assert_null(after_make);
    assert_error("mkdir a: ");
    assert_string_equal(names_in("outside"), "");
    assert_int_equal(symlink("missing", "dangling"), 0);
    assert_int_equal(fs_make_directory("dangling", &error), -1);
    assert_error("mkdir dangling: File exists");
    assert_int_equal(fs_make_directory("dangling/b", &error), -1);
    assert_error("mkdir dangling: File exists");
    char long_path[2 * PATH_MAX] = "";
    for (size_t i = 0; i + 2 < sizeof(long_path); i += 2) {
        memcpy(long_path + i, "d/", 3);
    }
    assert_int_equal(fs_make_directory(long_path, &error), -1);
    assert_error("File name too long");
    assert_string_equal(names_in("."), "a dangling outside ");
}

static void lists_sorted_by_bytes(void **state)
{
    (void)state;
    assert_int_equal(mkdir("dir", 0755), 0);
    assert_string_equal(names_in("dir"), "");
    static const char *const names[] = {"b", "B", "a", "\xc3\xa4", "10", "9", ".hidden", "\xff"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[50];
        (void)snprintf(path, sizeof(path), "dir/%s", names[i]);
        make_file(path, "");
    }
    assert_string_equal(names_in("dir"), ".hidden 10 9 B a b \xc3\xa4 \xff ");
    struct name_list list = {.text = NULL};
    assert_int_equal(fs_list("missing", &list, NULL, &error), -1);
    assert_error("No such file or directory");
    assert_int_equal(fs_list("dir/a", &list, NULL, &error), -1);
    assert_error("Not a directory");
}

static void deletes_files(void **state)
{
    (void)state;
    make_file("file", "");
    assert_int_equal(symlink("file", "link"), 0);
    assert_int_equal(fs_delete_file("link", &error), 0);
    assert_string_equal(names_in("."), "file ");
    assert_int_equal(fs_delete_file("file", &error), 0);
    assert_int_equal(fs_delete_file("file", &error), -1);
    assert_error("remove file: No such file or directory");
    assert_int_equal(mkdir("dir", 0755), 0);
    assert_int_equal(fs_delete_file("dir", &error), -1);
    assert_error("Is a directory");
}

static void deletes_trees_without_following_links(void **state)
{
    (void)state;
    assert_int_equal(fs_make_directory("outside/dir", &error), 0);
    make_file("outside/file", "");
    assert_int_equal(fs_make_directory("tree/a/b", &error), 0);
    assert_int_equal(fs_make_directory("tree/c/empty", &error), 0);
    make_file("tree/a/file", "");
    assert_int_equal(mkfifo("tree/a/b/fifo", 0600), 0);
    assert_int_equal(symlink("../../outside", "tree/a/link"), 0);
    assert_int_equal(symlink("..", "tree/up"), 0);
    assert_int_equal(chmod("tree/a", 0700), 0);
    assert_int_equal(fs_delete_tree("tree/", &error), 0);
    assert_string_equal(names_in("."), "outside ");
    assert_int_equal(symlink("outside", "link"), 0);
    assert_int_equal(fs_delete_tree("link", &error), 0);
    assert_string_equal(names_in("."), "outside ");
    assert_string_equal(names_in("outside"), "dir file ");
    assert_int_equal(fs_delete_tree("outside/file", &error), 0);
    assert_string_equal(names_in("outside"), "dir ");
}

static void deletes_nothing_it_should_not(void **state)
{
    (void)state;
    make_file("file", "");
    assert_int_equal(fs_delete_tree("missing", &error), 0);
    assert_int_equal(fs_delete_tree("missing/below", &error), 0);
    assert_int_equal(fs_delete_tree("file/below", &error), -1);
    assert_error("Not a directory");
    assert_int_equal(mkdir("dir", 0755), 0);
    assert_int_equal(fs_delete_tree("dir/.", &error), -1);
    assert_error("Invalid argument");
    assert_string_equal(names_in("."), "dir file ");
}

/* What delete_dir stands on, tried without anything at stake. */
static void has_no_place_for_roots_and_dots(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int number;
    } rows[] = {{"/", EBUSY},         {"//", EBUSY},  {".", EINVAL},   {"..", EINVAL},
                {"./", EINVAL},       {"/.", EINVAL}, {"/..", EINVAL}, {"/tmp/.", EINVAL},
                {"/tmp/../", EINVAL}, {"", EBUSY}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fs_place place;
        int result = fs_place_open(&place, rows[i].path);
        int number = errno;
        fs_place_clear(&place);
        assert_int_equal(result, -1);
        assert_int_equal(number, rows[i].number);
    }
    struct fs_place place;
    assert_int_equal(fs_place_open(&place, "/tmp///"), 0);
    assert_string_equal(place.name, "tmp");
    fs_place_clear(&place);
}

/* The owner of a directory without rights for its owner can remove what is in it all the same. */
static void deletes_locked_directories_of_its_own(void **state)
{
    (void)state;
    static const mode_t modes[] = {0555, 0500, 0300, 0100, 0400, 0000};
    assert_int_equal(chmod(".", 0777), 0);
    bool root = become_nobody();
    assert_int_equal(mkdir("tree", 0755), 0);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        char path[60];
        (void)snprintf(path, sizeof(path), "tree/%zu/deeper/deepest", i);
        assert_int_equal(fs_make_directory(path, &error), 0);
        (void)snprintf(path, sizeof(path), "tree/%zu/file", i);
        make_file(path, "");
        (void)snprintf(path, sizeof(path), "tree/%zu/deeper", i);
        assert_int_equal(chmod(path, modes[i]), 0);
        (void)snprintf(path, sizeof(path), "tree/%zu", i);
        assert_int_equal(chmod(path, modes[i]), 0);
    }
    assert_int_equal(chmod("tree", 0555), 0);
    int result = fs_delete_tree("tree", &error);
    become_root(root);
    if (result != 0) {
        print_error("%s\n", error.message);
    }
    assert_int_equal(result, 0);
    assert_string_equal(names_in("."), "");
}

/* What holds the tree is not part of it. */
static void leaves_the_directory_of_a_tree_locked(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip(); /* it takes a user whom the mode binds, and one to clean up */
    }
    assert_int_equal(fs_make_directory("holder/tree/dir", &error), 0);
    assert_int_equal(chmod("holder", 0555), 0);
    assert_int_equal(chown("holder", NOBODY, NOBODY), 0);
    assert_int_equal(chown("holder/tree", NOBODY, NOBODY), 0);
    assert_int_equal(chown("holder/tree/dir", NOBODY, NOBODY), 0);
    bool root = become_nobody();
    int result = fs_delete_tree("holder/tree", &error);
    become_root(root);
    assert_int_equal(result, -1);
    assert_error("remove holder/tree: Permission denied");
    assert_int_equal(mode_of("holder"), 0555);
}

static void names_the_entry_that_cannot_be_removed(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip(); /* our own directories are no obstacle */
    }
    assert_int_equal(fs_make_directory("tree/a/locked/dir", &error), 0);
    make_file("tree/a/locked/file", "");
    assert_int_equal(chmod("tree/a/locked", 0555), 0);
    assert_int_equal(chmod(".", 0777), 0);
    assert_int_equal(chmod("tree", 0777), 0);
    assert_int_equal(chmod("tree/a", 0777), 0);
    bool root = become_nobody();
    int result = fs_delete_tree("tree//", &error);
    become_root(root);
    assert_int_equal(result, -1);
    assert_error("remove tree/a/locked/file: Permission denied");
    assert_int_equal(unlink("tree/a/locked/file"), 0);
    char path[100];
    (void)snprintf(path, sizeof(path), "%s/tree", top);
    root = become_nobody();
    result = fs_delete_tree(path, &error);
    become_root(root);
    assert_int_equal(result, -1);
    assert_error("/tree/a/locked/dir: Permission denied");
    assert_error(path);
    assert_int_equal(access("tree/a/locked/dir", F_OK), 0);
    /* a directory that cannot be looked into is named itself */
    assert_int_equal(chmod("tree/a/locked", 0700), 0);
    root = become_nobody();
    result = fs_delete_tree("tree", &error);
    become_root(root);
    assert_int_equal(result, -1);
    assert_error("remove tree/a/locked: Permission denied");
}

static int open_descriptors(void)
{
    cleanup_(name_list_clear) struct name_list names = {.text = NULL};
    assert_int_equal(fs_list("/proc/self/fd", &names, NULL, &error), 0);
    return (int)names.count;
}

/* 3,000 levels with few descriptors: neither the path's length nor their number is a limit. */
static void deletes_deep_trees(void **state)
{
    (void)state;
    cleanup_fd int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int depth = 0; depth < 3000; depth++) {
        assert_int_equal(mkdirat(fd, "a-directory", 0755), 0);
        cleanup_fd int file = openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        int next = openat(fd, "a-directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(file >= 0 && next >= 0);
        close_fd(&fd);
        fd = next;
    }
    close_fd(&fd);
    assert_int_equal(chmod("a-directory/a-directory/a-directory", 0555), 0);
    int before = open_descriptors();
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit few = {.rlim_cur = (rlim_t)before + 8, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int result = fs_delete_tree("a-directory", &error);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(result, 0);
    assert_string_equal(names_in("."), "file ");
    assert_int_equal(open_descriptors(), before);
}

/* More entries than one read of a directory gives, each second one a directory that is not empty.
 */
static void handles_large_directories(void **state)
{
    (void)state;
    enum { ENTRIES = 20000 };
    char path[60];
    cleanup_(name_list_clear) struct name_list names = {.text = NULL};
    assert_int_equal(mkdir("dir", 0755), 0);
    for (int i = 0; i < ENTRIES; i++) {
        (void)snprintf(path, sizeof(path), "dir/entry-%05d", i);
        if (i % 2 != 0) {
            assert_int_equal(mkdir(path, 0755), 0);
            (void)snprintf(path, sizeof(path), "dir/entry-%05d/file", i);
        }
        make_file(path, "");
    }
    assert_int_equal(fs_list("dir", &names, NULL, &error), 0);
    assert_int_equal(names.count, ENTRIES);
    for (size_t i = 0; i < names.count; i++) {
        (void)snprintf(path, sizeof(path), "entry-%05zu", i);
        assert_string_equal(name_list_at(&names, i), path);
    }
    assert_int_equal(fs_delete_tree("dir", &error), 0);
    assert_string_equal(names_in("."), "");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, enter_directory, leave_directory)
#define TEST_BOTH(function)                                                                        \
    TEST(function), cmocka_unit_test_setup_teardown(function, enter_directory_without_tmpfile,     \
                                                    leave_directory)
    const struct CMUnitTest tests[] = {
        TEST_BOTH(writes_new_and_old_files),
        TEST_BOTH(keeps_the_old_content_until_commit),
        TEST(offers_no_file_for_what_is_not_replaced),
        TEST_BOTH(takes_content_that_was_there_before),
        TEST(takes_no_content_from_another_disk),
        TEST_BOTH(writes_through_links),
        TEST_BOTH(refuses_what_cannot_be_written),
        TEST(writes_devices_in_place),
        TEST(never_waits_for_a_fifo),
        TEST_BOTH(keeps_the_old_content_when_the_disk_is_full),
        TEST_BOTH(writes_in_place_where_nothing_may_be_made),
        TEST_BOTH(writes_in_place_what_may_not_be_replaced),
        TEST(refuses_read_only_files),
        TEST_BOTH(keeps_the_owner),
        TEST_BOTH(keeps_lists_and_attributes),
        TEST_BOTH(takes_no_list_from_the_directory),
        TEST(takes_capabilities_away),
        TEST(keeps_flags_of_the_inode),
        TEST_BOTH(keeps_the_owner_that_it_cannot_give),
        TEST(takes_the_owners_rights_from_a_program_that_changes),
        TEST_BOTH(writes_all_names_of_a_file),
        TEST(keeps_the_old_content_where_nothing_may_be_made),
        TEST(overwrites_with_much),
        TEST(keeps_the_old_content_without_room_for_the_new),
        TEST(writes_files_of_the_kernel),
        TEST(replaces_a_program_that_runs),
        TEST(writes_nothing_that_the_kernel_refuses),
        TEST(asks_the_kernel_as_a_shell_does),
        TEST_BOTH(leaves_nothing_behind_a_link_to_nothing),
        TEST_BOTH(replaces_what_others_have_changed_meanwhile),
        TEST_BOTH(writes_directly_where_nothing_is_special),
        TEST(leaves_all_else_to_the_other_way),
        TEST(opens_regular_files_only),
        TEST(reads_no_fifo_that_is_swapped_in),
        TEST(makes_directories_with_parents),
        TEST(changes_no_mode_by_name),
        TEST(makes_nothing_behind_a_link_that_is_swapped_in),
        TEST(lists_sorted_by_bytes),
        TEST(deletes_files),
        TEST(deletes_trees_without_following_links),
        TEST(deletes_nothing_it_should_not),
        TEST(has_no_place_for_roots_and_dots),
        TEST(deletes_locked_directories_of_its_own),
        TEST(leaves_the_directory_of_a_tree_locked),
        TEST(names_the_entry_that_cannot_be_removed),
        TEST(deletes_deep_trees),
        TEST(handles_large_directories),
    };
    cleanup_fd int spools = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    spools_init(spools);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
