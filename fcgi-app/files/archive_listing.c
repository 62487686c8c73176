#include "fcgi-app/files/archive_listing.h"

#include <stdio.h>
#include <string.h>

/* The next column. Only the last, the name, may begin with a space. */
static const char *skip_column(const char *at)
{
    at += strcspn(at, " ");
    return at + strspn(at, " ");
}

/* The name in the line of a member. */
static const char *name_of(const char *mode)
{
    const char *date = skip_column(skip_column(skip_column(mode)));
    size_t length = strcspn(date, " ");
    /* a time that has no date is one number */
    bool has_time = length > 1 && memchr(date + 1, '-', length - 1) != NULL;
    const char *last = has_time ? skip_column(date) : date;
    last += strcspn(last, " ");
    return *last == '\0' ? last : last + 1;
}

/* How long the name is, without what a link leads to. */
static size_t name_length(const char *name, char type)
{
    const char *link = type == 'l' ? " -> " : type == 'h' ? " link to " : NULL;
    const char *end = link == NULL ? NULL : strstr(name, link);
    return end == NULL ? strlen(name) : (size_t)(end - name);
}

static void list_member(struct archive_listing *listing, const char *mode)
{
    const char *name = name_of(mode);
    listing->members++;
    (void)snprintf(listing->last, sizeof(listing->last), "%.*s", (int)name_length(name, mode[0]),
                   name);
    bool has_bits = strlen(mode) > 6 && (strchr("sS", mode[3]) != NULL || strchr("sS", mode[6]));
    /* Whatever it is: tar lists a sparse file whose name ends with / as a directory. */
    listing->sets_id = listing->sets_id || has_bits;
}

static void take_listed(struct archive_listing *listing)
{
    listing->line[listing->length] = '\0';
    const char *text = strstr(listing->line, ": ");
    text = text == NULL ? listing->line : text + 2;
    static const char made[] = "Creating directory:"; /* that the archive does not have */
    listing->ends = strcmp(text, "** Block of NULs **") == 0;
    if (!listing->ends && strcmp(text, "** End of File **") != 0 &&
        strncmp(skip_column(text), made, strlen(made)) != 0) {
        list_member(listing, text);
    }
    listing->length = 0;
}

static void keep_part(struct archive_listing *listing, const char *data, size_t length)
{
    size_t room = sizeof(listing->line) - 1 - listing->length;
    size_t size = length < room ? length : room;
    memcpy(listing->line + listing->length, data, size);
    listing->length += size;
}

void archive_listing_take(struct archive_listing *listing, const char *data, size_t length)
{
    while (length > 0) {
        const char *feed = memchr(data, '\n', length);
        size_t size = feed == NULL ? length : (size_t)(feed - data);
        keep_part(listing, data, size);
        if (feed == NULL) {
            return;
        }
        take_listed(listing);
        data = feed + 1;
        length -= size + 1;
    }
}

const char *archive_listing_progress(const struct archive_listing *listing,
                                     char text[ARCHIVE_PROGRESS_SIZE])
{
    if (listing->members == 0) {
        return "no member came";
    }
    (void)snprintf(text, ARCHIVE_PROGRESS_SIZE, "%llu members came, the last is %s",
                   (unsigned long long)listing->members, listing->last);
    return text;
}
