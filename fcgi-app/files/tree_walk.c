/*
 * Theory of operation: each level of the way down has a batch of its names. The component of the
 * path that leads on from a level is the name where the level is, so a level's batch can be dropped
 * when the levels together need too much memory; the level reads the next one when the walk comes
 * back. If a directory was moved meanwhile, ".." does not lead back: then the walk goes down the
 * path from the root again, as far as it meets the same directories, and counts those that it has
 * lost as left.
 */
#include "fcgi-app/files/tree_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "common/array.h"
#include "common/cleanup.h"
#include "common/descent.h"

#define BATCHES_MOST ((size_t)3 << 20) /* bytes of all levels' names */
#define CHECK_EVERY  64                /* entries */

#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)

struct walk_level {
    struct name_batch batch;
    size_t next;        /* of the batch */
    size_t path_length; /* of the directory: the component behind it is where the level is */
    bool dropped;       /* the batch is to be read again */
    bool lost;          /* the directory is somewhere else */
};

struct tree_walk {
    const struct tree_walk_plan *plan;
    int root;
    struct descent way;
    struct walk_level *levels; /* as many as the way has */
    size_t capacity;
    size_t held;    /* bytes of all batches */
    size_t keeping; /* levels below this one have no batch any more */
    char *path;
    size_t path_length, path_capacity;
    const char *from; /* what is left of the plan's; NULL: nothing */
    bool descending;  /* into the entry at the end of the path */
    unsigned entries; /* since the last check */
};

/* ---- the path ---- */

/* Where the name of the entry at the end of the path begins. */
static size_t name_start(const struct walk_level *level)
{
    return level->path_length == 0 ? 0 : level->path_length + 1;
}

/* The path becomes that of an entry of the level. 0, or -1 with errno. */
static int set_name(struct tree_walk *walk, const struct walk_level *level, const char *name)
{
    size_t start = name_start(level), length = strlen(name), needed = start + length + 1;
    if (needed > walk->path_capacity) {
        size_t capacity = needed * 2 + 256;
        char *path = realloc(walk->path, capacity);
        if (path == NULL) {
            return -1;
        }
        walk->path = path;
        walk->path_capacity = capacity;
    }
    if (start > 0) {
        walk->path[start - 1] = '/';
    }
    memcpy(walk->path + start, name, length + 1);
    walk->path_length = start + length;
    return 0;
}

static struct walk_level *deepest(const struct tree_walk *walk)
{
    return &walk->levels[walk->way.depth - 1];
}

static void fill_entry(const struct tree_walk *walk, struct tree_entry *entry, unsigned char type)
{
    const struct walk_level *level = deepest(walk);
    *entry = (struct tree_entry){level->lost ? -1 : walk->way.fd, walk->path + name_start(level),
                                 walk->path, walk->path_length, type};
}

/* ---- levels ---- */

static size_t batch_bytes(const struct name_batch *batch)
{
    const struct name_list *names = &batch->names;
    return names->capacity + names->most * sizeof(*names->starts);
}

static void drop_batch(struct tree_walk *walk, struct walk_level *level)
{
    walk->held -= batch_bytes(&level->batch);
    level->dropped =
        level->dropped || level->next < level->batch.names.count || level->batch.has_more;
    level->next = 0;
    name_batch_clear(&level->batch);
}

/* The levels above the deepest give up their names, the uppermost first. */
static void save_memory(struct tree_walk *walk)
{
    for (; walk->held > BATCHES_MOST && walk->keeping + 1 < walk->way.depth; walk->keeping++) {
        drop_batch(walk, &walk->levels[walk->keeping]);
    }
}

static int read_batch(struct tree_walk *walk, const char *from, bool behind)
{
    struct walk_level *level = deepest(walk);
    walk->held -= batch_bytes(&level->batch);
    level->next = 0;
    level->dropped = false;
    int result = name_batch_read(&level->batch, walk->way.fd, from, behind, &walk->plan->check);
    walk->held += batch_bytes(&level->batch);
    save_memory(walk);
    return result;
}

static int enter_level(struct tree_walk *walk, int fd)
{
    const size_t depth = walk->way.depth;
    if (descent_enter(&walk->way, fd) != 0) {
        return -1;
    }
    if (ARRAY_RESERVE_ONE(walk->levels, walk->capacity, depth) < 0) {
        walk->way.depth = depth;
        return -1;
    }
    walk->levels[depth] = (struct walk_level){.path_length = walk->path_length};
    return 0;
}

/* The first component of what is left of the plan's `from`; "" when nothing is. The caller frees
 * it; NULL with errno. */
static char *first_component(const struct tree_walk *walk)
{
    return walk->from == NULL ? strdup("") : strndup(walk->from, strcspn(walk->from, "/"));
}

/* Whether this name is a directory on the way to where the walk begins: moves `from` on. What is
 * left of it is for the level below. */
static bool is_on_the_way(struct tree_walk *walk, const char *name)
{
    const char *from = walk->from;
    size_t length = from == NULL ? 0 : strcspn(from, "/");
    walk->from = NULL;
    if (from == NULL || strlen(name) != length || memcmp(name, from, length) != 0) {
        return false;
    }
    from += length + strspn(from + length, "/");
    walk->from = *from == '\0' ? NULL : from;
    return walk->from != NULL;
}

/* ---- going back up ---- */

/* Whether the walk is in the deepest level again, having gone down the path from the root. */
static bool find_again(struct tree_walk *walk)
{
    cleanup_fd int fd = openat(walk->root, ".", DIRECTORY_FLAGS);
    for (size_t level = 0; fd >= 0 && level + 1 < walk->way.depth; level++) {
        size_t start = name_start(&walk->levels[level]);
        size_t end = walk->levels[level + 1].path_length;
        char behind = walk->path[end];
        walk->path[end] = '\0';
        int next = openat(fd, walk->path + start, DIRECTORY_FLAGS);
        walk->path[end] = behind;
        close_fd(&fd);
        fd = next;
    }
    if (fd < 0 || !descent_is_at(&walk->way, fd)) {
        return false;
    }
    close_fd(&walk->way.fd);
    walk->way.fd = steal_fd(&fd);
    return true;
}

/* Leaves the deepest level; the path becomes that of its directory. */
static void leave_level(struct tree_walk *walk)
{
    struct walk_level *level = deepest(walk);
    walk->path_length = level->path_length;
    walk->path[walk->path_length] = '\0';
    drop_batch(walk, level);
    int left = descent_leave(&walk->way, O_RDONLY | O_NONBLOCK);
    walk->keeping = walk->keeping < walk->way.depth ? walk->keeping : walk->way.depth - 1;
    level = deepest(walk);
    if (left != 0 && !find_again(walk)) {
        level->lost = true;
        drop_batch(walk, level);
        level->dropped = false;
    }
}

/* ---- going down ---- */

/* Whether a directory is one of the kernel's, on another file system than that above it. */
static bool is_kernels(const struct tree_walk *walk, int fd)
{
    struct stat status;
    struct statfs system;
    return walk->plan->skips_kernel && fstat(fd, &status) == 0 &&
           status.st_dev != walk->way.places[walk->way.depth - 1].device &&
           fstatfs(fd, &system) == 0 &&
           (system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC);
}

/* Goes down into the entry at the end of the path. 1; 0 when it cannot be read (errno); -1 with
 * errno when the walk fails. */
static int go_down(struct tree_walk *walk)
{
    walk->descending = false;
    const char *name = walk->path + name_start(deepest(walk));
    cleanup_fd int fd = openat(walk->way.fd, name, DIRECTORY_FLAGS);
    if (fd < 0) {
        walk->from = NULL;
        return errno == ENOMEM || errno == EMFILE || errno == ENFILE ? -1 : 0;
    }
    bool is_empty = is_kernels(walk, fd);
    cleanup_free char *from = first_component(walk);
    if (from == NULL || enter_level(walk, steal_fd(&fd)) != 0) {
        return -1;
    }
    if (is_empty || read_batch(walk, from, false) == 0) {
        return 1;
    }
    int number = errno;
    leave_level(walk);
    errno = number;
    return number == ECANCELED || number == ENOMEM ? -1 : 0;
}

/* ---- the next entry ---- */

/* The type of an entry of the deepest level, where the directory does not have it; DT_UNKNOWN when
 * it is gone. */
static unsigned char look_at_type(const struct tree_walk *walk, const char *name)
{
    struct stat status;
    return fstatat(walk->way.fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0
               ? (unsigned char)IFTODT(status.st_mode)
               : DT_UNKNOWN;
}

/* Reads the next names of the deepest level if there may be more. 1, 0 when there are none, or -1
 * with errno. */
static int refill(struct tree_walk *walk)
{
    struct walk_level *level = deepest(walk);
    if (level->lost || (!level->dropped && !level->batch.has_more)) {
        return 0;
    }
    /* The path still has the last name of this level. */
    const char *last = walk->path_length > level->path_length ? walk->path + name_start(level) : "";
    cleanup_free char *from = strdup(last);
    if (from == NULL) {
        return -1;
    }
    if (read_batch(walk, from, true) != 0) {
        return errno == ENOENT ? 0 : -1; /* the directory was removed */
    }
    return level->batch.names.count > 0;
}

/* Takes the next name of the deepest level. 1; 0 when there is none; -1 with errno. *handed: it is
 * an entry for the caller. */
static int take_name(struct tree_walk *walk, struct tree_entry *entry, bool *handed)
{
    struct walk_level *level = deepest(walk);
    if (level->next == level->batch.names.count) {
        int more = refill(walk);
        if (more <= 0) {
            return more;
        }
    }
    unsigned char type;
    const char *name = name_batch_at(&level->batch, level->next++, &type);
    if (set_name(walk, level, name) != 0) {
        return -1;
    }
    if (type == DT_UNKNOWN) {
        type = look_at_type(walk, name);
    }
    walk->descending = type == DT_DIR;
    *handed = !is_on_the_way(walk, name) && type != DT_UNKNOWN;
    if (type != DT_DIR) {
        walk->from = NULL;
    }
    fill_entry(walk, entry, type);
    return 1;
}

/* Whether the check asks to stop; it is asked now and then. */
static bool is_to_stop(struct tree_walk *walk)
{
    if (++walk->entries % CHECK_EVERY != 0 || !stop_check_asks(&walk->plan->check)) {
        return false;
    }
    errno = ECANCELED;
    return true;
}

enum tree_event tree_walk_next(struct tree_walk *walk, struct tree_entry *entry)
{
    for (bool handed = false; !handed;) {
        if (is_to_stop(walk)) {
            return TREE_FAILED;
        }
        if (walk->descending) {
            int down = go_down(walk);
            if (down <= 0) {
                fill_entry(walk, entry, DT_DIR);
                return down < 0 ? TREE_FAILED : TREE_REFUSED;
            }
        }
        int taken = take_name(walk, entry, &handed);
        if (taken < 0) {
            return TREE_FAILED;
        }
        if (taken == 0) {
            if (walk->way.depth == 1) {
                return TREE_END;
            }
            leave_level(walk);
            fill_entry(walk, entry, DT_DIR);
            return TREE_LEFT;
        }
    }
    return TREE_ENTRY;
}

void tree_walk_skip(struct tree_walk *walk)
{
    walk->descending = false;
}

size_t tree_walk_depth(const struct tree_walk *walk)
{
    return walk->way.depth;
}

/* ---- its beginning and end ---- */

struct tree_walk *tree_walk_begin(int root, const struct tree_walk_plan *plan)
{
    cleanup_fd int directory = root;
    cleanup_(tree_walk_freep) struct tree_walk *walk = calloc(1, sizeof(*walk));
    if (walk == NULL) {
        return NULL;
    }
    walk->plan = plan;
    walk->way.fd = -1;
    walk->root = fcntl(directory, F_DUPFD_CLOEXEC, 0);
    walk->from = plan->from == NULL || *plan->from == '\0' ? NULL : plan->from;
    walk->path = calloc(1, 1);
    walk->path_capacity = 1;
    cleanup_free char *from = first_component(walk);
    if (walk->root < 0 || walk->path == NULL || from == NULL ||
        enter_level(walk, steal_fd(&directory)) != 0 || read_batch(walk, from, false) != 0) {
        return NULL;
    }
    return steal_pointer(walk);
}

void tree_walk_free(struct tree_walk *walk)
{
    if (walk == NULL) {
        return;
    }
    int number = errno;
    for (size_t level = 0; level < walk->way.depth; level++) {
        name_batch_clear(&walk->levels[level].batch);
    }
    descent_clear(&walk->way);
    close_fd(&walk->root);
    free(walk->levels);
    free(walk->path);
    free(walk);
    errno = number;
}

void tree_walk_freep(struct tree_walk **walk)
{
    tree_walk_free(*walk);
    *walk = NULL;
}
