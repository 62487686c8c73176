/*
 * A snippet of nginx/ is copied once, with the settings in it. What is there once for each sandbox
 * or prefix is put together piece by piece, in generated/.
 */
#include "launcher/render/render.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "api/statuses.h"
#include "common/cleanup.h"
#include "common/directory.h"
#include "common/logger.h"
#include "launcher/base/file.h"
#include "launcher/render/locations.h"
#include "launcher/render/render_cors.h"
#include "launcher/render/render_grants.h"
#include "launcher/render/render_ports.h"
#include "launcher/render/render_secrets.h"
#include "launcher/start/nginx_log.h"
#include "launcher/start/run_dir.h"

/* What stands in the files of nginx/ for the directory of a sandbox, and for that of the
 * configuration. */
#define DEFAULT_RUN_DIR  "/run/nginx-sandbox"
#define DEFAULT_CONF_DIR DEFAULT_RUN_DIR "/nginx"

/* The longest line of an address: LISTEN_TEXT_SIZE and these words. */
#define LINES_SIZE ((size_t)LISTEN_ADDRESSES_MOST * (LISTEN_TEXT_SIZE + 80))

static int render_fail(const char *path)
{
    return log_failure("%s: %m", path);
}

/* The text of tree/`name` with the words replaced, which the caller frees; NULL after one line. */
static char *template_text(const struct rendering *r, const struct words *words, const char *name)
{
    char path[PATH_MAX + 300];
    (void)snprintf(path, sizeof(path), "%s/%s", r->layout->tree, name);
    char *text = words_replace(words, path);
    if (text == NULL) {
        (void)render_fail(path);
    }
    return text;
}

/* Copies tree/`name`. */
static int copy(const struct rendering *r, const struct words *words, const char *name)
{
    cleanup_free char *text = template_text(r, words, name);
    if (text == NULL) {
        return -1;
    }
    return file_write(r->directory, name, 0644, text, strlen(text)) < 0 ? render_fail(name) : 0;
}

static int copy_snippets(const struct rendering *r, const struct words *words)
{
    char directory[PATH_MAX + 10];
    (void)snprintf(directory, sizeof(directory), "%s/snippets", r->layout->tree);
    cleanup_directory DIR *entries = opendir(directory);
    if (entries == NULL) {
        return render_fail(directory);
    }
    for (const char *entry; (entry = directory_next(entries)) != NULL;) {
        char name[300];
        const char *dot = strrchr(entry, '.');
        (void)snprintf(name, sizeof(name), "snippets/%s", entry);
        if (dot != NULL && strcmp(dot, ".conf") == 0 && copy(r, words, name) < 0) {
            return -1;
        }
    }
    return errno == 0 ? 0 : render_fail(directory);
}

/* Renders the `listen` lines. Probes find a peer that vanished without a word; a unix socket has
 * none. */
static void listen_lines(const struct listen_addresses *addresses, char lines[LINES_SIZE])
{
    size_t length = 0;
    for (size_t i = 0; i < addresses->count; i++) {
        char text[LISTEN_TEXT_SIZE];
        const char *start = i == 0 ? "" : "\n    ";
        listen_address_format(&addresses->address[i], text);
        int family = addresses->address[i].any.sa_family;
        length +=
            (size_t)snprintf(lines + length, LINES_SIZE - length, "%slisten %s%s backlog=4095%s;",
                             start, text, family == AF_INET6 ? " ipv6only=on" : "",
                             family == AF_UNIX ? "" : " so_keepalive=60s:15s:4");
    }
}

/* The same addresses for a second server: nginx takes their options once. */
static void listen_plainly(const struct listen_addresses *addresses, char lines[LINES_SIZE])
{
    size_t length = 0;
    for (size_t i = 0; i < addresses->count; i++) {
        char text[LISTEN_TEXT_SIZE];
        listen_address_format(&addresses->address[i], text);
        length += (size_t)snprintf(lines + length, LINES_SIZE - length, "%slisten %s;",
                                   i == 0 ? "" : "\n        ", text);
    }
}

/* Maps a request to its sandbox, and to its path there (none outside of the prefixes), and makes an
 * upstream for each sandbox. */
static int print_sandboxes(const struct rendering *r, FILE *out)
{
    bool has_names = r->site->count > 1;
    (void)fprintf(out, "map $%s $nginx_sandbox%s {\n%s}\n", r->site->map_key,
                  has_names ? "_routed" : "", r->site->map_entries);
    if (has_names) {
        ports_print_names(r, out);
    }
    (void)fprintf(out, "map $uri $nginx_sandbox_path {\n");
    for (size_t i = 0; i < r->site->prefixes.count; i++) {
        const char *prefix = r->site->prefixes.path[i];
        if (*prefix == '\0') {
            (void)fprintf(out, "default $uri;\n");
        } else {
            (void)fprintf(out, "\"~(?s)^%s(/.*)$\" $1;\n", prefix);
        }
    }
    (void)fprintf(out, "}\n");
    locations_print_raw_paths(r, out);
    for (size_t i = 0; i < r->site->count; i++) {
        struct words words = {0};
        words_add(&words, "@NAME@", "%s", r->site->sandboxes[i].name);
        words_add(&words, DEFAULT_RUN_DIR, "%s", r->site->sandboxes[i].run);
        cleanup_free char *upstream = template_text(r, &words, "templates/upstream.conf");
        if (upstream == NULL) {
            return -1;
        }
        (void)fputs(upstream, out);
    }
    return 0;
}

/* The listener for Prometheus: its server, and a map from a path to its sandbox. Nothing without
 * one. */
static int print_metrics(const struct rendering *r, FILE *out)
{
    if (r->site->metrics.size == 0) {
        return 0;
    }
    (void)fprintf(out,
                  "map $uri $nginx_sandbox_scraped {\ndefault \"\";\n"
                  "/metrics %s;\n",
                  r->site->sandboxes[0].name);
    for (size_t i = 0; i < r->site->count; i++) {
        const char *name = r->site->sandboxes[i].name;
        (void)fprintf(out, "/metrics/%s %s;\n", name, name);
    }
    (void)fprintf(out, "}\ninclude %s/snippets/metrics.conf;\n", r->path);
    return 0;
}

/* The descriptors that a worker may have, and how many connections. */
struct capacity {
    unsigned long long descriptors;
    unsigned long long connections;
};

/*
 * Two connections for each request in any one worker, and room beyond fcgi-app's own limit, so that
 * fcgi-app refuses requests and not nginx; as far as the limit of descriptors goes.
 */
static struct capacity find_capacity(const struct rendering *r)
{
    const rlim_t most = 1 << 20;
    struct rlimit limit = {.rlim_max = 0};
    (void)getrlimit(RLIMIT_NOFILE, &limit); /* fails for unknown ones only */
    rlim_t descriptors = limit.rlim_max < most ? limit.rlim_max : most;
    rlim_t wanted = 2 * r->site->settings.max_connections + 4096;
    return (struct capacity){.descriptors = descriptors,
                             .connections = wanted < descriptors ? wanted : descriptors};
}

/* A stream server for each sandbox, and their ports, which lead nowhere. */
static int print_proxies(const struct rendering *r, FILE *out)
{
    (void)fprintf(out, "js_var $nginx_sandbox_proxy_ports \"");
    for (size_t i = 0; i < r->site->count; i++) {
        (void)fprintf(out, "%s%u", i == 0 ? "" : " ",
                      (unsigned)r->site->sandboxes[i].settings.proxy_port);
    }
    (void)fprintf(out, "\";\n");
    for (size_t i = 0; i < r->site->count; i++) {
        struct words words = {0};
        char lines[LINES_SIZE];
        listen_lines(&r->site->sandboxes[i].proxy_listen, lines);
        words_add(&words, DEFAULT_RUN_DIR, "%s", r->site->sandboxes[i].run);
        words_add(&words, "@LISTEN@", "%s", lines);
        /* A connection through PROXY_PORT takes two of nginx's and needs no token: all of them in
         * one worker leave it half. */
        words_add(&words, "@CONNECTIONS@", "%llu", find_capacity(r).connections / 4);
        cleanup_free char *server = template_text(r, &words, "templates/proxy.conf");
        if (server == NULL) {
            return -1;
        }
        (void)fputs(server, out);
    }
    return 0;
}

/* What is there once for each sandbox or prefix. `print` returns 0, or -1 after one line. */
static const struct generated {
    const char *name;
    mode_t mode;
    int (*print)(const struct rendering *r, FILE *out);
} generated[] = {
    {"generated/sandboxes.conf", 0644, print_sandboxes},
    {"generated/locations.conf", 0644, locations_print},
    {"generated/proxies.conf", 0644, print_proxies},
    {"generated/ports.conf", 0644, ports_print},
    {"generated/cors.conf", 0644, cors_print},
    {"generated/metrics.conf", 0644, print_metrics},
    {"generated/secrets.conf", 0600, secrets_print},
    {"generated/token.conf", 0600, token_print},
    {"generated/grants.conf", 0600, grants_print},
    {"generated/shares.js", 0644, shares_print},
};

/* Puts a file together in memory and writes it. */
static int generate(const struct rendering *r, const struct generated *file)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL) {
        return render_fail(file->name);
    }
    int result = file->print(r, out);
    if (fclose(out) != 0 ||
        (result == 0 && file_write(r->directory, file->name, file->mode, text, length) < 0)) {
        return render_fail(file->name);
    }
    return result;
}

/* An address may send so many requests without the right token at once, and so many more each
 * second. 1 MiB holds about 8,000 addresses (nginx.org, limit_req_zone); when it is full the
 * address that was quiet for longest makes room. */
static void add_failed_auth(const struct rendering *r, struct words *words)
{
    unsigned long long rate = r->site->settings.max_failed_auth;
    char burst[40] = ""; /* beyond the first; nginx takes no burst of 0 */
    if (rate == 0) {
        words_add(words, "@FAILED_AUTH_ZONE@", "%s", "");
        words_add(words, "@FAILED_AUTH@", "%s", "");
        return;
    }
    if (rate > 1) {
        (void)snprintf(burst, sizeof(burst), " burst=%llu nodelay", rate - 1);
    }
    words_add(words, "@FAILED_AUTH_ZONE@",
              "limit_req_zone $nginx_sandbox_stranger zone=nginx_sandbox_failed_auth:4m "
              "rate=%llur/s;",
              rate);
    words_add(words, "@FAILED_AUTH@",
              "limit_req zone=nginx_sandbox_failed_auth%s;\n    limit_req_dry_run off;", burst);
}

/* What nginx says for its own errors, by their status. */
static void add_errors(struct words *words)
{
    char messages[WORDS_TEXT_MAX] = "";
    char codes[WORDS_TEXT_MAX] = "";
    for (size_t i = 0; i < API_STATUS_COUNT; i++) {
        const struct api_status *one = &api_statuses[i];
        if (one->message == NULL) {
            continue;
        }
        size_t length = strlen(messages);
        (void)snprintf(messages + length, sizeof(messages) - length, "\n    %d       \"%s\";",
                       one->status, one->message);
        length = strlen(codes);
        (void)snprintf(codes + length, sizeof(codes) - length, "\n    %d       %s;", one->status,
                       api_error_code(one->error));
    }
    words_add(words, "@MESSAGES@", "default   \"" API_STATUS_MESSAGE "\";%s", messages);
    words_add(words, "@ERROR_CODES@", "default   %s;%s", api_error_code(ERROR_internal), codes);
}

/* What the snippets go by. */
static void add_snippet_words(const struct rendering *r, struct words *words)
{
    const struct settings *settings = &r->site->settings;
    char address[LISTEN_TEXT_SIZE] = "";
    words_add(words, DEFAULT_CONF_DIR, "%s", r->path);
    words_add(words, DEFAULT_RUN_DIR, "%s", r->site->sandboxes[0].run);
    words_add(words, "@MAX_BODY@", "%llu", (unsigned long long)settings->max_body);
    words_add(words, "@MAX_UPLOAD@", "%llu", (unsigned long long)settings->max_upload);
    words_add(words, "@READER_TIMEOUT@", "%llums", (unsigned long long)settings->reader_timeout_ms);
    /* Without a setting the server block of another nginx keeps its own keepalive_timeout. */
    if (settings->http_keepalive_ms == KEEPALIVE_MS) {
        words_add(words, "@KEEPALIVE@", "%s", "");
    } else {
        words_add(words, "@KEEPALIVE@", "keepalive_timeout %llums;",
                  (unsigned long long)settings->http_keepalive_ms);
    }
    /* With buffers nginx cuts a stream that fcgi-app has not ended, and clients see that. But under
     * TLS nginx then keeps up to 16 KiB back until more comes: ngx_ssl_send_chain sends on a flush,
     * which buffered answers never ask for. */
    words_add(words, "@STREAM_BUFFERING@", "%s",
              r->may_have_tls ? "fastcgi_buffering off;"
                              : "fastcgi_buffering on;\n"
                                "fastcgi_ignore_headers X-Accel-Buffering;");
    if (r->site->metrics.size > 0) {
        listen_address_format(&r->site->metrics, address);
    }
    words_add(words, "@METRICS_LISTEN@", "%s%s", address, address[0] == '[' ? " ipv6only=on" : "");
    add_failed_auth(r, words);
    add_errors(words);
    render_secret_words(r, words);
    locations_add_words(words);
    ports_add_words(r, words);
    words_add(words, "@PORT_CONNECTIONS@", "%llu", find_capacity(r).connections / 4);
}

int render_snippets(const struct rendering *r)
{
    struct words words = {0};
    add_snippet_words(r, &words);
    if (file_make_dir(r->directory, "snippets", 0711) < 0 ||
        file_make_dir(r->directory, "generated", 0711) < 0) {
        return render_fail(r->path);
    }
    if (copy(r, &words, "proxy.js") < 0 || copy(r, &words, "token.js") < 0 ||
        copy(r, &words, "grant.js") < 0 || copy(r, &words, "ports.js") < 0 ||
        copy(r, &words, "share.js") < 0 ||
        (r->site->metrics.size > 0 &&
         (copy(r, &words, "metrics.txt") < 0 || copy(r, &words, "counts.js") < 0)) ||
        copy_snippets(r, &words) < 0) {
        return -1;
    }
    int result = 0;
    for (size_t i = 0; result == 0 && i < sizeof(generated) / sizeof(generated[0]); i++) {
        result = generate(r, &generated[i]);
    }
    return result;
}

/* The directive for the access log. 0, or -1 after one line. */
static int add_access_log(const struct rendering *r, const struct worker_user *worker,
                          const char *path, struct words *words)
{
    static const char word[] = "@ACCESS_LOG@";
    static const char format[] = " nginx_sandbox buffer=4k flush=1s if=$nginx_sandbox_loggable;";
    if (path != NULL && strcmp(path, "off") == 0) {
        /* `off` would hold for the files that count, too, and any of these replaces the default. */
        words_add(words, word, "%s", r->site->metrics.size > 0 ? "" : "access_log off;");
        return 0;
    }
    if (path == NULL) {
        words_add(words, word, "access_log %s/access.log%s", r->path, format);
        return 0;
    }
    if (path[0] != '/' || !run_dir_is_plain_path(path)) {
        return log_failure(ACCESS_LOG_VARIABLE
                           " must be off or an absolute path of plain characters");
    }
    if (worker != NULL && nginx_log_is_ours(path)) {
        words_add(words, word, "access_log " NGINX_LOG_STDERR "%s", format);
        return 0;
    }
    cleanup_fd int fd =
        open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644); /* as nginx will */
    if (fd < 0) {
        return log_failure(ACCESS_LOG_VARIABLE ": %s: %m", path);
    }
    char at[PATH_MAX];
    if (worker != NULL && !worker_user_may_reach(worker, path, at)) {
        log_at(LOG_WARNING,
               ACCESS_LOG_VARIABLE
               ": nginx's workers may not enter %s: after a rotation they could "
               "not open the log again",
               at);
    }
    words_add(words, word, "access_log %s%s", path, format);
    return 0;
}

/* As many workers as the server may use processors, but few, since each needs memory. */
static int worker_count(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 4 ? 4 : count;
}

/* What counts the uses of ports, where somebody may ask for it. */
static void add_counts(const struct rendering *r, struct words *words)
{
    static const char *const snippets[][2] = {{"@COUNTS@", "counts"},
                                              {"@STREAM_COUNTS@", "counts-stream"}};
    for (size_t i = 0; i < sizeof(snippets) / sizeof(snippets[0]); i++) {
        if (r->site->metrics.size > 0) {
            words_add(words, snippets[i][0], "include %s/snippets/%s.conf;", r->path,
                      snippets[i][1]);
        } else {
            words_add(words, snippets[i][0], "%s", "");
        }
    }
}

static void add_modules(const struct rendering *r, const struct worker_user *worker,
                        unsigned long long descriptors, struct words *words)
{
    if (worker == NULL) {
        words_add(words, "@MODULES@", "%s", "");
        return;
    }
    words_add(words, "@MODULES@",
              "load_module %s;\nload_module %s;\nload_module %s;\n%sworker_processes %d;\n"
              "worker_rlimit_nofile %llu;",
              r->layout->stream_module, r->layout->stream_js_module, r->layout->http_js_module,
              worker->directive, worker_count(), descriptors);
}

int render_frame(const struct rendering *r, const struct listen_addresses *listen,
                 const struct worker_user *worker, const char *access_log)
{
    struct words words = {0};
    const struct capacity capacity = find_capacity(r);
    char lines[LINES_SIZE];
    listen_lines(listen, lines);
    words_add(&words, DEFAULT_CONF_DIR, "%s", r->path);
    words_add(&words, "@LISTEN@", "%s", lines);
    listen_plainly(listen, lines);
    words_add(&words, "@LISTEN_AGAIN@", "%s", lines);
    ports_add_words(r, &words);
    words_add(&words, "@KEEPALIVE@", "%llums",
              (unsigned long long)r->site->settings.http_keepalive_ms);
    words_add(&words, "@CONNECTIONS@", "%llu", capacity.connections);
    add_modules(r, worker, capacity.descriptors, &words);
    add_counts(r, &words);
    return add_access_log(r, worker, access_log, &words) < 0 ? -1 : copy(r, &words, "nginx.conf");
}
