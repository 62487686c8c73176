#include "fcgi-app/files/content.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "common/utf8.h"

const char *coding_read(const struct json_body *body, enum coding *coding)
{
    const char *name = json_text(body, "encoding");
    bool flag = json_flag(body, "is_base64");
    if (name == NULL) {
        *coding = flag ? CODING_BASE64 : CODING_ANY;
        return NULL;
    }
    bool is_base64 = strcasecmp(name, "base64") == 0;
    *coding = is_base64 ? CODING_BASE64 : CODING_TEXT;
    if (!is_base64 && strcasecmp(name, "utf-8") != 0 && strcasecmp(name, "utf8") != 0) {
        return "encoding must be utf-8 or base64";
    }
    return json_is_given(body, "is_base64") && is_base64 != flag
               ? "encoding and is_base64 contradict each other"
               : NULL;
}

bool coding_is_of_bytes(const char *head, size_t length)
{
    length = length < CODING_HEAD_SIZE ? length : CODING_HEAD_SIZE;
    if (memchr(head, '\0', length) == NULL) {
        return false;
    }
    size_t valid = utf8_valid_length(head, length);
    bool is_cut =
        length == CODING_HEAD_SIZE && valid < length &&
        utf8_sequence((const unsigned char *)head + valid, length - valid) == UTF8_UNFINISHED;
    return valid < length && !is_cut;
}
