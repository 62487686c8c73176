#include "fcgi-app/uploads/upload_metadata.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "fcgi-app/files/base64.h"
#include "fcgi-app/files/raw_path.h"
#include "fcgi-app/files/raw_wish.h"

/* The values that are read here, as texts; NULL where there is none. */
struct values {
    char *path, *mode, *mtime, *parents, *exclusive;
};

static void values_clear(struct values *values)
{
    free(values->path);
    free(values->mode);
    free(values->mtime);
    free(values->parents);
    free(values->exclusive);
}

void upload_metadata_clear(struct upload_metadata *metadata)
{
    free(metadata->path);
    metadata->path = NULL;
}

/* Where the value of this name belongs; NULL for one of the client's own. */
static char **place_of_value(struct values *values, const char *name, size_t length)
{
    const struct {
        const char *name;
        char **place;
    } known[] = {{"path", &values->path},
                 {"mode", &values->mode},
                 {"mtime", &values->mtime},
                 {"parents", &values->parents},
                 {"exclusive", &values->exclusive}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strlen(known[i].name) == length && memcmp(known[i].name, name, length) == 0) {
            return known[i].place;
        }
    }
    return NULL;
}

/* The text that so much base64 stands for (free it), or NULL: it is none. */
static char *decode_value(const char *value, size_t length)
{
    struct base64_decoder decoder = {0};
    cleanup_free char *text = malloc(BASE64_DECODED_MAX(length) + 1);
    if (text == NULL) {
        return NULL;
    }
    ssize_t size = base64_decode(&decoder, value, length, text);
    if (size < 0 || base64_decode_end(&decoder) != 0 || memchr(text, '\0', (size_t)size) != NULL) {
        return NULL;
    }
    text[size] = '\0';
    return steal_pointer(text);
}

/* Reads the pair that begins here and ends before the comma. NULL, or what is wrong with it. */
static const char *read_pair(struct values *values, const char *pair, size_t length)
{
    const char *space = memchr(pair, ' ', length);
    size_t name_length = space == NULL ? length : (size_t)(space - pair);
    const char *value = space == NULL ? pair + length : space + 1;
    if (name_length == 0) {
        return "Upload-Metadata must be pairs of a name and its value in base64, with commas "
               "between "
               "them";
    }
    char **place = place_of_value(values, pair, name_length);
    if (place == NULL) {
        return NULL;
    }
    if (*place != NULL) {
        return "A name must not stand twice in Upload-Metadata";
    }
    *place = decode_value(value, (size_t)(pair + length - value));
    return *place != NULL ? NULL : "A value of Upload-Metadata must be text in base64";
}

static const char *read_pairs(struct values *values, const char *text)
{
    const char *fault = NULL;
    for (text += strspn(text, " \t"); *text != '\0' && fault == NULL; text += strspn(text, " \t")) {
        size_t length = strcspn(text, ","), trimmed = length;
        while (trimmed > 0 && (text[trimmed - 1] == ' ' || text[trimmed - 1] == '\t')) {
            trimmed--;
        }
        fault = read_pair(values, text, trimmed);
        text += length;
        text += *text == ',';
    }
    return fault;
}

/* A name alone means yes. False if the value is neither. */
static bool read_flag(const char *text, bool *flag)
{
    bool is_yes =
        text != NULL && (*text == '\0' || strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
    *flag = is_yes;
    return is_yes || text == NULL || strcmp(text, "0") == 0 || strcmp(text, "false") == 0;
}

const char *upload_metadata_read(struct upload_metadata *metadata, const char *text)
{
    cleanup_(values_clear) struct values values = {.path = NULL};
    *metadata = (struct upload_metadata){.path = NULL};
    const char *fault = read_pairs(&values, text);
    if (fault != NULL) {
        return fault;
    }
    if (values.path == NULL || values.path[0] != '/') {
        return "Upload-Metadata must have a path, the absolute path of the file in base64";
    }
    if (raw_path_goes_up(values.path)) {
        return "A path must not contain ..";
    }
    if (!read_flag(values.parents, &metadata->parents) ||
        !read_flag(values.exclusive, &metadata->wish.exclusive)) {
        return "parents and exclusive must be 1 or 0";
    }
    metadata->path = steal_pointer(values.path);
    return raw_wish_read(&metadata->wish, values.mode, values.mtime);
}
