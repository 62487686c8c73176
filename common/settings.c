#include "common/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/logger.h"
#include "common/user.h"
#include "common/variables.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define SECOND UINT64_C(1000) /* in ms */
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

enum kind { KIND_NUMBER, KIND_SIZE, KIND_TIME };

struct variable {
    const char *name;
    size_t offset; /* of its member, a uint64_t */
    enum kind kind;
    uint64_t fallback;
    uint64_t least;
    uint64_t most;
};

/* nginx keeps sizes in an off_t, a signed 64-bit number. */
#define SIZE_MOST ((uint64_t)INT64_MAX)

/* In milliseconds: nginx keeps times in 32 bits on some machines. */
#define TIME_MOST (20 * DAY)

#define MEMBER(name) offsetof(struct settings, name)

static const struct variable variables[] = {
    {"PORT", MEMBER(port), KIND_NUMBER, 3030, 1, 65535},
    {"PROXY_PORT", MEMBER(proxy_port), KIND_NUMBER, 3031, 1, 65535},
    {"SANDBOX_LOG_MAX", MEMBER(log_max), KIND_SIZE, 64 * MIB, MIB, SIZE_MOST},
    {"SANDBOX_KEEP_FINISHED", MEMBER(keep_finished), KIND_NUMBER, 1000, 0, 10000},
    {"SANDBOX_KEEP_FINISHED_FOR", MEMBER(keep_finished_ms), KIND_TIME, DAY, 0, 3650 * DAY},
    {"SANDBOX_MAX_CONNECTIONS", MEMBER(max_connections), KIND_NUMBER, 4096, 16, 65536},
    {"SANDBOX_MAX_RUNS", MEMBER(max_runs), KIND_NUMBER, 1024, 0, 65536},
    {"SANDBOX_MAX_JOBS", MEMBER(max_jobs), KIND_NUMBER, 1024, 0, 65536},
    {"SANDBOX_MAX_TERMINALS", MEMBER(max_terminals), KIND_NUMBER, 256, 0, 65536},
    {"SANDBOX_MAX_ATTACHED", MEMBER(max_attached), KIND_NUMBER, 1024, 0, 65536},
    {"SANDBOX_MAX_STREAMS", MEMBER(max_streams), KIND_NUMBER, 0, 0, 65536},
    {"SANDBOX_MAX_TRANSFERS", MEMBER(max_transfers), KIND_NUMBER, 64, 0, 65536},
    {"SANDBOX_MAX_BODY", MEMBER(max_body), KIND_SIZE, 256 * MIB, 0, SIZE_MOST},
    {"SANDBOX_MAX_UPLOAD", MEMBER(max_upload), KIND_SIZE, 16 * GIB, 0, SIZE_MOST},
    {"SANDBOX_MAX_UPLOADS", MEMBER(max_uploads), KIND_NUMBER, 256, 0, 65536},
    {"SANDBOX_MIN_FREE", MEMBER(min_free), KIND_SIZE, 0, 0, SIZE_MOST},
    {"SANDBOX_MAX_OUTPUT", MEMBER(max_output), KIND_SIZE, 0, 0, SIZE_MOST},
    {"SANDBOX_MAX_FAILED_AUTH", MEMBER(max_failed_auth), KIND_NUMBER, 10, 0, 1000000},
    {"SANDBOX_MAX_HELD", MEMBER(max_held), KIND_NUMBER, 1000, 0, 65536},
    {"SANDBOX_PORT_WAIT", MEMBER(port_wait_ms), KIND_TIME, 10 * SECOND, 0, HOUR},
    {"SANDBOX_MAX_TIMEOUT", MEMBER(max_timeout_ms), KIND_TIME, 0, 0, TIME_MOST},
    {"SANDBOX_MAX_LINK_LIFETIME", MEMBER(max_link_lifetime_ms), KIND_TIME, 7 * DAY, 0, 3650 * DAY},
    {"SANDBOX_READER_TIMEOUT", MEMBER(reader_timeout_ms), KIND_TIME, HOUR, SECOND, TIME_MOST},
    {"SANDBOX_HTTP_KEEPALIVE", MEMBER(http_keepalive_ms), KIND_TIME, KEEPALIVE_MS, 0, TIME_MOST},
    {"SANDBOX_STREAM_KEEPALIVE", MEMBER(stream_keepalive_ms), KIND_TIME, 45 * SECOND, SECOND, DAY},
    {"SANDBOX_UPLOAD_LIFETIME", MEMBER(upload_lifetime_ms), KIND_TIME, DAY, SECOND, 3650 * DAY},
    {"SANDBOX_STOP_GRACE", MEMBER(stop_grace_ms), KIND_TIME, 4 * SECOND, 0, 10 * MINUTE},
    {"SANDBOX_ALLOW_SETUID", MEMBER(allow_setuid), KIND_NUMBER, 0, 0, 1},
    {"SANDBOX_LIMIT_NOFILE", MEMBER(limit_nofile), KIND_NUMBER, 0, 0, 1U << 30},
    {"SANDBOX_LIMIT_NPROC", MEMBER(limit_nproc), KIND_NUMBER, 0, 0, 1U << 22},
    {"SANDBOX_LIMIT_FSIZE", MEMBER(limit_fsize), KIND_SIZE, 0, 0, SIZE_MOST},
    {"SANDBOX_LIMIT_CPU", MEMBER(limit_cpu_ms), KIND_TIME, 0, 0, 3650 * DAY},
    {"SANDBOX_LIMIT_AS", MEMBER(limit_as), KIND_SIZE, 0, 0, SIZE_MOST},
    {"SANDBOX_MEMORY_MAX", MEMBER(memory_max), KIND_SIZE, 0, 0, SIZE_MOST},
    {"SANDBOX_PIDS_MAX", MEMBER(pids_max), KIND_NUMBER, 0, 0, PIDS_MAX_MOST},
    {"SANDBOX_CPU_MAX", MEMBER(cpu_max), KIND_NUMBER, 0, 0, CPU_MAX_MOST},
};

struct suffix {
    const char *text;
    uint64_t factor;
};

static const struct suffix suffixes[][6] = {
    [KIND_NUMBER] = {{"", 1}},
    [KIND_SIZE] = {{"", 1}, {"k", KIB}, {"m", MIB}, {"g", GIB}},
    [KIND_TIME] = {{"", SECOND}, {"ms", 1}, {"s", SECOND}, {"m", MINUTE}, {"h", HOUR}, {"d", DAY}},
};

/* The factor of a suffix, 0 for an unknown one. */
static uint64_t suffix_factor(enum kind kind, const char *suffix)
{
    for (size_t i = 0; i < sizeof(suffixes[kind]) / sizeof(suffixes[kind][0]); i++) {
        const struct suffix *known = &suffixes[kind][i];
        if (known->text != NULL && strcasecmp(known->text, suffix) == 0) {
            return known->factor;
        }
    }
    return 0;
}

/* Digits, and a suffix where the kind has one; no sign and no space. */
static bool parse_value(const struct variable *variable, const char *text, uint64_t *value)
{
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number)) {
            return false;
        }
    }
    uint64_t factor = at == text ? 0 : suffix_factor(variable->kind, at);
    if (factor == 0 || __builtin_mul_overflow(number, factor, &number)) {
        return false;
    }
    *value = number;
    return number >= variable->least && number <= variable->most;
}

/* Logs what the variable takes. */
static int explain_range(const struct variable *variable, const struct variables *from)
{
    const char *name = variable->name;
    unsigned long long least = variable->least;
    unsigned long long most = variable->most;
    char range[40] = "";
    switch (variable->kind) {
    case KIND_NUMBER:
        return variables_fail(from, "%s must be a number from %llu to %llu", name, least, most);
    case KIND_SIZE:
        if (least > 0) {
            (void)snprintf(range, sizeof(range), " of at least %llu", least);
        }
        return variables_fail(from, "%s must be a number of bytes%s, which may end in k, m or g",
                              name, range);
    case KIND_TIME: break;
    }
    bool in_days = most % DAY == 0;
    return variables_fail(
        from,
        "%s must be a time from %llus to %llu%c, in seconds or with ms, s, m, h or d after it",
        name, least / SECOND, most / (in_days ? DAY : MINUTE), in_days ? 'd' : 'm');
}

static int read_variable(const struct variable *variable, const struct variables *from,
                         struct settings *settings)
{
    const char *text = variables_get(from, variable->name);
    uint64_t value = variable->fallback;
    if (text != NULL && !parse_value(variable, text, &value)) {
        return explain_range(variable, from);
    }
    memcpy((char *)settings + variable->offset, &value, sizeof(value));
    return 0;
}

/* In upper or lower case. There is nothing below debug. */
static int read_log_level(const struct variables *from, int *level)
{
    static const struct {
        const char *name;
        int level;
    } levels[] = {{"error", LOG_ERR}, {"warn", LOG_WARNING}, {"notice", LOG_NOTICE},
                  {"info", LOG_INFO}, {"debug", LOG_DEBUG},  {"trace", LOG_DEBUG}};
    const char *text = variables_get(from, "LOG_LEVEL");
    *level = LOG_NOTICE;
    for (size_t i = 0; text != NULL && i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcasecmp(levels[i].name, text) == 0) {
            *level = levels[i].level;
            return 0;
        }
    }
    return text == NULL ? 0
                        : variables_fail(
                              from, "LOG_LEVEL must be error, warn, notice, info, debug or trace");
}

/* on or off, which is the default. */
static int read_public_ports(const struct variables *from, bool *on)
{
    const char *text = variables_get(from, "SANDBOX_PUBLIC_PORTS");
    *on = text != NULL && strcmp(text, "on") == 0;
    return text == NULL || *on || strcmp(text, "off") == 0
               ? 0
               : variables_fail(from, "SANDBOX_PUBLIC_PORTS must be on or off");
}

/* What no row of the table says. A cgroup is tried later, by cgroup_open(); a home may be made
 * later. */
static int check_settings(const struct settings *settings, const struct variables *from)
{
    const char *cgroup = settings->cgroup;
    if (settings->port == settings->proxy_port) {
        return variables_fail(from, "PROXY_PORT must not be PORT (both are %llu)",
                              (unsigned long long)settings->port);
    }
    if (settings->memory_max != 0 && settings->memory_max < MEMORY_MAX_LEAST) {
        return variables_fail(from, "SANDBOX_MEMORY_MAX must be 0 or at least %llu",
                              (unsigned long long)MEMORY_MAX_LEAST);
    }
    if (strcmp(cgroup, "auto") != 0 && strcmp(cgroup, "off") != 0 && cgroup[0] != '/') {
        return variables_fail(from, "SANDBOX_CGROUP must be auto, off or the absolute path of a "
                                    "cgroup v2 directory");
    }
    if (settings->home != NULL && settings->home[0] != '/') {
        return variables_fail(from, HOME_VARIABLE " must be the absolute path of a directory");
    }
    return 0;
}

int settings_read(struct settings *settings, const struct variables *from)
{
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        if (read_variable(&variables[i], from, settings) < 0) {
            return -1;
        }
    }
    const char *cgroup = variables_get(from, "SANDBOX_CGROUP");
    settings->cgroup = cgroup == NULL ? "auto" : cgroup;
    settings->home = variables_get(from, HOME_VARIABLE);
    settings->user = variables_get(from, "SANDBOX_USER"); /* user_find() looks for it */
    return read_log_level(from, &settings->log_level) < 0 ||
                   read_public_ports(from, &settings->public_ports) < 0
               ? -1
               : check_settings(settings, from);
}

int settings_take(struct settings *settings)
{
    if (settings_read(settings, NULL) < 0) {
        return -1;
    }
    logger_set_level(settings->log_level);
    return 0;
}

static bool is_server_variable(const char *entry)
{
    static const char *const beginnings[] = {"PORT=", "PROXY_PORT=", "SANDBOX_"};
    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        if (strncmp(entry, beginnings[i], strlen(beginnings[i])) == 0) {
            return true;
        }
    }
    return false;
}

void settings_leave_environment(void)
{
    char **kept = environ;
    for (char **entry = environ; *entry != NULL; entry++) {
        if (!is_server_variable(*entry)) {
            *kept++ = *entry;
        }
    }
    *kept = NULL;
}
