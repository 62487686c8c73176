#include "common/shell_quote.h"

#include <string.h>

/* Whether a shell takes the word as it stands: also as the first one, where = makes an assignment.
 */
static int needs_no_quotes(const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "_@%+:,./-";
    return word[0] != '\0' && word[strspn(word, plain)] == '\0';
}

static size_t append_bytes(char *line, size_t used, size_t room, const char *bytes, size_t length)
{
    size_t left = room - used;
    size_t taken = length < left ? length : left;
    memcpy(line + used, bytes, taken);
    return used + taken;
}

#define APPEND(text) (used = append_bytes(line, used, room, (text), strlen(text)))

size_t shell_quote_append(char *line, size_t used, size_t room, const char *word)
{
    if (used > 0) {
        APPEND(" ");
    }
    if (needs_no_quotes(word)) {
        return APPEND(word);
    }
    APPEND("'");
    for (size_t length; *word != '\0' && used < room; word += length) {
        length = strcspn(word, "'");
        used = append_bytes(line, used, room, word, length);
        if (word[length] == '\'') {
            APPEND("'\\''");
            length++;
        }
    }
    return APPEND("'");
}
