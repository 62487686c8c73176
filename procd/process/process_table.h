/*
 * What /proc says about processes: their children, parents and users, and the contents of their
 * files; and lists of pids.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct pid_list {
    pid_t *pids;
    size_t count;
    size_t capacity;
};

void pid_list_clear(struct pid_list *list);

/*
 * Appends the children of `parent` as they are now; a process that forks or ends meanwhile may be
 * missing. 0, or -1 with errno when memory is out or /proc cannot be read.
 */
int process_children(pid_t parent, struct pid_list *list);

/*
 * The children of all processes, for one walk over a tree. Where the kernel lists a process's
 * children, they are read when they are asked for. Elsewhere the whole table is read once, when the
 * view is taken; otherwise a walk over a large tree would read it for every process.
 */
struct process_view {
    struct pid_list pids; /* empty where the kernel lists children */
    struct pid_list parents;
};

/* Both: 0, or -1 with errno. process_view_clear releases what a failed one has read, too. */
int process_view_take(struct process_view *view);
int process_view_children(const struct process_view *view, pid_t parent, struct pid_list *list);
void process_view_clear(struct process_view *view);

/* The parent of a process, 0 when there is no such process. */
pid_t process_parent(pid_t pid);

/* One read(2) of /proc/<pid>/`name`, at most size - 1 bytes (such a file comes whole), as a text,
 * which is empty when there is no such process. Whether it has any. */
bool process_file_read(pid_t pid, const char *name, char *text, size_t size);

/* The number behind `key` in that text (INT64_MAX when a word is there, as "unlimited"); -1 when
 * that is unknown. A key that begins a line begins with a new line: a name with one in it is shown
 * escaped. */
int64_t process_file_number(pid_t pid, const char *name, const char *key);

/* 1 when /proc/<pid>/`name` begins with these bytes, 0 when not or when there is no such process,
 * -1 with errno when that is unknown. */
int process_file_begins(pid_t pid, const char *name, const void *bytes, size_t length);

/* Appends a pid; removes one, and says whether it was there. */
int pid_list_add(struct pid_list *list, pid_t pid); /* 0, or -1 with errno */
bool pid_list_remove(struct pid_list *list, pid_t pid);
bool pid_list_has(const struct pid_list *list, pid_t pid);
