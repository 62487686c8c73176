/*
 * The small readers of text: event ids and the beginnings of events, query strings, settings. The
 * first byte tells which, the rest is the text.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/cleanup.h"
#include "common/settings.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/http/query.h"
#include "procd/log/event_id.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake_request.h"

/* ---- event ids ---- */

/* An id has one spelling. */
static void check_id(const char *text, size_t length)
{
    struct event_id id;
    char again[EVENT_ID_SIZE];
    cleanup_free char *string = strndup(text, length);
    assert(string != NULL);
    event_id_render_end(string, again);
    assert(event_id_is_end(again) && !event_id_parse(again, strlen(again), &id));
    assert(!event_id_is_end(string) || strcmp(again, string) == 0);
    if (!event_id_parse(text, length, &id)) {
        return;
    }
    assert(strlen(id.text) == length && memcmp(id.text, text, length) == 0);
    assert(event_id_render(text, id.offset, id.line, again) == length);
    assert(strcmp(again, id.text) == 0);
    assert(event_id_is_of(&id, id.text));
}

/* The edges of a long event say the same; an id line that is whole always fits one. */
static void check_edges(const char *text, size_t length, const struct event *event)
{
    char edges[2 * EVENT_EDGE];
    if (length <= sizeof(edges)) {
        return;
    }
    memcpy(edges, text, EVENT_EDGE);
    memcpy(edges + EVENT_EDGE, text + length - EVENT_EDGE, EVENT_EDGE);
    struct event again = event_parse(edges, sizeof(edges));
    assert(again.kind == EVENT_LINE && strcmp(again.id.text, event->id.text) == 0);
}

static void check_event(const char *text, size_t length)
{
    struct event event = event_parse(text, length);
    if (event.kind != EVENT_UNKNOWN) {
        assert(memcmp(text + length - 2, "\n\n", 2) == 0);
        assert(event_is_line(text, length) == (event.kind == EVENT_LINE));
    }
    if (event.kind == EVENT_LINE) {
        assert(event_is_line(text, length < EVENT_KIND_SIZE ? length : EVENT_KIND_SIZE));
        assert(memmem(text, length, event.id.text, strlen(event.id.text)) != NULL);
        check_edges(text, length, &event);
    }
}

/* ---- query strings ---- */

/* What a query has as "cursor"; NULL when it has none, or one with a NUL. */
static struct json_body *read_query(const char *text)
{
    static const struct json_member members[] = {{.name = "cursor", .kind = JSON_TEXT}};
    struct request request = {.query = text};
    struct json_body *query = query_read(&request, members, 1, 0);
    assert(query != NULL || request.status == 400);
    fake_request_clear(&request);
    return query;
}

/* Escapes every byte, which means the same. */
static void check_escaped(const char *value)
{
    size_t length = strlen(value);
    cleanup_free char *text = malloc(3 * length + sizeof("x=1&cursor="));
    assert(text != NULL);
    char *at = stpcpy(text, "x=1&cursor=");
    for (size_t i = 0; i < length; i++) {
        at += sprintf(at, "%%%02x", (unsigned char)value[i]);
    }
    cleanup_(json_freep) struct json_body *query = read_query(text);
    assert(query != NULL && strcmp(json_text(query, "cursor"), value) == 0);
}

static void check_query(const char *text)
{
    cleanup_(json_freep) struct json_body *query = read_query(text);
    const char *value = json_text(query, "cursor");
    if (value != NULL) {
        assert(*value != '\0' && strlen(value) <= strlen(text));
        check_escaped(value);
    }
}

/* ---- settings ---- */

/* For log_line(). NOLINTBEGIN(bugprone-reserved-identifier): the linker's names (ld --wrap) */
void __wrap_log_request(int level, const char *request_id, const char *format, ...);

static char error[256]; /* the last that was logged */

__attribute__((format(printf, 3, 4))) void __wrap_log_request(int level, const char *request_id,
                                                              const char *format, ...)
{
    va_list arguments;
    (void)level;
    (void)request_id;
    va_start(arguments, format);
    assert(vsnprintf(error, sizeof(error), format, arguments) > 0);
    va_end(arguments);
}

/* NOLINTEND(bugprone-reserved-identifier) */

static void check_setting(const char *name, const char *value)
{
    struct settings settings;
    cleanup_free char *entry = NULL;
    assert(asprintf(&entry, "%s=%s", name, value) >= 0);
    /* Not setenv(3): glibc keeps every value that it was ever given. */
    assert(putenv(entry) == 0); /* NOLINT(concurrency-mt-unsafe): one thread */
    if (settings_read(&settings, NULL) < 0) {
        assert(strstr(error, name) != NULL && strchr(error, '\n') == NULL);
    } else {
        assert(settings.port >= 1 && settings.port <= 65535);
        assert(settings.proxy_port != settings.port && settings.proxy_port <= 65535);
        assert(settings.log_max >= 1 << 20 && settings.log_max <= INT64_MAX);
        assert(settings.stream_keepalive_ms >= 1000 && settings.stream_keepalive_ms <= 86400000);
        assert(settings.reader_timeout_ms >= 1000 && settings.keep_finished <= 10000);
        assert(settings.log_level >= LOG_ERR && settings.log_level <= LOG_DEBUG);
        assert(settings.cgroup[0] == '/' || strcmp(settings.cgroup, "off") == 0 ||
               strcmp(settings.cgroup, "auto") == 0);
    }
    assert(unsetenv(name) == 0); /* NOLINT(concurrency-mt-unsafe): one thread */
}

static void check_settings(const char *value)
{
    static const char *const names[] = {"PORT",
                                        "PROXY_PORT",
                                        "SANDBOX_LOG_MAX",
                                        "SANDBOX_READER_TIMEOUT",
                                        "SANDBOX_HTTP_KEEPALIVE",
                                        "SANDBOX_STREAM_KEEPALIVE",
                                        "SANDBOX_KEEP_FINISHED",
                                        "SANDBOX_CGROUP",
                                        "LOG_LEVEL"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        check_setting(names[i], value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    unsigned which = (unsigned)input_number(&input, 1) % 3;
    cleanup_free char *text = strndup((const char *)input.data, input.left);
    assert(text != NULL);
    switch (which) {
    case 0:
        check_id((const char *)input.data, input.left);
        check_event((const char *)input.data, input.left);
        break;
    case 1: check_query(text); break;
    default: check_settings(text); break;
    }
    return 0;
}
