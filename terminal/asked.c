#include "terminal/asked.h"

#include "common/scgi_request.h"

const char *asked_value(const struct asked *asked, const char *name)
{
    const char *value = scgi_header(asked->text, asked->length, name);
    return value == NULL ? "" : value;
}

bool asked_is_whole(const struct asked *asked)
{
    return scgi_header(asked->text, asked->length, "REQUEST_METHOD") != NULL;
}
