/*
 * A snippet of nginx/ is copied once, with the settings in it. What is there once for each sandbox
 * or prefix is put together piece by piece, in generated/.
 */
#include "launcher/render/render.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "api/statuses.h"
#include "common/cleanup.h"
#include "common/logger.h"
#include "launcher/base/file.h"
#include "launcher/render/generated.h"
#include "launcher/render/locations.h"
#include "launcher/render/render_cors.h"
#include "launcher/render/render_secrets.h"
#include "launcher/start/nginx_log.h"
#include "launcher/start/run_dir.h"

/* The longest line of an address: LISTEN_TEXT_SIZE and these words. */
#define LINES_SIZE ((size_t)LISTEN_ADDRESSES_MOST * (LISTEN_TEXT_SIZE + 80))

static int render_fail(const char *path)
{
    return log_failure("%s: %m", path);
}

/* Copies tree/`name`. */
static int copy(const struct rendering *r, const struct words *words, const char *name)
{
    struct generated file;
    generated_begin(&file, name);
    generated_append(r, &file, name, words);
    return generated_write(r, &file, name, 0644);
}

static int is_conf(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot != NULL && strcmp(dot, ".conf") == 0;
}

static int copy_snippets(const struct rendering *r, const struct words *words)
{
    char directory[PATH_MAX + 10];
    (void)snprintf(directory, sizeof(directory), "%s/snippets", r->layout->tree);
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, is_conf, alphasort);
    if (count < 0) {
        return render_fail(directory);
    }
    int result = 0;
    for (int i = 0; i < count; i++) {
        char name[300];
        (void)snprintf(name, sizeof(name), "snippets/%s", entries[i]->d_name);
        if (result == 0) {
            result = copy(r, words, name);
        }
        free(entries[i]);
    }
    free(entries);
    return result;
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

/* Maps a request to its sandbox, and to its path there (none outside of the prefixes), and makes an
 * upstream for each sandbox. */
static int generate_sandboxes(const struct rendering *r)
{
    static const char name[] = "generated/sandboxes.conf";
    struct generated file;
    generated_begin(&file, name);
    generated_print(&file, "map $%s $nginx_sandbox {\n%s}\nmap $uri $nginx_sandbox_path {\n",
                    r->site->map_key, r->site->map_entries);
    for (size_t i = 0; i < r->site->prefixes.count; i++) {
        const char *prefix = r->site->prefixes.path[i];
        if (*prefix == '\0') {
            generated_print(&file, "default $uri;\n");
        } else {
            generated_print(&file, "\"~(?s)^%s(/.*)$\" $1;\n", prefix);
        }
    }
    generated_print(&file, "}\n");
    for (size_t i = 0; i < r->site->count; i++) {
        struct words words = {0};
        words_add(&words, "@NAME@", "%s", r->site->sandboxes[i].name);
        words_add(&words, DEFAULT_RUN_DIR, "%s", r->site->sandboxes[i].run);
        generated_append(r, &file, "templates/upstream.conf", &words);
    }
    return generated_write(r, &file, name, 0644);
}

/* A stream server for each sandbox, and their ports, which lead nowhere. */
static int generate_proxies(const struct rendering *r, unsigned long long connections)
{
    static const char name[] = "generated/proxies.conf";
    struct generated file;
    generated_begin(&file, name);
    generated_print(&file, "js_var $nginx_sandbox_proxy_ports \"");
    for (size_t i = 0; i < r->site->count; i++) {
        generated_print(&file, "%s%u", i == 0 ? "" : " ",
                        (unsigned)r->site->sandboxes[i].settings.proxy_port);
    }
    generated_print(&file, "\";\n");
    for (size_t i = 0; i < r->site->count; i++) {
        struct words words = {0};
        char lines[LINES_SIZE];
        listen_lines(&r->site->sandboxes[i].proxy_listen, lines);
        words_add(&words, DEFAULT_RUN_DIR, "%s", r->site->sandboxes[i].run);
        words_add(&words, "@LISTEN@", "%s", lines);
        words_add(&words, "@CONNECTIONS@", "%llu", connections);
        generated_append(r, &file, "templates/proxy.conf", &words);
    }
    return generated_write(r, &file, name, 0644);
}

/* The listener for Prometheus: its server, and a map from a path to its sandbox. Empty without one.
 * */
static int generate_metrics(const struct rendering *r)
{
    static const char name[] = "generated/metrics.conf";
    struct generated file;
    if (r->site->metrics.size == 0) {
        return generated_text(r, "metrics.conf", 0644, "%s", "");
    }
    generated_begin(&file, name);
    generated_print(&file, "map $uri $nginx_sandbox_scraped {\ndefault \"\";\n");
    generated_print(&file, "/metrics %s;\n", r->site->sandboxes[0].name);
    for (size_t i = 0; i < r->site->count; i++) {
        generated_print(&file, "/metrics/%s %s;\n", r->site->sandboxes[i].name,
                        r->site->sandboxes[i].name);
    }
    generated_print(&file, "}\ninclude %s/snippets/metrics.conf;\n", r->path);
    return generated_write(r, &file, name, 0644);
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
static int find_capacity(const struct rendering *r, struct capacity *capacity)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return render_fail("RLIMIT_NOFILE");
    }
    const rlim_t most = 1 << 20;
    capacity->descriptors = limit.rlim_max < most ? limit.rlim_max : most;
    capacity->connections = 2 * r->site->settings.max_connections + 4096;
    if (capacity->connections > capacity->descriptors) {
        capacity->connections = capacity->descriptors;
    }
    return 0;
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
}

int render_snippets(const struct rendering *r)
{
    struct words words = {0};
    struct capacity capacity;
    add_snippet_words(r, &words);
    if (file_make_dir(r->directory, "snippets", 0711) < 0 ||
        file_make_dir(r->directory, "generated", 0711) < 0) {
        return render_fail(r->path);
    }
    /* A connection through PROXY_PORT takes two of nginx's and needs no token: all of them in one
     * worker leave it half. */
    if (copy(r, &words, "proxy.js") < 0 || copy(r, &words, "token.js") < 0 ||
        (r->site->metrics.size > 0 && copy(r, &words, "metrics.txt") < 0) ||
        copy_snippets(r, &words) < 0 || find_capacity(r, &capacity) < 0 ||
        generate_sandboxes(r) < 0 || locations_generate(r) < 0 ||
        generate_proxies(r, capacity.connections / 4) < 0 || render_cors(r) < 0 ||
        generate_metrics(r) < 0) {
        return -1;
    }
    return render_secrets(r);
}

/* The directive for the access log. 0, or -1 after one line. */
static int add_access_log(const struct rendering *r, const struct worker_user *worker,
                          const char *path, struct words *words)
{
    static const char word[] = "@ACCESS_LOG@";
    static const char format[] = " nginx_sandbox if=$nginx_sandbox_loggable;";
    if (path != NULL && strcmp(path, "off") == 0) {
        words_add(words, word, "access_log off;");
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

static void add_modules(const struct rendering *r, const struct worker_user *worker,
                        unsigned long long descriptors, struct words *words)
{
    char http_js[PATH_MAX + 20] = "";
    if (worker == NULL) {
        words_add(words, "@MODULES@", "%s", "");
        return;
    }
    if (render_needs_http_js(r)) {
        (void)snprintf(http_js, sizeof(http_js), "load_module %s;\n", r->layout->http_js_module);
    }
    words_add(words, "@MODULES@",
              "load_module %s;\nload_module %s;\n%s%sworker_processes %d;\n"
              "worker_rlimit_nofile %llu;",
              r->layout->stream_module, r->layout->stream_js_module, http_js, worker->directive,
              worker_count(), descriptors);
}

int render_frame(const struct rendering *r, const struct listen_addresses *listen,
                 const struct worker_user *worker, const char *access_log)
{
    struct words words = {0};
    struct capacity capacity;
    char lines[LINES_SIZE];
    listen_lines(listen, lines);
    if (find_capacity(r, &capacity) < 0) {
        return -1;
    }
    words_add(&words, DEFAULT_CONF_DIR, "%s", r->path);
    words_add(&words, "@LISTEN@", "%s", lines);
    words_add(&words, "@KEEPALIVE@", "%llums",
              (unsigned long long)r->site->settings.http_keepalive_ms);
    words_add(&words, "@CONNECTIONS@", "%llu", capacity.connections);
    add_modules(r, worker, capacity.descriptors, &words);
    return add_access_log(r, worker, access_log, &words) < 0 ? -1 : copy(r, &words, "nginx.conf");
}
