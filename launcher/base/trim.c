#include "launcher/base/trim.h"

#include <string.h>

char *trim(char *text)
{
    text += strspn(text, SPACES);
    size_t length = strlen(text);
    while (length > 0 && strchr(SPACES, text[length - 1]) != NULL) {
        text[--length] = '\0';
    }
    return text;
}
