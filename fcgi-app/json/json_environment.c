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

/* What is wrong with an entry as it stands in the text; NULL when nothing is. */
static const char *find_fault_in_text(struct json_span name, enum json_type type,
                                      struct json_span value)
{
    if (json_has_lone_surrogate(name)) {
        return "the name contains a lone surrogate";
    }
    if (type != JSON_TYPE_STRING && type != JSON_TYPE_NULL) {
        return "the value must be a string";
    }
    if (type == JSON_TYPE_STRING && json_has_lone_surrogate(value)) {
        return "the value contains a lone surrogate";
    }
    return NULL;
}

/* What is wrong with a decoded entry; NULL when nothing is. */
static const char *find_fault(const char *name, size_t name_length, const char *value,
                              size_t value_length)
{
    if (name_length == 0) {
        return "the name is empty";
    }
    if (memchr(name, '=', name_length) != NULL) {
        return "the name contains =";
    }
    if (memchr(name, '\0', name_length) != NULL) {
        return "the name contains a NUL character";
    }
    if (memchr(value, '\0', value_length) != NULL) {
        return "the value contains a NUL character";
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
    const char *fault = find_fault_in_text(name, type, span);
    size_t name_length = json_decode(&name, entry, room), value_length = 0;
    char *value = entry + name_length + 1;
    if (type == JSON_TYPE_STRING) {
        value_length = json_decode(&span, value, value_room);
    }
    fault = fault != NULL ? fault : find_fault(entry, name_length, value, value_length);
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
