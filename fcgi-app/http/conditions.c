#include "fcgi-app/http/conditions.h"

#include <string.h>

#include "fcgi-app/http/http_date.h"
#include "fcgi-app/http/request.h"

/* ---- entity tags ---- */

/*
 * Whether a list of entity tags has this one. A strong comparison does not take a weak tag (W/) for
 * any. What comes after something that is no tag does not count.
 */
static bool list_has(const char *list, const char *etag, bool is_strong)
{
    size_t length = strlen(etag);
    while (*(list += strspn(list, " \t,")) != '\0') {
        bool is_weak = strncmp(list, "W/", 2) == 0;
        list += is_weak ? 2 : 0;
        const char *end = *list == '"' ? strchr(list + 1, '"') : NULL;
        if (end == NULL) {
            return false;
        }
        end++;
        if (length > 0 && !(is_strong && is_weak) && (size_t)(end - list) == length &&
            memcmp(list, etag, length) == 0) {
            return true;
        }
        list = end;
    }
    return false;
}

/* Whether the value of If-Match or If-None-Match names what there is. */
static bool names_current(const char *value, const struct validators *current, bool is_strong)
{
    value += strspn(value, " \t");
    if (value[0] == '*' && value[1 + strspn(value + 1, " \t")] == '\0') {
        return current != NULL;
    }
    return current != NULL && list_has(value, current->etag, is_strong);
}

/* ---- the conditions, in their order ---- */

/* Whether it was not changed after the date; true if that cannot be said. */
static bool is_unchanged_since(const char *value, const struct validators *current, bool otherwise)
{
    time_t date;
    if (*value == '\0' || current == NULL || !current->has_date || !http_date_parse(value, &date)) {
        return otherwise;
    }
    return current->modified.tv_sec <= date;
}

static bool must_not_change(const struct request *request, const struct validators *current)
{
    const char *match = request_param(request, "HTTP_IF_MATCH");
    if (*match != '\0') {
        return names_current(match, current, true);
    }
    return is_unchanged_since(request_param(request, "HTTP_IF_UNMODIFIED_SINCE"), current, true);
}

enum verdict conditions_check(const struct request *request, const struct validators *current)
{
    bool reads = request_only_reads(request);
    if (!must_not_change(request, current)) {
        return CONDITIONS_FAIL;
    }
    const char *none_match = request_param(request, "HTTP_IF_NONE_MATCH");
    if (*none_match != '\0') {
        return !names_current(none_match, current, false) ? CONDITIONS_HOLD
               : reads                                    ? CONDITIONS_NOT_MODIFIED
                                                          : CONDITIONS_FAIL;
    }
    const char *since = request_param(request, "HTTP_IF_MODIFIED_SINCE");
    return reads && *since != '\0' && is_unchanged_since(since, current, false)
               ? CONDITIONS_NOT_MODIFIED
               : CONDITIONS_HOLD;
}

bool conditions_allow_range(const struct request *request, const struct validators *current)
{
    const char *value = request_param(request, "HTTP_IF_RANGE");
    time_t date;
    if (*value == '\0') {
        return true;
    }
    if (*value == '"') {
        return strcmp(value, current->etag) == 0;
    }
    /* A date tells states apart only once the second of the last change is over. */
    return current->has_date && http_date_parse(value, &date) && date == current->modified.tv_sec &&
           time(NULL) > date;
}
