#include "launcher/machine/installation.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/logger.h"
#include "launcher/base/setting_names.h"
#include "launcher/machine/environment_file.h"
#include "launcher/machine/sandbox_map.h"
#include "launcher/pool/claim.h"
#include "launcher/render/listen_address.h"
#include "launcher/start/listener.h"
#include "launcher/start/run_dir.h"

#define LOCK_FILE ".lock" /* in `etc` */

#define SHARED_NAME "nginx-sandbox" /* of the file with the settings of all */
#define MAP_NAME    "map"

#define ROUTE_BY "SANDBOX_ROUTE_BY"

#define CREDENTIALS "CREDENTIALS_DIRECTORY" /* systemd.exec(5) */

bool installation_is_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= SANDBOX_NAME_MOST && name[0] != '-' &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0' &&
           strcmp(name, SHARED_NAME) != 0 && strcmp(name, MAP_NAME) != 0;
}

bool installation_check_name(const char *name)
{
    bool is_good = installation_is_name(name);
    if (!is_good) {
        log_line("%s is no name of a sandbox: that has a-z, 0-9 and -, at most %d", name,
                 SANDBOX_NAME_MOST);
    }
    return is_good;
}

/* Whether `file` is NAME`suffix`, and that name. */
static bool cut_suffix(const char *file, const char *suffix, char name[NAME_MAX + 1])
{
    size_t length = strlen(file);
    size_t cut = strlen(suffix);
    if (file[0] == '.' || length <= cut || strcmp(file + length - cut, suffix) != 0) {
        return false;
    }
    (void)snprintf(name, NAME_MAX + 1, "%.*s", (int)(length - cut), file);
    return true;
}

static int by_name(const void *one, const void *other)
{
    return strcmp(((const struct sandbox *)one)->name, ((const struct sandbox *)other)->name);
}

static int add_sandbox(struct site *site, const char *name)
{
    struct sandbox *sandboxes =
        reallocarray(site->sandboxes, site->count + 1, sizeof(*site->sandboxes));
    if (sandboxes == NULL) {
        return log_failure("%s: %m", name);
    }
    site->sandboxes = sandboxes;
    struct sandbox *added = &sandboxes[site->count++];
    *added = (struct sandbox){0};
    memcpy(added->name, name, strlen(name) + 1);
    return 0;
}

/* Adds a sandbox for each file NAME.secret in `directory`, unless it is there already. */
static int add_sandboxes(struct site *site, const char *directory)
{
    char name[NAME_MAX + 1];
    cleanup_directory DIR *entries = opendir(directory);
    if (entries == NULL) {
        return log_failure("%s: %m", directory);
    }
    for (const char *file; (file = directory_next(entries)) != NULL;) {
        bool is_secret = cut_suffix(file, ".secret", name);
        if (is_secret && !installation_is_name(name)) {
            return log_failure(
                "%s/%s: a sandbox's name has lower-case letters, digits and -, at most %d",
                directory, file, SANDBOX_NAME_MOST);
        }
        if (is_secret && !site_has(site, name) && add_sandbox(site, name) < 0) {
            return -1;
        }
    }
    return errno == 0 ? 0 : log_failure("%s: %m", directory);
}

/* `credentials` is the directory of systemd credentials of this process, or NULL. */
static int find_sandboxes(struct site *site, const char *etc, const char *credentials)
{
    if (add_sandboxes(site, etc) < 0 ||
        (credentials != NULL && add_sandboxes(site, credentials) < 0)) {
        return -1;
    }
    if (site->count == 0) {
        return log_failure("%s: there is no sandbox: no NAME.secret", etc);
    }
    qsort(site->sandboxes, site->count, sizeof(*site->sandboxes), by_name);
    return 0;
}

/* Settings without a sandbox of that name are a mistake. */
static int check_settings_files(const struct site *site, const char *etc)
{
    char name[NAME_MAX + 1];
    cleanup_directory DIR *entries = opendir(etc);
    if (entries == NULL) {
        return log_failure("%s: %m", etc);
    }
    for (const char *file; (file = directory_next(entries)) != NULL;) {
        if (cut_suffix(file, ".conf", name) && strcmp(name, SHARED_NAME) != 0 &&
            strcmp(name, MAP_NAME) != 0 && !site_has(site, name)) {
            return log_failure("%s/%s: the sandbox has no secret: %s.secret", etc, file, name);
        }
    }
    return errno == 0 ? 0 : log_failure("%s: %m", etc);
}

/* Reads NAME.conf. */
static int read_settings_file(struct variables *variables, const char *etc, const char *name)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%s.conf", etc, name);
    return environment_file_read(variables, path);
}

static int read_settings(struct settings *settings, struct cors_origins *cors,
                         const struct variables *from)
{
    return settings_read(settings, from) < 0 ? -1 : cors_origins_read(cors, from);
}

static int read_shared(struct site *site, const char *etc)
{
    struct variables *variables = &site->variables;
    if (read_settings_file(variables, etc, SHARED_NAME) < 0) {
        return -1;
    }
    setting_names_warn(variables);
    if (read_settings(&site->settings, &site->cors, variables) < 0 ||
        metrics_address_read(&site->metrics, variables) < 0 ||
        port_front_read(&site->ports, variables) < 0 ||
        prefixes_read(&site->prefixes, variables, false) < 0) {
        return -1;
    }
    const char *key = variables_get(variables, ROUTE_BY);
    site->map_key = key == NULL ? "host" : key;
    if (key != NULL && key[strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_")] != '\0') {
        return variables_fail(variables,
                              ROUTE_BY " must be the name of an nginx variable, such as host or "
                                       "http_x_routing_key");
    }
    return 0;
}

/* nginx has one value of these settings for all sandboxes. */
static int refuse_shared(const struct variables *variables)
{
    static const char *const shared[] = {PREFIX_VARIABLE,          ROUTE_BY,
                                         METRICS_VARIABLE,         PORT_DOMAIN_VARIABLE,
                                         PORT_HOST_VARIABLE,       TRUSTED_VARIABLE,
                                         "SANDBOX_MAX_BODY",       "SANDBOX_MAX_FAILED_AUTH",
                                         "SANDBOX_READER_TIMEOUT", "SANDBOX_HTTP_KEEPALIVE",
                                         "SANDBOX_MAX_UPLOAD"};
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++) {
        if (variables_get(variables, shared[i]) != NULL) {
            return variables_fail(variables,
                                  "nginx has one %s for all sandboxes: it belongs into %s.conf",
                                  shared[i], SHARED_NAME);
        }
    }
    return 0;
}

static int read_sandbox(struct site *site, struct sandbox *sandbox, const char *etc,
                        const char *state, const char *credentials)
{
    struct variables *variables = &sandbox->variables;
    char path[PATH_MAX];
    if (credentials == NULL ||
        snprintf(path, sizeof(path), "%s/%s.secret", credentials, sandbox->name) < 0 ||
        access(path, F_OK) < 0) {
        (void)snprintf(path, sizeof(path), "%s/%s.secret", etc, sandbox->name);
    }
    if (read_settings_file(variables, etc, sandbox->name) < 0 || refuse_shared(variables) < 0) {
        return -1;
    }
    setting_names_warn(variables);
    variables->shared = &site->variables;
    if (read_settings(&sandbox->settings, &sandbox->cors, variables) < 0 ||
        port_rules_read(&sandbox->ports, variables) < 0 ||
        listen_addresses_read(&sandbox->proxy_listen, variables, PROXY_LISTEN_VARIABLE,
                              (unsigned)sandbox->settings.proxy_port, listener_has_ipv6()) < 0 ||
        secret_read_file(&site->salt, path, &sandbox->secrets) < 0) {
        return -1;
    }
    const char *mode = variables_get(variables, AUTH_MODE_VARIABLE);
    if (!claim_is_secret_mode(mode)) {
        return variables_fail(variables, AUTH_MODE_VARIABLE "=%s is for a server of its own", mode);
    }
    int length = snprintf(sandbox->run, sizeof(sandbox->run), "%s/%s", state, sandbox->name);
    if (length > RUN_DIR_MOST) {
        return log_failure("%s: is too long for the sockets in it", sandbox->run);
    }
    return 0;
}

static int check_ports(const struct site *site)
{
    unsigned metrics = listen_address_port(&site->metrics);
    for (size_t i = 0; i < site->count; i++) {
        const struct sandbox *one = &site->sandboxes[i];
        if (one->settings.proxy_port == metrics) {
            return log_failure(METRICS_VARIABLE
                               " has the PROXY_PORT of %s, %u: it needs a port of its own",
                               one->name, metrics);
        }
        for (size_t j = 0; j < i; j++) {
            const struct sandbox *other = &site->sandboxes[j];
            if (one->settings.proxy_port == other->settings.proxy_port) {
                return log_failure("%s and %s have the same PROXY_PORT, %llu: set it in %s.conf",
                                   other->name, one->name,
                                   (unsigned long long)one->settings.proxy_port, one->name);
            }
        }
    }
    return 0;
}

int installation_lock(int directory, const char *etc)
{
    cleanup_fd int lock =
        openat(directory, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0) {
        return log_failure("%s/" LOCK_FILE ": %m", etc);
    }
    return steal_fd(&lock);
}

int installation_read(struct site *site, const char *etc, const char *state)
{
    const char *credentials = getenv(CREDENTIALS);
    *site = (struct site){0};
    if (secret_make_salt(&site->salt) < 0 || find_sandboxes(site, etc, credentials) < 0 ||
        check_settings_files(site, etc) < 0 || read_shared(site, etc) < 0) {
        return -1;
    }
    for (size_t i = 0; i < site->count; i++) {
        if (read_sandbox(site, &site->sandboxes[i], etc, state, credentials) < 0) {
            return -1;
        }
    }
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/" MAP_NAME ".conf", etc);
    site->map_entries = sandbox_map_read(path, site);
    return site->map_entries == NULL ? -1 : check_ports(site);
}

void installation_free(struct site *site)
{
    for (size_t i = 0; i < site->count; i++) {
        cors_origins_free(&site->sandboxes[i].cors);
        variables_free(&site->sandboxes[i].variables);
    }
    cors_origins_free(&site->cors);
    free(site->sandboxes);
    prefixes_free(&site->prefixes);
    variables_free(&site->variables);
    free(site->map_entries);
    *site = (struct site){0};
}
