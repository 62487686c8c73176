#include "fcgi-app/search/literal.h"

#include <string.h>

/* After so many candidates that were none the text is looked at more closely: if there is more
 * than one in so many bytes, the byte is not rare here, and memmem(3) goes on. */
#define CANDIDATES_MIN 64
#define BYTES_EACH     32

/* How common a byte is in source code and prose, roughly: 0 is rare. */
static size_t commonness(char byte)
{
    static const char common[] = "XZQJK~^`@%$?|&+!<>#[]{}\\VYUHWGFBMODLNPRCSIATEqzjxkv98765432\"':;"
                                 "*/=-,.()wybgp_1mfhdcu0lsnria\to\nte ";
    const char *place = byte == '\0' ? NULL : strchr(common, byte);
    return place == NULL ? 0 : (size_t)(place - common) + 1;
}

struct literal literal_of(const char *text, size_t length)
{
    struct literal literal = {text, length, 0};
    for (size_t i = 1; i < length; i++) {
        if (commonness(text[i]) < commonness(text[literal.rare])) {
            literal.rare = i;
        }
    }
    return literal;
}

const char *literal_find(const struct literal *literal, const char *begin, const char *end)
{
    const size_t length = literal->length, rare = literal->rare;
    if ((size_t)(end - begin) < length) {
        return NULL;
    }
    const char *last = end - length + rare; /* where the rare byte may be at most */
    size_t candidates = 0;
    for (const char *at = begin + rare; at <= last; at++) {
        at = memchr(at, literal->text[rare], (size_t)(last - at) + 1);
        if (at == NULL) {
            return NULL;
        }
        const char *place = at - rare;
        if (memcmp(place, literal->text, length) == 0) {
            return place;
        }
        if (++candidates > CANDIDATES_MIN && candidates * BYTES_EACH > (size_t)(place - begin)) {
            return memmem(place + 1, (size_t)(end - place - 1), literal->text, length);
        }
    }
    return NULL;
}
