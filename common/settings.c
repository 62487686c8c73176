/*
 * The configuration table: one row for each variable, one parser for all of them.
 */
#include "common/settings.h"

#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

struct variable {
    const char *name;
    uint64_t fallback;
    uint64_t least;
    uint64_t most;
    bool is_size; /* takes a k, m or g at its end */
};

/* In bytes no more than a signed 64-bit file offset holds: nginx keeps sizes in an off_t. */
#define SIZE_MOST ((uint64_t)INT64_MAX)

static const struct variable port_variable = {"PORT", 3030, 1, 65535, false};
static const struct variable proxy_port_variable = {"PROXY_PORT", 3031, 1, 65535, false};
static const struct variable max_body_variable = {"SANDBOX_MAX_BODY", 256 * MIB, 0, SIZE_MOST,
                                                  true};
static const struct variable log_max_variable = {"SANDBOX_LOG_MAX", 64 * MIB, MIB, SIZE_MOST, true};
static const struct variable max_connections_variable = {"SANDBOX_MAX_CONNECTIONS", 4096, 16, 65536,
                                                         false};

/* The factor that a suffix stands for, 0 for what is none. */
static uint64_t suffix_factor(const char *suffix)
{
    if (suffix[0] == '\0') {
        return 1;
    }
    if (suffix[1] != '\0') {
        return 0;
    }
    switch (tolower((unsigned char)suffix[0])) {
    case 'k':
        return KIB;
    case 'm':
        return MIB;
    case 'g':
        return GIB;
    default:
        return 0;
    }
}

/* Digits, and a suffix where one may be; nothing else, no sign and no space. */
static bool parse(const struct variable *variable, const char *text, uint64_t *value)
{
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number)) {
            return false;
        }
    }
    uint64_t factor = at == text ? 0 : suffix_factor(at);
    if (factor == 0 || (factor != 1 && !variable->is_size) ||
        __builtin_mul_overflow(number, factor, &number)) {
        return false;
    }
    *value = number;
    return number >= variable->least && number <= variable->most;
}

static int read_variable(const struct variable *variable, uint64_t *value, char *error,
                         size_t error_size)
{
    const char *text = getenv(variable->name);
    *value = variable->fallback;
    if (text == NULL || text[0] == '\0' || parse(variable, text, value)) {
        return 0;
    }
    if (variable->is_size && variable->least == 0) {
        snprintf(error, error_size,
                 "%s must be a number of bytes, with k, m or g after it if you like",
                 variable->name);
    } else if (variable->is_size) {
        snprintf(
            error, error_size,
            "%s must be a number of bytes of at least %llu, with k, m or g after it if you like",
            variable->name, (unsigned long long)variable->least);
    } else {
        snprintf(error, error_size, "%s must be a number from %llu to %llu", variable->name,
                 (unsigned long long)variable->least, (unsigned long long)variable->most);
    }
    return -1;
}

int settings_read(struct settings *settings, char *error, size_t error_size)
{
    uint64_t port = 0;
    uint64_t proxy_port = 0;
    uint64_t max_connections = 0;
    if (read_variable(&port_variable, &port, error, error_size) < 0 ||
        read_variable(&proxy_port_variable, &proxy_port, error, error_size) < 0 ||
        read_variable(&max_body_variable, &settings->max_body, error, error_size) < 0 ||
        read_variable(&log_max_variable, &settings->log_max, error, error_size) < 0 ||
        read_variable(&max_connections_variable, &max_connections, error, error_size) < 0) {
        return -1;
    }
    if (port == proxy_port) {
        snprintf(error, error_size, "PROXY_PORT must not be PORT (both are %llu)",
                 (unsigned long long)port);
        return -1;
    }
    settings->port = (unsigned)port;
    settings->proxy_port = (unsigned)proxy_port;
    settings->max_connections = (unsigned)max_connections;
    return 0;
}
