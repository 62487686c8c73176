/*
 * Replacing words in a file.
 */
#include "launcher/render/template.h"

#include <fcntl.h>
#include <string.h>

#include "common/cleanup.h"
#include "launcher/base/file.h"

#define TEMPLATE_MOST (1 << 20) /* bytes */

static const struct template_word *word_at(const char *text, const struct template_word *words,
                                           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strncmp(text, words[i].word, strlen(words[i].word)) == 0) {
            return &words[i];
        }
    }
    return NULL;
}

int template_write(FILE *out, const char *path, const struct template_word *words, size_t count)
{
    cleanup_free char *text = file_read(AT_FDCWD, path, TEMPLATE_MOST);
    if (text == NULL) {
        return -1;
    }
    for (const char *at = text; *at != '\0';) {
        const struct template_word *word = word_at(at, words, count);
        if (word != NULL) {
            (void)fputs(word->text, out);
            at += strlen(word->word);
        } else {
            (void)fputc(*at++, out);
        }
    }
    return 0;
}
