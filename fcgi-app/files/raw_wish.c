#include "fcgi-app/files/raw_wish.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-app/files/fs.h"

static const char *read_mode(struct fs_wish *wish, const char *text)
{
    char *end;
    unsigned long mode = strtoul(text, &end, 8);
    if (*text == '\0' || strspn(text, "01234567") != strlen(text) || mode > 07777) {
        return "mode must be octal, such as 0644";
    }
    wish->has_mode = true;
    wish->mode = (mode_t)mode;
    return NULL;
}

/* Seconds since 1970, with up to nine digits of a second. */
static const char *read_time(struct fs_wish *wish, const char *text)
{
    static const char wrong[] =
        "mtime must be seconds since 1970, such as 1700000000.5, or whole ones before";
    char *end;
    errno = 0;
    long long seconds = strtoll(text, &end, 10);
    long nanoseconds = 0;
    size_t digits = *end == '.' ? strspn(end + 1, "0123456789") : 0;
    /* A minus before a fraction would not be that of the fraction. */
    bool is_number = isdigit((unsigned char)text[text[0] == '-' && *end == '\0']) && errno == 0;
    if (!is_number || (*end == '.' && (digits < 1 || digits > 9)) ||
        (*end == '.' ? end[1 + digits] : *end) != '\0') {
        return wrong;
    }
    for (size_t i = 1; i <= 9; i++) {
        nanoseconds = nanoseconds * 10 + (i <= digits ? end[i] - '0' : 0);
    }
    wish->has_time = true;
    wish->modified = (struct timespec){.tv_sec = seconds, .tv_nsec = nanoseconds};
    return NULL;
}

const char *raw_wish_read(struct fs_wish *wish, const char *mode, const char *mtime)
{
    const char *fault = mode == NULL ? NULL : read_mode(wish, mode);
    return fault == NULL && mtime != NULL ? read_time(wish, mtime) : fault;
}
