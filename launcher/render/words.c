#include "launcher/render/words.h"

#include <assert.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "launcher/base/file.h"

#define TEMPLATE_MOST (1 << 20) /* bytes */

void words_add(struct words *words, const char *word, const char *format, ...)
{
    assert(words->count < WORDS_MOST);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(words->list[words->count].text, WORDS_TEXT_MAX, format, arguments);
    va_end(arguments);
    assert(length >= 0 && length < WORDS_TEXT_MAX);
    words->list[words->count++].word = word;
}

char *words_replace(const struct words *words, const char *path)
{
    char *result = NULL;
    size_t size;
    cleanup_free char *text = file_read(AT_FDCWD, path, TEMPLATE_MOST);
    FILE *out = text == NULL ? NULL : open_memstream(&result, &size);
    if (out == NULL) {
        return NULL;
    }
    for (const char *at = text; *at != '\0';) {
        size_t i = 0;
        while (i < words->count &&
               strncmp(at, words->list[i].word, strlen(words->list[i].word)) != 0) {
            i++;
        }
        if (i < words->count) {
            (void)fputs(words->list[i].text, out);
            at += strlen(words->list[i].word);
        } else {
            (void)fputc(*at++, out);
        }
    }
    if (fclose(out) != 0) {
        free(result);
        return NULL;
    }
    return result;
}
