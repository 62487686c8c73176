#include "terminal/attach_query.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value of a query, which is plain. */
struct parameter {
    const char *text;
    size_t length;
};

static bool is_word(const struct parameter *value, const char *word)
{
    return value->length == strlen(word) && strncmp(value->text, word, value->length) == 0;
}

/* What is too long is no process, and must not become one by a cut. */
static void read_job_id(struct attach_query *query, const struct parameter *value)
{
    int most = (int)sizeof(query->id) - 1;
    if (value->length <= (size_t)most) {
        (void)snprintf(query->id, sizeof(query->id), "%.*s", (int)value->length, value->text);
    } else {
        (void)snprintf(query->id, sizeof(query->id), "%.*s...", most - 3, value->text);
    }
}

static const char *read_offset(struct attach_query *query, const struct parameter *value)
{
    if (value->length > 18 || strspn(value->text, "0123456789") < value->length) {
        return "offset must be a number of bytes";
    }
    query->has_offset = true;
    query->offset = strtoull(value->text, NULL, 10);
    return NULL;
}

static const char *read_mode(struct attach_query *query, const struct parameter *value)
{
    query->only_views = is_word(value, "view");
    return query->only_views ? NULL : "mode must be view";
}

/* An empty value counts as none. Others are for later versions. */
static const char *read_parameter(struct attach_query *query, const struct parameter *name,
                                  const struct parameter *value)
{
    if (value->length == 0) {
        return NULL;
    }
    if (is_word(name, "id")) {
        read_job_id(query, value);
        return NULL;
    }
    if (is_word(name, "offset")) {
        return read_offset(query, value);
    }
    return is_word(name, "mode") ? read_mode(query, value) : NULL;
}

const char *attach_query_read(struct attach_query *query, const char *text)
{
    *query = (struct attach_query){.id = ""};
    const char *wrong = NULL;
    while (*text != '\0' && wrong == NULL) {
        size_t length = strcspn(text, "&");
        size_t name = strcspn(text, "=&");
        const struct parameter parameter = {text, name};
        const struct parameter value = {text + name + (name < length),
                                        length - name - (name < length)};
        wrong = read_parameter(query, &parameter, &value);
        text += length + (text[length] == '&');
    }
    return wrong == NULL && query->id[0] == '\0' ? "Process ID is required" : wrong;
}
