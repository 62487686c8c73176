#include "fcgi-app/output/gathered.h"

#include <errno.h>

#include "common/spool.h"
#include "common/utf8.h"
#include "fcgi-app/http/spools.h"

#define GATHERED_MEMORY ((size_t)16384) /* the rest is in a file */

int gathered_init(struct gathered *gathered, size_t most, const char *until)
{
    *gathered =
        (struct gathered){.most = most, .bytes = spool_new(spools_directory(), GATHERED_MEMORY)};
    if (gathered->bytes == NULL ||
        (until != NULL && text_finder_init(&gathered->until, until) < 0)) {
        gathered_clear(gathered);
        return -1;
    }
    return 0;
}

void gathered_clear(struct gathered *gathered)
{
    spool_freep(&gathered->bytes);
    text_finder_clear(&gathered->until);
}

bool gathered_is_full(const struct gathered *gathered)
{
    return gathered->length == gathered->most;
}

bool gathered_is_enough(const struct gathered *gathered)
{
    return gathered->is_found || gathered->error != 0 || gathered_is_full(gathered);
}

size_t gathered_take(struct gathered *gathered, const char *data, size_t length, bool counts)
{
    size_t room = gathered->most - gathered->length;
    size_t taken = length < room ? length : room;
    if (gathered_is_enough(gathered)) {
        return 0;
    }
    if (counts) {
        taken = text_finder_feed(&gathered->until, data, taken, &gathered->is_found);
    }
    if (spool_write(gathered->bytes, data, taken) < 0) {
        gathered->error = errno;
        return 0;
    }
    gathered->length += taken;
    return taken;
}

size_t gathered_cut(struct gathered *gathered)
{
    const char *bytes = spool_view(gathered->bytes);
    size_t cut = bytes == NULL ? 0 : utf8_unfinished_length(bytes, gathered->length);
    cut = cut < gathered->length ? cut : 0;
    gathered->length -= cut;
    return cut;
}
