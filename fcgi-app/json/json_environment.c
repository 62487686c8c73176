#include "fcgi-app/json/json_environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/analyzer.h"
#include "common/array.h"
#include "common/cleanup.h"

struct taking {
    struct json_environment *environment;
    char *fault;
    int result;
};

/* How much of a name is shown in a message: not too much, and no part of a UTF-8 sequence. */
static int shown_length(const char *name, size_t length)
{
    size_t shown = length > 100 ? 100 : length;
    while (shown > 0 && shown < length && ((unsigned char)name[shown] & 0xc0) == 0x80) {
        shown--;
    }
    return (int)shown;
}

/* What is wrong with an entry; NULL when nothing is. Its name and its value, decoded, lie one after
 * the other, each with a byte behind it. */
static const char *find_fault(struct json_span name, enum json_type type, struct json_span value,
                              const char *entry, size_t name_length, size_t value_length)
{
    const bool is_string = type == JSON_TYPE_STRING;
    const struct {
        bool is_there;
        const char *fault;
    } faults[] = {
        {json_has_lone_surrogate(name), "the name contains a lone surrogate"},
        {!is_string && type != JSON_TYPE_NULL, "the value must be a string"},
        {is_string && json_has_lone_surrogate(value), "the value contains a lone surrogate"},
        {name_length == 0, "the name is empty"},
        {memchr(entry, '=', name_length) != NULL, "the name contains ="},
        {memchr(entry, '\0', name_length) != NULL, "the name contains a NUL character"},
        {memchr(entry + name_length + 1, '\0', value_length) != NULL,
         "the value contains a NUL character"},
    };
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (faults[i].is_there) {
            return faults[i].fault;
        }
    }
    return NULL;
}

/* Keeps `entry`, which it owns from here on. */
static int add_entry(struct json_environment *environment, char *entry)
{
    if (ARRAY_RESERVE_ONE(environment->entries, environment->capacity, environment->count) < 0) {
        free(entry);
        return -1;
    }
    ANALYZER_OFF("-Wanalyzer-malloc-leak") /* they are the environment's */
    environment->entries[environment->count++] = entry;
    ANALYZER_ON
    return 0;
}

static bool take_entry(void *context, struct json_span name, enum json_type type,
                       struct json_span span)
{
    struct taking *taking = context;
    size_t room = name.length + 4, value_room = span.length + 4; /* decoding makes nothing longer */
    cleanup_free char *entry = malloc(room + 1 + value_room + 1);
    if (entry == NULL) {
        taking->result = -1;
        return false;
    }
    struct json_span name_left = name;
    struct json_span value_left = {span.data, type == JSON_TYPE_STRING ? span.length : 0};
    size_t name_length = json_decode(&name_left, entry, room);
    char *value = entry + name_length + 1;
    size_t value_length = json_decode(&value_left, value, value_room);
    const char *fault = find_fault(name, type, span, entry, name_length, value_length);
    if (fault != NULL) {
        (void)snprintf(taking->fault, JSON_ENVIRONMENT_FAULT_SIZE, "\"%.*s\": %s",
                       shown_length(entry, name_length), entry, fault);
        taking->result = 1;
        return false;
    }
    entry[name_length] = '=';
    value[value_length] = '\0';
    taking->result = add_entry(taking->environment, steal_pointer(entry));
    return taking->result == 0;
}

int json_environment_take(struct json_environment *environment, struct json_span object,
                          char *fault)
{
    struct taking taking = {.environment = environment, .fault = fault};
    struct json_scan_error error;
    /* The object is valid, so only take_entry stops the scan. */
    (void)json_scan_object(object.data, object.length, take_entry, &taking, &error);
    return taking.result;
}

void json_environment_clear(struct json_environment *environment)
{
    for (size_t i = 0; i < environment->count; i++) {
        free(environment->entries[i]);
    }
    free(environment->entries);
    *environment = (struct json_environment){.entries = NULL};
}
