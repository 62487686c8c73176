#include "fcgi-app/changes/change_text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-app/files/name_text.h"
#include "fcgi-app/search/glob.h"

#define AROUND 128 /* bytes around the paths of an event */

size_t change_text_size(const struct change_style *style, const struct change *change)
{
    size_t root = strlen(style->root) + 1;
    return NAME_TEXT_SIZE(root + strlen(change->path)) +
           NAME_TEXT_SIZE(root + strlen(change->old_path)) + AROUND;
}

static bool is_chosen(const struct change_style *style, const char *path)
{
    const char *slash = strrchr(path, '/');
    return glob_chooses(style->glob, path, slash == NULL ? path : slash + 1);
}

/* A member with the whole path. How many bytes it wrote. */
static size_t render_path(char *out, const struct change_style *style, const char *member,
                          const char *path)
{
    char whole[2 * PATH_MAX];
    size_t root = strlen(style->root);
    bool needs_slash = *path != '\0' && (root == 0 || style->root[root - 1] != '/');
    int length =
        snprintf(whole, sizeof(whole), "%s%s%s", style->root, needs_slash ? "/" : "", path);
    return name_text_render(out, member, whole, (size_t)length);
}

const char *change_text_id(const struct change_style *style, uint64_t number,
                           char id[EVENT_ID_SIZE])
{
    (void)snprintf(id, EVENT_ID_SIZE, "%s-%llu", style->tag, (unsigned long long)number);
    return id;
}

static size_t render_kind(char *out, const struct change_style *style, enum change_kind kind,
                          const char *path, const struct change *change, uint64_t number)
{
    static const char *const names[] = {[CHANGE_CREATED] = "created",
                                        [CHANGE_CHANGED] = "changed",
                                        [CHANGE_REMOVED] = "removed",
                                        [CHANGE_RENAMED] = "renamed"};
    char id[EVENT_ID_SIZE];
    char *at = out + snprintf(out, AROUND, "event: %s\ndata: {", names[kind]);
    at += render_path(at, style, "path", path);
    if (kind == CHANGE_RENAMED) {
        *at++ = ',';
        at += render_path(at, style, "old_path", change->old_path);
    }
    at += snprintf(at, AROUND, ",\"is_dir\":%s}\nid: %s\n\n",
                   change->is_directory ? "true" : "false", change_text_id(style, number, id));
    return (size_t)(at - out);
}

size_t change_text_render(char *out, const struct change_style *style, const struct change *change,
                          uint64_t number)
{
    bool is_new = *change->path == '\0' || is_chosen(style, change->path);
    bool is_old = change->kind == CHANGE_RENAMED && is_chosen(style, change->old_path);
    if (change->kind != CHANGE_RENAMED) {
        return is_new ? render_kind(out, style, change->kind, change->path, change, number) : 0;
    }
    if (is_new && is_old) {
        return render_kind(out, style, CHANGE_RENAMED, change->path, change, number);
    }
    if (is_new) {
        return render_kind(out, style, change->replaced ? CHANGE_CHANGED : CHANGE_CREATED,
                           change->path, change, number);
    }
    return is_old ? render_kind(out, style, CHANGE_REMOVED, change->old_path, change, number) : 0;
}
