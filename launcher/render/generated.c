#include "launcher/render/generated.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>

#include "common/logger.h"
#include "launcher/base/file.h"

void generated_begin(struct generated *file, const char *name)
{
    *file = (struct generated){0};
    file->stream = open_memstream(&file->text, &file->length);
    if (file->stream == NULL) {
        log_line("%s: %m", name);
    }
}

static void print_arguments(struct generated *file, const char *format, va_list arguments)
{
    if (file->stream != NULL) {
        (void)vfprintf(file->stream, format, arguments);
    }
}

void generated_print(struct generated *file, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_arguments(file, format, arguments);
    va_end(arguments);
}

void generated_append(const struct rendering *r, struct generated *file, const char *template,
                      const struct words *words)
{
    char path[PATH_MAX + 300];
    (void)snprintf(path, sizeof(path), "%s/%s", r->layout->tree, template);
    if (file->stream != NULL && words_write(words, file->stream, path) < 0) {
        log_line("%s: %m", path);
        (void)fclose(file->stream);
        file->stream = NULL;
    }
}

int generated_write(const struct rendering *r, struct generated *file, const char *name,
                    mode_t mode)
{
    int result = -1;
    if (file->stream != NULL) {
        result = fclose(file->stream);
        if (result == 0) {
            result = file_replace(r->directory, name, mode, file->text, file->length);
        }
        if (result != 0) {
            log_line("%s: %m", name);
        }
    }
    free(file->text);
    return result == 0 ? 0 : -1;
}

int generated_text(const struct rendering *r, const char *name, mode_t mode, const char *format,
                   ...)
{
    char path[300];
    (void)snprintf(path, sizeof(path), "generated/%s", name);
    struct generated file;
    generated_begin(&file, path);
    va_list arguments;
    va_start(arguments, format);
    print_arguments(&file, format, arguments);
    va_end(arguments);
    return generated_write(r, &file, path, mode);
}
