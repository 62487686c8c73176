/*
 * Rendering the configuration and linking the service directories.
 */
#include "nginx/launcher/render.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "nginx/launcher/file.h"

/* What stands for the run directory in the files of nginx/. */
#define DEFAULT_RUN_DIR "/run/nginx-sandbox"

#define TEMPLATE_MOST (1 << 20)

static int fail(const char *path)
{
    log_line("%s: %m", path);
    return -1;
}

/* Copies tree/`name` to RUN/nginx/`name`. */
static int render_template(const struct rendering *r, const char *name)
{
    char source[PATH_MAX + 300];
    char target[300];
    (void)snprintf(source, sizeof(source), "%s/%s", r->layout->tree, name);
    (void)snprintf(target, sizeof(target), "nginx/%s", name);
    cleanup_free char *text = file_read(AT_FDCWD, source, TEMPLATE_MOST, NULL);
    if (text == NULL) {
        return fail(source);
    }
    cleanup_free char *rendered = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&rendered, &length);
    if (stream == NULL) {
        return fail(target);
    }
    const char *rest = text;
    for (const char *at; (at = strstr(rest, DEFAULT_RUN_DIR)) != NULL;) {
        (void)fwrite(rest, 1, (size_t)(at - rest), stream);
        (void)fputs(r->run->path, stream);
        rest = at + strlen(DEFAULT_RUN_DIR);
    }
    (void)fputs(rest, stream);
    if (fclose(stream) != 0 || file_write(r->run->fd, target, 0644, rendered, length) < 0) {
        return fail(target);
    }
    return 0;
}

static int is_conf(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot != NULL && strcmp(dot, ".conf") == 0;
}

static int render_snippets(const struct rendering *r)
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
            result = render_template(r, name);
        }
        free(entries[i]);
    }
    free(entries);
    return result;
}

/* Writes RUN/nginx/generated/`name`. */
__attribute__((format(printf, 4, 5))) static int
generate(const struct rendering *r, const char *name, mode_t mode, const char *format, ...)
{
    char path[300];
    (void)snprintf(path, sizeof(path), "nginx/generated/%s", name);
    cleanup_free char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        text = NULL; /* undefined after an error: asprintf(3) */
        errno = ENOMEM;
        return fail(path);
    }
    return file_write(r->run->fd, path, mode, text, (size_t)length) < 0 ? fail(path) : 0;
}

/* A listening line for each address family. Probes find a peer that vanished without a word. */
static int generate_listen(const struct rendering *r, const char *name, unsigned port)
{
    static const char options[] = "backlog=4095 so_keepalive=60s:15s:4";
    char ipv6[128] = "";
    if (r->has_ipv6) {
        (void)snprintf(ipv6, sizeof(ipv6), "listen [::]:%u ipv6only=on %s;\n", port, options);
    }
    return generate(r, name, 0644, "listen %u %s;\n%s", port, options, ipv6);
}

static int generate_access_log(const struct rendering *r)
{
    const char *path = getenv("SANDBOX_ACCESS_LOG");
    if (path != NULL && strcmp(path, "off") == 0) {
        return generate(r, "access-log.conf", 0644, "access_log off;\n");
    }
    if (path == NULL || *path == '\0') {
        return generate(
            r, "access-log.conf", 0644,
            "access_log %s/nginx/access.log nginx_sandbox if=$nginx_sandbox_loggable;\n",
            r->run->path);
    }
    if (path[0] != '/' || !run_dir_is_plain_path(path)) {
        log_line("SANDBOX_ACCESS_LOG must be off or an absolute path of plain characters");
        return -1;
    }
    cleanup_fd int fd =
        open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644); /* as nginx will */
    if (fd < 0) {
        log_line("SANDBOX_ACCESS_LOG: %s: %m", path);
        return -1;
    }
    char at[PATH_MAX];
    if (!worker_user_may_reach(r->worker, path, at)) {
        log_at(LOG_WARNING,
               "SANDBOX_ACCESS_LOG: nginx's workers may not enter %s: after a rotation they could "
               "not open the log again",
               at);
    }
    return generate(r, "access-log.conf", 0644,
                    "access_log %s nginx_sandbox if=$nginx_sandbox_loggable;\n", path);
}

/* As many workers as the server may use processors, but memory is counted too. */
static int worker_count(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 4 ? 4 : count;
}

/*
 * Two connections for each request in any one worker, and room beyond fcgi-app's own limit, so that
 * it is fcgi-app that refuses; as far as the descriptor limit goes. Whoever comes through
 * PROXY_PORT takes two as well and needs no token: all of them in one worker leave it half.
 */
static int generate_limits(const struct rendering *r)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return fail("RLIMIT_NOFILE");
    }
    const uint64_t most = 1 << 20;
    uint64_t descriptors = limit.rlim_max < most ? limit.rlim_max : most;
    uint64_t connections = 2 * r->settings->max_connections + 4096;
    if (connections > descriptors) {
        connections = descriptors;
    }
    if (r->with_nginx &&
        generate(r, "main.conf", 0644,
                 "load_module %s;\nload_module %s;\n%sworker_processes %d;\n"
                 "worker_rlimit_nofile %llu;\n",
                 r->layout->stream_module, r->layout->stream_js_module, r->worker->directive,
                 worker_count(), (unsigned long long)descriptors) < 0) {
        return -1;
    }
    if (generate(r, "proxy-limit.conf", 0644, "limit_conn nginx_sandbox_proxy %llu;\n",
                 (unsigned long long)(connections / 4)) < 0) {
        return -1;
    }
    return generate(r, "events.conf", 0644, "worker_connections %llu;\n",
                    (unsigned long long)connections);
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
        return generate(r, "failed-auth-zone.conf", 0644, "%s", "") < 0
                   ? -1
                   : generate(r, "failed-auth.conf", 0644, "%s", "");
    }
    if (generate(r, "failed-auth-zone.conf", 0644,
                 "limit_req_zone $nginx_sandbox_stranger zone=nginx_sandbox_failed_auth:4m "
                 "rate=%llur/s;\n",
                 rate) < 0) {
        return -1;
    }
    char burst[40] = ""; /* beyond the first; nginx takes no burst of 0 */
    if (rate > 1) {
        (void)snprintf(burst, sizeof(burst), " burst=%llu nodelay", rate - 1);
    }
    return generate(r, "failed-auth.conf", 0644,
                    "limit_req zone=nginx_sandbox_failed_auth%s;\nlimit_req_dry_run off;\n", burst);
}

/* What an http block includes for Prometheus: nothing, or the server of snippets/metrics.conf. */
static int generate_metrics(const struct rendering *r)
{
    if (r->metrics[0] == '\0') {
        return generate(r, "metrics.conf", 0644, "%s", "");
    }
    bool is_ipv6 = r->metrics[0] == '[';
    if (render_template(r, "metrics.txt") < 0 ||
        generate(r, "metrics-listen.conf", 0644, "listen %s%s;\n", r->metrics,
                 is_ipv6 ? " ipv6only=on" : "") < 0) {
        return -1;
    }
    return generate(r, "metrics.conf", 0644, "include %s/nginx/snippets/metrics.conf;\n",
                    r->run->path);
}

int render_nginx(const struct rendering *r)
{
    if (render_template(r, "nginx.conf") < 0 || render_template(r, "proxy.js") < 0 ||
        render_snippets(r) < 0 || generate_metrics(r) < 0 || generate_limits(r) < 0 ||
        generate_failed_auth(r) < 0 || generate_access_log(r) < 0 ||
        generate_listen(r, "listen.conf", (unsigned)r->settings->port) < 0 ||
        generate_listen(r, "proxy-listen.conf", (unsigned)r->settings->proxy_port) < 0 ||
        generate(r, "limits.conf", 0644, "client_max_body_size %llu;\nsend_timeout %llums;\n",
                 (unsigned long long)r->settings->max_body,
                 (unsigned long long)r->settings->reader_timeout_ms) < 0) {
        return -1;
    }
    return generate(r, "token.conf", 0600,
                    "secure_link \"%s\";\nsecure_link_md5 \"%s$http_authorization\";\n",
                    r->secret->digest, r->secret->salt);
}

/* RUN/service/`name`/: one link for each file of tree/service/`name`/. */
static int link_service(const struct rendering *r, const char *name)
{
    char source[PATH_MAX + 100];
    char target[100];
    (void)snprintf(source, sizeof(source), "%s/service/%s", r->layout->tree, name);
    (void)snprintf(target, sizeof(target), "service/%s", name);
    if (file_make_dir(r->run->fd, target, 0755) < 0) {
        return fail(target);
    }
    struct dirent **entries = NULL;
    int count = scandir(source, &entries, NULL, alphasort);
    if (count < 0) {
        return fail(source);
    }
    int result = 0;
    for (int i = 0; i < count; i++) {
        char from[PATH_MAX + 400];
        char to[400];
        (void)snprintf(from, sizeof(from), "%s/%s", source, entries[i]->d_name);
        (void)snprintf(to, sizeof(to), "%s/%s", target, entries[i]->d_name);
        if (result == 0 && entries[i]->d_name[0] != '.' && symlinkat(from, r->run->fd, to) < 0) {
            result = fail(to);
        }
        free(entries[i]);
    }
    free(entries);
    return result;
}

int render_services(const struct rendering *r)
{
    if (link_service(r, ".s6-svscan") < 0 || link_service(r, "procd") < 0 ||
        link_service(r, "fcgi-app") < 0 || link_service(r, "guard") < 0 ||
        (r->with_nginx && link_service(r, "nginx") < 0)) {
        return -1;
    }
    cleanup_free char *cwd = r->cwd == NULL ? getcwd(NULL, 0) : strdup(r->cwd);
    if (cwd == NULL) {
        return fail("the working directory");
    }
    if (symlinkat(r->layout->fcgi_app, r->run->fd, "bin/fcgi-app") < 0 ||
        symlinkat(r->layout->procd, r->run->fd, "bin/procd") < 0 ||
        symlinkat(r->layout->guard, r->run->fd, "bin/guard") < 0 ||
        (r->with_nginx && symlinkat(r->layout->nginx, r->run->fd, "bin/nginx") < 0) ||
        symlinkat(cwd, r->run->fd, "cwd") < 0) {
        return fail(r->run->path);
    }
    return 0;
}
