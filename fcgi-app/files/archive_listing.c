#include "fcgi-app/files/archive_listing.h"

#include <stdio.h>
#include <string.h>

static void take_listed(struct archive_listing *listing)
{
    listing->line[listing->length] = '\0';
    const char *name = strstr(listing->line, ": ");
    name = name == NULL ? listing->line : name + 2;
    listing->ends = strcmp(name, "** Block of NULs **") == 0;
    if (!listing->ends && strcmp(name, "** End of File **") != 0) {
        listing->members++;
        (void)snprintf(listing->last, sizeof(listing->last), "%s", name);
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
