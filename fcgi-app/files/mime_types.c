/*
 * The list is one text, kept as it is but for NULs between its words, and a table of the extensions
 * in it, sorted. A line of it is "text/plain  asc txt text", and # begins a comment.
 */
#include "fcgi-app/files/mime_types.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/analyzer.h"
#include "common/array.h"
#include "common/cleanup.h"
#include "common/io.h"
#include "common/logger.h"

#define LIST_PATH   "/etc/mime.types"
#define LIST_MOST   ((size_t)1 << 20) /* bytes that are read of it */
#define TYPE_MOST   100               /* bytes */
#define OTHERS_TYPE "application/octet-stream"
#define BLANKS      " \t\r"

struct extension {
    const char *name;
    const char *type;
};

static struct {
    struct extension *table; /* sorted by name, in any case */
    size_t count, capacity;
} known;

static int compare(const void *one, const void *other)
{
    return strcasecmp(((const struct extension *)one)->name,
                      ((const struct extension *)other)->name);
}

/* It becomes the value of a header. */
static bool is_good_type(const char *type)
{
    size_t length = strlen(type);
    return length <= TYPE_MOST && strchr(type, '/') != NULL &&
           strspn(type, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/+-._") ==
               length;
}

ANALYZER_OFF("-Wanalyzer-double-free") /* the table that is enlarged is the last one */
static void add_extension(const char *name, const char *type)
{
    if (ARRAY_RESERVE_ONE(known.table, known.capacity, known.count) < 0) {
        log_at(LOG_WARNING, LIST_PATH ": %m");
        return;
    }
    known.table[known.count++] = (struct extension){.name = name, .type = type};
}
ANALYZER_ON

static void read_line(char *line)
{
    char *rest = NULL;
    line[strcspn(line, "#")] = '\0';
    const char *type = strtok_r(line, BLANKS, &rest);
    if (type == NULL || !is_good_type(type)) {
        return;
    }
    for (const char *name; (name = strtok_r(NULL, BLANKS, &rest)) != NULL;) {
        add_extension(name, type);
    }
}

/* The list as a text of the caller's; NULL if there is none. */
static char *read_list(void)
{
    cleanup_fd int fd = open(LIST_PATH, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        if (errno != ENOENT) {
            log_at(LOG_WARNING, LIST_PATH ": %m");
        }
        return NULL;
    }
    cleanup_free char *text = malloc(LIST_MOST + 1);
    ssize_t length = text == NULL ? -1 : io_read_full(fd, text, LIST_MOST);
    if (length < 0) {
        log_at(LOG_WARNING, LIST_PATH ": %m");
        return NULL;
    }
    text[length] = '\0';
    char *exact = realloc(text, (size_t)length + 1);
    return exact == NULL ? steal_pointer(text) : (text = NULL, exact);
}

/* Only a server whose files are asked for needs the memory. */
static void load_list(void)
{
    char *text = read_list(); /* the table points into it */
    char *rest = NULL;
    for (char *line = text == NULL ? NULL : strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        read_line(line);
    }
    if (known.count > 0) {
        qsort(known.table, known.count, sizeof(struct extension), compare);
    }
}

const char *mime_type_of(const char *name, unsigned long length)
{
    static pthread_once_t loaded = PTHREAD_ONCE_INIT;
    char extension[32];
    (void)pthread_once(&loaded, load_list);
    const char *dot = memrchr(name, '.', length);
    size_t size = dot == NULL ? 0 : (size_t)(name + length - dot) - 1;
    if (size == 0 || size >= sizeof(extension) || known.count == 0) {
        return OTHERS_TYPE;
    }
    memcpy(extension, dot + 1, size);
    extension[size] = '\0';
    const struct extension key = {.name = extension};
    const struct extension *found =
        bsearch(&key, known.table, known.count, sizeof(struct extension), compare);
    return found == NULL ? OTHERS_TYPE : found->type;
}
