/*
 * Rendering the configuration. A file that is written by name goes through generated_text(); one
 * that is put together piece by piece is a struct generated.
 */
#include "launcher/render/render.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "launcher/base/file.h"
#include "launcher/render/generated.h"
#include "launcher/start/nginx_log.h"
#include "launcher/start/run_dir.h"

/* Each of a list of addresses has a line, the longest LISTEN_TEXT_SIZE and these words. */
#define LINES_SIZE ((size_t)LISTEN_ADDRESSES_MOST * (LISTEN_TEXT_SIZE + 80))

static int fail(const char *path)
{
    log_line("%s: %m", path);
    return -1;
}

/* Copies tree/`name`. */
static int copy(const struct rendering *r, const char *name)
{
    const struct template_word words[] = {{DEFAULT_CONF_DIR, r->path}};
    struct generated file;
    generated_begin(&file, name);
    generated_append(r, &file, name, words, 1);
    return generated_write(r, &file, name, 0644);
}

static int is_conf(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot != NULL && strcmp(dot, ".conf") == 0;
}

static int copy_snippets(const struct rendering *r)
{
    char directory[PATH_MAX + 10];
    (void)snprintf(directory, sizeof(directory), "%s/snippets", r->layout->tree);
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, is_conf, alphasort);
    if (count < 0) {
        return fail(directory);
    }
    int result = 0;
    for (int i = 0; i < count; i++) {
        char name[300];
        (void)snprintf(name, sizeof(name), "snippets/%s", entries[i]->d_name);
        if (result == 0) {
            result = copy(r, name);
        }
        free(entries[i]);
    }
    free(entries);
    return result;
}

/* The lines that listen on these addresses. Probes find a peer that vanished without a word; over a
 * unix socket none does. */
static void listen_lines(const struct listen_addresses *addresses, char lines[LINES_SIZE])
{
    static const char backlog[] = "backlog=4095";
    static const char probes[] = "so_keepalive=60s:15s:4";
    size_t length = 0;
    for (size_t i = 0; i < addresses->count; i++) {
        char text[LISTEN_TEXT_SIZE];
        const char *start = i == 0 ? "" : "\n    ";
        listen_address_format(&addresses->address[i], text);
        switch (addresses->address[i].any.sa_family) {
        case AF_UNIX:
            length += (size_t)snprintf(lines + length, LINES_SIZE - length, "%slisten %s %s;",
                                       start, text, backlog);
            break;
        case AF_INET:
            length += (size_t)snprintf(lines + length, LINES_SIZE - length, "%slisten %s %s %s;",
                                       start, text, backlog, probes);
            break;
        default:
            length +=
                (size_t)snprintf(lines + length, LINES_SIZE - length,
                                 "%slisten %s ipv6only=on %s %s;", start, text, backlog, probes);
            break;
        }
    }
}

/* Which sandbox a request is for, its path there (none outside of the prefixes), and the upstreams.
 */
static int generate_sandboxes(const struct rendering *r)
{
    static const char name[] = "generated/sandboxes.conf";
    struct generated file;
    generated_begin(&file, name);
    if (file.stream != NULL) {
        (void)fprintf(file.stream,
                      "map $%s $nginx_sandbox {\n%s}\nmap $uri $nginx_sandbox_path {\n", r->map_key,
                      r->map_entries);
        for (size_t i = 0; i < r->prefixes->count; i++) {
            const char *prefix = r->prefixes->path[i];
            if (*prefix == '\0') {
                (void)fputs("default $uri;\n", file.stream);
            } else {
                (void)fprintf(file.stream, "\"~(?s)^%s(/.*)$\" $1;\n", prefix);
            }
        }
        (void)fputs("}\n", file.stream);
    }
    for (size_t i = 0; i < r->count; i++) {
        const struct template_word words[] = {{"@NAME@", r->sandboxes[i].name},
                                              {DEFAULT_RUN_DIR, r->sandboxes[i].run}};
        generated_append(r, &file, "templates/upstream.conf", words, 2);
    }
    return generated_write(r, &file, name, 0644);
}

/* Appends the API's locations below `prefix`. */
static void append_locations(const struct rendering *r, struct generated *file, const char *prefix)
{
    const struct template_word words[] = {{DEFAULT_CONF_DIR, r->path}, {"@PREFIX@", prefix}};
    if (*prefix == '\0') {
        generated_append(r, file, "templates/locations.conf", words, 2);
        return;
    }
    struct generated locations;
    generated_begin(&locations, prefix);
    generated_append(r, &locations, "templates/locations.conf", words, 2);
    if (locations.stream != NULL && fclose(locations.stream) == 0) {
        const struct template_word more[] = {words[0], words[1], {"@LOCATIONS@", locations.text}};
        generated_append(r, file, "templates/prefix.conf", more, 3);
    } else if (file->stream != NULL) {
        (void)fclose(file->stream);
        file->stream = NULL;
    }
    free(locations.text);
}

static int generate_locations(const struct rendering *r)
{
    static const char name[] = "generated/locations.conf";
    struct generated file;
    generated_begin(&file, name);
    for (size_t i = 0; i < r->prefixes->count; i++) {
        append_locations(r, &file, r->prefixes->path[i]);
    }
    return generated_write(r, &file, name, 0644);
}

/* A stream server for each sandbox, and their ports, which lead nowhere. */
static int generate_proxies(const struct rendering *r)
{
    static const char name[] = "generated/proxies.conf";
    struct generated file;
    generated_begin(&file, name);
    if (file.stream != NULL) {
        (void)fputs("js_var $nginx_sandbox_proxy_ports \"", file.stream);
        for (size_t i = 0; i < r->count; i++) {
            (void)fprintf(file.stream, "%s%u", i == 0 ? "" : " ", r->sandboxes[i].proxy_port);
        }
        (void)fputs("\";\n", file.stream);
    }
    for (size_t i = 0; i < r->count; i++) {
        char lines[LINES_SIZE];
        listen_lines(r->sandboxes[i].proxy_listen, lines);
        const struct template_word words[] = {{DEFAULT_CONF_DIR, r->path},
                                              {DEFAULT_RUN_DIR, r->sandboxes[i].run},
                                              {"@LISTEN@", lines}};
        generated_append(r, &file, "templates/proxy.conf", words, 3);
    }
    return generated_write(r, &file, name, 0644);
}

/*
 * So many 401s at once, and so many more in each second, from one address. 1 MiB is for about 8,000
 * addresses (nginx.org, limit_req_zone); where it is full the one that was quiet for longest makes
 * room.
 */
static int generate_failed_auth(const struct rendering *r)
{
    unsigned long long rate = r->settings->max_failed_auth;
    if (rate == 0) {
        return generated_text(r, "failed-auth-zone.conf", 0644, "%s", "") < 0
                   ? -1
                   : generated_text(r, "failed-auth.conf", 0644, "%s", "");
    }
    if (generated_text(r, "failed-auth-zone.conf", 0644,
                       "limit_req_zone $nginx_sandbox_stranger zone=nginx_sandbox_failed_auth:4m "
                       "rate=%llur/s;\n",
                       rate) < 0) {
        return -1;
    }
    char burst[40] = ""; /* beyond the first; nginx takes no burst of 0 */
    if (rate > 1) {
        (void)snprintf(burst, sizeof(burst), " burst=%llu nodelay", rate - 1);
    }
    return generated_text(r, "failed-auth.conf", 0644,
                          "limit_req zone=nginx_sandbox_failed_auth%s;\nlimit_req_dry_run off;\n",
                          burst);
}

/* The listener for Prometheus, if there is to be one: its server, and whose a path is. */
static int generate_metrics(const struct rendering *r)
{
    static const char name[] = "generated/metrics.conf";
    struct generated file;
    if (r->metrics->size == 0) {
        return generated_text(r, "metrics.conf", 0644, "%s", "");
    }
    char address[LISTEN_TEXT_SIZE];
    listen_address_format(r->metrics, address);
    if (copy(r, "metrics.txt") < 0 ||
        generated_text(r, "metrics-listen.conf", 0644, "listen %s%s;\n", address,
                       address[0] == '[' ? " ipv6only=on" : "") < 0) {
        return -1;
    }
    generated_begin(&file, name);
    if (file.stream != NULL) {
        (void)fprintf(file.stream, "map $uri $nginx_sandbox_scraped {\ndefault \"\";\n");
        (void)fprintf(file.stream, "/metrics %s;\n", r->sandboxes[0].name);
        for (size_t i = 0; i < r->count; i++) {
            (void)fprintf(file.stream, "/metrics/%s %s;\n", r->sandboxes[i].name,
                          r->sandboxes[i].name);
        }
        (void)fprintf(file.stream, "}\ninclude %s/snippets/metrics.conf;\n", r->path);
    }
    return generated_write(r, &file, name, 0644);
}

/* The descriptors that a worker may have, and how many connections. */
struct capacity {
    unsigned long long descriptors;
    unsigned long long connections;
};

/*
 * Two connections for each request in any one worker, and room beyond fcgi-app's own limit, so that
 * it is fcgi-app that refuses; as far as the descriptor limit goes.
 */
static int find_capacity(const struct rendering *r, struct capacity *capacity)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return fail("RLIMIT_NOFILE");
    }
    const rlim_t most = 1 << 20;
    capacity->descriptors = limit.rlim_max < most ? limit.rlim_max : most;
    capacity->connections = 2 * r->settings->max_connections + 4096;
    if (capacity->connections > capacity->descriptors) {
        capacity->connections = capacity->descriptors;
    }
    return 0;
}

/* For each location of the API. Without a setting a server block of somebody else keeps its own
 * keepalive_timeout. */
static int generate_limits(const struct rendering *r)
{
    char keepalive[64] = "";
    if (r->settings->http_keepalive_ms != KEEPALIVE_MS) {
        (void)snprintf(keepalive, sizeof(keepalive), "keepalive_timeout %llums;\n",
                       (unsigned long long)r->settings->http_keepalive_ms);
    }
    return generated_text(r, "limits.conf", 0644,
                          "client_max_body_size %llu;\nsend_timeout %llums;\n%s",
                          (unsigned long long)r->settings->max_body,
                          (unsigned long long)r->settings->reader_timeout_ms, keepalive);
}

/* How nginx passes a stream on. With buffers it cuts a stream that fcgi-app has not ended, and
 * clients see that. But under TLS nginx then keeps up to 16 KiB back until more comes:
 * ngx_ssl_send_chain sends on a flush, which buffered answers never ask for. */
static int generate_streams(const struct rendering *r)
{
    return generated_text(r, "streams.conf", 0644, "%s",
                          r->may_have_tls ? "fastcgi_buffering off;\n"
                                          : "fastcgi_buffering on;\n"
                                            "fastcgi_ignore_headers X-Accel-Buffering;\n");
}

int render_snippets(const struct rendering *r)
{
    struct capacity capacity;
    if (file_make_dir(r->directory, "snippets", 0711) < 0 ||
        file_make_dir(r->directory, "generated", 0711) < 0) {
        return fail(r->path);
    }
    if (copy(r, "proxy.js") < 0 || copy(r, "token.js") < 0 || copy_snippets(r) < 0 ||
        generate_sandboxes(r) < 0 || generate_locations(r) < 0 || generate_proxies(r) < 0 ||
        generate_streams(r) < 0 || generate_failed_auth(r) < 0 || render_cors(r) < 0 ||
        generate_metrics(r) < 0 || find_capacity(r, &capacity) < 0) {
        return -1;
    }
    /* Whoever comes through PROXY_PORT takes two connections and needs no token: all of them in one
     * worker leave it half. */
    if (generated_text(r, "proxy-limit.conf", 0644, "limit_conn nginx_sandbox_proxy %llu;\n",
                       capacity.connections / 4) < 0 ||
        generate_limits(r) < 0) {
        return -1;
    }
    return render_claim(r) < 0 ? -1 : render_secrets(r);
}

static int generate_access_log(const struct rendering *r, const struct worker_user *worker,
                               const char *path)
{
    if (path != NULL && strcmp(path, "off") == 0) {
        return generated_text(r, "access-log.conf", 0644, "access_log off;\n");
    }
    if (path == NULL) {
        return generated_text(
            r, "access-log.conf", 0644,
            "access_log %s/access.log nginx_sandbox if=$nginx_sandbox_loggable;\n", r->path);
    }
    if (path[0] != '/' || !run_dir_is_plain_path(path)) {
        log_line("SANDBOX_ACCESS_LOG must be off or an absolute path of plain characters");
        return -1;
    }
    if (worker != NULL && nginx_log_is_ours(path)) {
        return generated_text(r, "access-log.conf", 0644,
                              "access_log " NGINX_LOG_STDERR
                              " nginx_sandbox if=$nginx_sandbox_loggable;\n");
    }
    cleanup_fd int fd =
        open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644); /* as nginx will */
    if (fd < 0) {
        log_line("SANDBOX_ACCESS_LOG: %s: %m", path);
        return -1;
    }
    char at[PATH_MAX];
    if (worker != NULL && !worker_user_may_reach(worker, path, at)) {
        log_at(LOG_WARNING,
               "SANDBOX_ACCESS_LOG: nginx's workers may not enter %s: after a rotation they could "
               "not open the log again",
               at);
    }
    return generated_text(r, "access-log.conf", 0644,
                          "access_log %s nginx_sandbox if=$nginx_sandbox_loggable;\n", path);
}

/* As many workers as the server may use processors, but memory is counted too. */
static int worker_count(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 4 ? 4 : count;
}

static int generate_main(const struct rendering *r, const struct worker_user *worker,
                         unsigned long long descriptors)
{
    char http_js[PATH_MAX + 20] = "";
    if (render_needs_http_js(r)) {
        (void)snprintf(http_js, sizeof(http_js), "load_module %s;\n", r->layout->http_js_module);
    }
    return generated_text(
        r, "main.conf", 0644,
        "load_module %s;\nload_module %s;\n%s%sworker_processes %d;\nworker_rlimit_nofile %llu;\n",
        r->layout->stream_module, r->layout->stream_js_module, http_js, worker->directive,
        worker_count(), descriptors);
}

int render_frame(const struct rendering *r, const struct listen_addresses *listen,
                 const struct worker_user *worker, const char *access_log)
{
    struct capacity capacity;
    char lines[LINES_SIZE];
    listen_lines(listen, lines);
    if (copy(r, "nginx.conf") < 0 || find_capacity(r, &capacity) < 0 ||
        (worker != NULL && generate_main(r, worker, capacity.descriptors) < 0) ||
        generated_text(r, "events.conf", 0644, "worker_connections %llu;\n", capacity.connections) <
            0 ||
        generate_access_log(r, worker, access_log) < 0) {
        return -1;
    }
    return generated_text(r, "listen.conf", 0644, "%s\nkeepalive_timeout %llums;\n", lines,
                          (unsigned long long)r->settings->http_keepalive_ms);
}
