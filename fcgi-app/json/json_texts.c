#include "fcgi-app/json/json_texts.h"

#include <stdlib.h>
#include <string.h>

#include "common/array.h"

struct taking_texts {
    struct json_texts *texts;
    size_t used, room; /* of the data */
    const char *fault;
    int result;
};

static bool stop_taking(struct taking_texts *taking, int result, const char *fault)
{
    taking->result = result;
    taking->fault = fault;
    return false;
}

static bool take_text(void *context, struct json_span name, enum json_type type,
                      struct json_span value)
{
    (void)name; /* an element has none */
    struct taking_texts *taking = context;
    struct json_texts *texts = taking->texts;
    if (type != JSON_TYPE_STRING) {
        return stop_taking(taking, 1, "every element must be a string");
    }
    if (json_has_lone_surrogate(value)) {
        return stop_taking(taking, 1, "an element contains a lone surrogate");
    }
    char *text = texts->data + taking->used;
    size_t length = json_decode(&value, text, taking->room - taking->used);
    if (memchr(text, '\0', length) != NULL) {
        return stop_taking(taking, 1, "an element contains a NUL character");
    }
    if (ARRAY_RESERVE_ONE(texts->all, texts->capacity, texts->count) < 0) {
        return stop_taking(taking, -1, NULL);
    }
    text[length] = '\0';
    texts->all[texts->count++] = text;
    taking->used += length + 1;
    return true;
}

int json_texts_take(struct json_texts *texts, struct json_span array, const char **fault)
{
    struct json_scan_error error;
    /* No text is longer than its string in the array, whose quotes leave room for its NUL; and
     * decoding wants four bytes. */
    struct taking_texts taking = {.texts = texts, .room = array.length + 4};
    texts->data = malloc(taking.room);
    if (texts->data == NULL) {
        return -1;
    }
    /* The array is valid, so only take_text stops the scan. */
    (void)json_scan_array(array.data, array.length, take_text, &taking, &error);
    *fault = taking.fault;
    return taking.result;
}

void json_texts_clear(struct json_texts *texts)
{
    free(texts->all);
    free(texts->data);
    *texts = (struct json_texts){.all = NULL};
}
