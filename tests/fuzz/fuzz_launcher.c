/*
 * What the launcher reads: a file of settings, a request for the claim of a pool, the file of the
 * claim, a file of secrets, the map of several sandboxes, lists of prefixes, of origins and of
 * addresses, and names of settings. The first byte tells which, the rest is its content. What it
 * says of damage goes nowhere, but is put together.
 */
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/scgi_request.h"
#include "common/variables.h"
#include "launcher/base/setting_names.h"
#include "launcher/base/subcommand.h"
#include "launcher/machine/environment_file.h"
#include "launcher/machine/sandbox_map.h"
#include "launcher/pool/claim.h"
#include "launcher/render/cors_origins.h"
#include "launcher/render/listen_address.h"
#include "launcher/render/prefix.h"
#include "launcher/render/rendering.h"
#include "launcher/secrets/secret.h"
#include "tests/fuzz/fuzz.h"

/* For log_line(). NOLINTBEGIN(bugprone-reserved-identifier): the linker's names (ld
 * --wrap) */
void __wrap_log_request(int level, const char *request_id, const char *format, ...);

static char line[4096]; /* the last that was logged */

__attribute__((format(printf, 3, 4))) void __wrap_log_request(int level, const char *request_id,
                                                              const char *format, ...)
{
    va_list arguments;
    (void)level;
    (void)request_id;
    va_start(arguments, format);
    assert(vsnprintf(line, sizeof(line), format, arguments) > 0);
    va_end(arguments);
}

/* NOLINTEND(bugprone-reserved-identifier) */

/* One setting that has the content. */
static struct variables as_variables(const char *name, const char *value)
{
    struct variables variables = {.where = strdup("file")};
    assert(variables.where != NULL && variables_add(&variables, name, value) == 0);
    return variables;
}

/* The last line is about this setting of the file. */
static void check_line(const char *name)
{
    assert(strncmp(line, "file: ", 6) == 0 && strstr(line, name) == line + 6);
    assert(strchr(line, '\n') == NULL);
}

/* The content as a file, by its path. */
static const char *as_file(const struct input *input)
{
    static char path[PATH_MAX];
    char link[64];
    int directory = scratch_directory();
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, path, sizeof(path) - sizeof("/file"));
    assert(length > 0);
    (void)snprintf(path + length, sizeof("/file"), "/file");
    scratch_file("file", input->data, input->left);
    return path;
}

/* ---- a request ---- */

/* A value lies in the request whole, and one that is there is found. */
static void check_request(const struct input *input)
{
    cleanup_free char *text = malloc(input->left + 1);
    assert(text != NULL);
    memcpy(text, input->data, input->left);
    text[input->left] = '\0';
    const char *value = scgi_header(text, input->left, "AUTHORIZATION");
    assert(value == NULL || (value > text && value + strlen(value) + 1 < text + input->left));
}

static void check_made_request(const struct input *input)
{
    cleanup_free char *value = strndup((const char *)input->data, input->left);
    cleanup_free char *text = NULL;
    assert(value != NULL);
    size_t size =
        sizeof("CONTENT_LENGTH") + sizeof("0") + sizeof("AUTHORIZATION") + strlen(value) + 1;
    int length =
        asprintf(&text, "%zu:CONTENT_LENGTH%c0%cAUTHORIZATION%c%s%c,", size, 0, 0, 0, value, 0);
    assert(length > 0);
    const char *found = scgi_header(text, (size_t)length, "AUTHORIZATION");
    assert(found != NULL && strcmp(found, value) == 0);
    assert(scgi_header(text, (size_t)length - 1, "AUTHORIZATION") == NULL);
}

/* ---- files ---- */

static void check_claim(const char *path)
{
    struct claim claim;
    struct claim again;
    if (claim_read(path, &claim) < 0) {
        return;
    }
    assert(strlen(claim.salt.text) == sizeof(claim.salt.text) - 1);
    assert(unlink(path) == 0 && claim_write(path, &claim) == 1 && claim_write(path, &claim) == 0);
    assert(claim_read(path, &again) == 1 && memcmp(&claim, &again, sizeof(claim)) == 0);
}

static void check_environment(const char *path)
{
    struct variables variables = {0};
    (void)environment_file_read(&variables, path);
    for (size_t i = 0; i < variables.count; i++) {
        const char *value = strchr(variables.entries[i], '=');
        assert(value != NULL && value > variables.entries[i]);
        assert(strpbrk(value, "\"'\\\n") == NULL);
        assert(strcspn(variables.entries[i], " \n") >= (size_t)(value - variables.entries[i]));
    }
    variables_free(&variables);
}

static void check_secrets(const char *path)
{
    static const struct secret_salt salt = {"0123456789012345678901"};
    struct secrets secrets;
    if (secret_read_file(&salt, path, &secrets) == 0) {
        assert(secrets.count >= 1 && secrets.count <= SECRETS_MOST);
    }
}

/* As nginx reads it: "KEY NAME;" in each line, where nothing else ends or opens anything. */
static void check_entry(const char *entry, size_t length)
{
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        quoted = quoted != (entry[i] == '"');
        assert(quoted || i == length - 1 || strchr(";{}#'\\", entry[i]) == NULL);
    }
    assert(!quoted && entry[length - 1] == ';');
}

static void check_map(const char *path)
{
    static struct sandbox sandboxes[] = {{.name = "one"}, {.name = DEFAULT_SANDBOX}};
    static const struct site site = {.sandboxes = sandboxes, .count = 2};
    cleanup_free char *entries = sandbox_map_read(path, &site);
    const char *end;
    for (const char *entry = entries; entry != NULL && *entry != '\0'; entry = end + 1) {
        end = strchr(entry, '\n');
        assert(end != NULL && end > entry);
        check_entry(entry, (size_t)(end - entry));
    }
}

/* "" or "/a/b", and the longer ones first. */
static void check_prefixes(const struct input *input)
{
    cleanup_free char *setting = strndup((const char *)input->data, input->left);
    struct prefixes prefixes;
    assert(setting != NULL);
    struct variables variables = as_variables(PREFIX_VARIABLE, setting);
    int result = prefixes_read(&prefixes, &variables, true);
    variables_free(&variables);
    if (result < 0) {
        check_line(PREFIX_VARIABLE);
        return;
    }
    assert(prefixes.count >= 1 && prefixes.count <= PREFIXES_MOST);
    for (size_t i = 0; i < prefixes.count; i++) {
        const char *path = prefixes.path[i];
        size_t length = strlen(path);
        assert(length == 0 || (path[0] == '/' && path[length - 1] != '/'));
        assert(strpbrk(path, " ;{}$\"'\\#") == NULL);
        assert(i == 0 || length <= strlen(prefixes.path[i - 1]));
    }
    assert(prefixes.path[prefixes.count - 1][0] == '\0');
    prefixes_free(&prefixes);
}

/* Nothing that means something to nginx or in a header, and read again it is the same. */
static void check_origins(const struct input *input)
{
    cleanup_free char *setting = strndup((const char *)input->data, input->left);
    struct cors_origins origins;
    struct cors_origins again;
    assert(setting != NULL);
    struct variables variables = as_variables(CORS_VARIABLE, setting);
    if (cors_origins_read(&origins, &variables) < 0) {
        check_line(CORS_VARIABLE);
    }
    variables_free(&variables);
    assert(origins.count <= CORS_ORIGINS_MOST);
    for (size_t i = 0; i < origins.count; i++) {
        const char *origin = origins.origin[i];
        assert(origin[strspn(origin, "abcdefghijklmnopqrstuvwxyz0123456789+-._:/[]")] == '\0');
        variables = as_variables(CORS_VARIABLE, origin);
        assert(cors_origins_read(&again, &variables) == 0);
        variables_free(&variables);
        assert(again.count == 1 && strcmp(again.origin[0], origin) == 0);
        cors_origins_free(&again);
    }
    cors_origins_free(&origins);
}

/* Nothing that means something to nginx, and read again it is the same. */
static void check_addresses(const struct input *input)
{
    cleanup_free char *setting = strndup((const char *)input->data, input->left);
    struct listen_addresses addresses;
    struct listen_addresses again;
    assert(setting != NULL);
    struct variables variables = as_variables(LISTEN_VARIABLE, setting);
    int result = listen_addresses_read(&addresses, &variables, LISTEN_VARIABLE, 3030, true);
    variables_free(&variables);
    if (result < 0) {
        check_line(LISTEN_VARIABLE);
        return;
    }
    assert(addresses.count >= 1 && addresses.count <= LISTEN_ADDRESSES_MOST);
    for (size_t i = 0; i < addresses.count; i++) {
        char text[LISTEN_TEXT_SIZE];
        listen_address_format(&addresses.address[i], text);
        assert(strlen(text) < sizeof(text) - 1 && strpbrk(text, " ;{}$\"'\\#\n") == NULL);
        if (strncmp(text, "unix:", 5) != 0) {
            assert(strcmp(strrchr(text, ':'), ":3030") == 0);
            *strrchr(text, ':') = '\0';
        }
        variables = as_variables(LISTEN_VARIABLE, text);
        assert(listen_addresses_read(&again, &variables, LISTEN_VARIABLE, 3030, true) == 0);
        variables_free(&variables);
        assert(again.count == 1 && again.address[0].size == addresses.address[i].size &&
               memcmp(&again.address[0].any, &addresses.address[i].any, again.address[0].size) ==
                   0);
    }
}

/* A name that is near to a setting is none, and the setting is near to no other. */
static void check_name(const struct input *input)
{
    cleanup_free char *name = strndup((const char *)input->data, input->left);
    assert(name != NULL);
    const char *nearest = setting_names_nearest(name);
    assert(nearest == NULL || (strcmp(name, nearest) != 0 && strncmp(name, "SANDBOX_", 8) == 0));
    assert(nearest == NULL || setting_names_nearest(nearest) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    unsigned which = (unsigned)input_number(&input, 1) % 8;
    (void)scratch_directory(); /* which keeps a descriptor */
    int lowest = lowest_descriptor();
    switch (which) {
    case 0:
        check_request(&input);
        check_made_request(&input);
        break;
    case 1: check_environment(as_file(&input)); break;
    case 2: check_claim(as_file(&input)); break;
    case 3: check_secrets(as_file(&input)); break;
    case 4: check_map(as_file(&input)); break;
    case 5:
        check_prefixes(&input);
        check_origins(&input);
        break;
    case 6: check_addresses(&input); break;
    default: check_name(&input); break;
    }
    assert(lowest_descriptor() == lowest);
    return 0;
}
