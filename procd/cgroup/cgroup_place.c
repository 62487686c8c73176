/*
 * /proc/self says where cgroup version 2 is mounted and where we are in it (proc(5)).
 */
#include "procd/cgroup/cgroup_place.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "common/cleanup.h"

/* Our place in the hierarchy of version 2 according to /proc: "/" or "/a/b". */
static bool read_place(char place[PATH_MAX])
{
    cleanup_file FILE *file = fopen("/proc/self/cgroup", "re");
    cleanup_free char *line = NULL;
    size_t size = 0;
    while (file != NULL && getline(&line, &size, file) > 0) {
        if (sscanf(line, "0::%4095[^\n]", place) == 1) {
            return strstr(place, "/..") == NULL; /* above what is mounted here */
        }
    }
    return false;
}

/* The part of `place` below `root`, which is all that a mount shows; NULL if it is not below. */
static const char *below(const char *place, const char *root)
{
    size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(place, root, length) != 0 || (place[length] != '/' && place[length] != '\0')) {
        return NULL;
    }
    return strcmp(place + length, "/") == 0 ? "" : place + length;
}

int cgroup_find_own(char path[PATH_MAX], size_t *mount_length)
{
    char place[PATH_MAX];
    char root[PATH_MAX];
    char point[PATH_MAX];
    cleanup_file FILE *mounts = fopen("/proc/self/mountinfo", "re");
    cleanup_free char *line = NULL;
    size_t size = 0;
    if (mounts == NULL || !read_place(place)) {
        return -1;
    }
    while (getline(&line, &size, mounts) > 0) {
        if (strstr(line, " - cgroup2 ") == NULL ||
            sscanf(line, "%*s %*s %*s %4095s %4095s", root, point) != 2 ||
            strchr(point, '\\') != NULL) { /* an escape: proc(5) */
            continue;
        }
        const char *rest = below(place, root);
        if (rest != NULL && snprintf(path, PATH_MAX, "%s%s", point, rest) < PATH_MAX) {
            *mount_length = strlen(point);
            return 0;
        }
    }
    return -1;
}

/* From the directory for the daemons of a run, where we may be, to BASE. */
static void leave_daemons(char *path, const char *run_name)
{
    char *slash = strrchr(path, '/');
    size_t length = strlen(run_name);
    if (slash != NULL && strncmp(slash + 1, run_name, length) == 0 &&
        strcmp(slash + 1 + length, CGROUP_DAEMONS) == 0) {
        *slash = '\0';
    }
}

int cgroup_find_run(const char *run_directory, const char *setting, char path[PATH_MAX])
{
    char base[PATH_MAX];
    char name[64];
    size_t mount_length;
    struct stat run;
    struct statfs system;
    if (strcmp(setting, "auto") == 0 && cgroup_find_own(base, &mount_length) < 0) {
        errno = ENOENT;
        return -1;
    }
    if (strcmp(setting, "auto") != 0 &&
        snprintf(base, sizeof(base), "%s", setting) >= (int)sizeof(base)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (stat(run_directory, &run) < 0) {
        return -1;
    }
    (void)snprintf(name, sizeof(name), "nginx-sandbox-%llu-%llu", (unsigned long long)run.st_dev,
                   (unsigned long long)run.st_ino);
    leave_daemons(base, name);
    if (statfs(base, &system) < 0) {
        return -1;
    }
    if (system.f_type != CGROUP2_SUPER_MAGIC) {
        errno = ENOTSUP;
        return -1;
    }
    if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return 0;
}
