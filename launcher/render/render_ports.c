#include "launcher/render/render_ports.h"

#include <stdbool.h>
#include <string.h>

/* 1 to 65535, without a zero before it. */
#define PORT_PATTERN                                                                               \
    "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"

/* What the names of hosts that stand for ports end with. */
static void print_domains(const struct rendering *r, FILE *out)
{
    (void)fprintf(out, "\\.(?:localhost");
    if (r->site->ports.domain[0] != '\0') {
        (void)fputc('|', out);
        for (const char *at = r->site->ports.domain; *at != '\0'; at++) {
            (void)fprintf(out, "%s%c", *at == '.' ? "\\" : "", *at);
        }
    }
    (void)fprintf(out, ")\\z");
}

/* The names of the sandboxes as alternatives. One sandbox alone has any name: a gateway in front
 * may have another for it. */
static void print_names(const struct rendering *r, FILE *out)
{
    if (r->site->count == 1) {
        (void)fprintf(out, "[a-z0-9-]+");
        return;
    }
    for (size_t i = 0; i < r->site->count; i++) {
        (void)fprintf(out, "%s%s", i == 0 ? "" : "|", r->site->sandboxes[i].name);
    }
}

void ports_print_names(const struct rendering *r, FILE *out)
{
    (void)fprintf(out, "map $host $nginx_sandbox {\ndefault $nginx_sandbox_routed;\n"
                       "\"~^[0-9]+-(");
    print_names(r, out);
    (void)fprintf(out, ")");
    print_domains(r, out);
    (void)fprintf(out, "\" $1;\n}\n");
}

static bool has_trusted(const struct rendering *r)
{
    return r->site->ports.trusted_count > 0 || r->site->ports.trusts_unix;
}

/* The digits before the first dot, whether they are a port or not. */
static void print_hosts(const struct rendering *r, FILE *out)
{
    (void)fprintf(out, "map $host $nginx_sandbox_at_host {\ndefault \"\";\n\"~^([0-9]+)(?:-(?:");
    print_names(r, out);
    (void)fprintf(out, "))?");
    print_domains(r, out);
    (void)fprintf(out, "\" $1;\n}\n");
}

/* The port that a request is for. A WebSocket's path ends with it. */
static void print_ports(const struct rendering *r, FILE *out)
{
    (void)fprintf(out, "map \"$nginx_sandbox_at_host $request_uri\" $nginx_sandbox_port {\n"
                       "default \"\";\n");
    for (size_t i = 0; i < r->site->prefixes.count; i++) {
        (void)fprintf(out,
                      "\"~^ %s/(?|port/(" PORT_PATTERN ")(?:[/?]|\\z)|tcp/(" PORT_PATTERN
                      ")(?:\\?|\\z))\" $1;\n",
                      r->site->prefixes.path[i]);
    }
    (void)fprintf(out, "\"~^(" PORT_PATTERN ") \" $1;\n}\n");
}

/* A map by the digits of the host and the target as the client wrote it: from the lines `by_host`
 * of one, and below each prefix by a line that ends with `by_path`. */
static void print_map(const struct rendering *r, FILE *out, const char *variable,
                      const char *by_host, const char *start, const char *by_path)
{
    (void)fprintf(out, "map \"$nginx_sandbox_at_host $request_uri\" $%s {\ndefault \"\";\n",
                  variable);
    for (size_t i = 0; i < r->site->prefixes.count; i++) {
        (void)fprintf(out, "\"%s%s/port/%s\\z)\" $1;\n", start, r->site->prefixes.path[i], by_path);
    }
    (void)fprintf(out, "%s}\n", by_host);
}

/* The ports of ours that nobody may reach through us: they would lead back here. */
static void print_ours(const struct rendering *r, FILE *out)
{
    unsigned metrics = listen_address_port(&r->site->metrics);
    if (!r->may_have_tls) {
        (void)fprintf(out, "%u ours;\n", (unsigned)r->site->settings.port);
    }
    if (metrics != 0) {
        (void)fprintf(out, "%u ours;\n", metrics);
    }
    for (size_t i = 0; i < r->site->count; i++) {
        (void)fprintf(out, "%u ours;\n", (unsigned)r->site->sandboxes[i].settings.proxy_port);
    }
}

static bool is_listed_before(const struct port_rules *rules, size_t place)
{
    size_t i = 0;
    while (rules->list[i] != rules->list[place]) {
        i++;
    }
    return i < place;
}

/* What a sandbox says of its ports. nginx takes none twice. */
static void print_rules_of(const struct sandbox *sandbox, FILE *out)
{
    const struct port_rules *rules = &sandbox->ports;
    if (rules->access != PORTS_LISTED) {
        (void)fprintf(out, "\"~^%s \" %s;\n", sandbox->name,
                      rules->access == PORTS_OWN ? "ask" : "ok");
    }
    for (size_t i = 0; i < rules->count; i++) {
        if (!is_listed_before(rules, i)) {
            (void)fprintf(out, "\"%s %u\" ok;\n", sandbox->name, rules->list[i]);
        }
    }
}

/* Whether a port may be reached: by its number, and then by what its sandbox says. */
static void print_rules(const struct rendering *r, FILE *out)
{
    (void)fprintf(out, "map \"$nginx_sandbox $nginx_sandbox_port\" $nginx_sandbox_rule {\n"
                       "default denied;\n");
    for (size_t i = 0; i < r->site->count; i++) {
        print_rules_of(&r->site->sandboxes[i], out);
    }
    (void)fprintf(out, "}\nmap $nginx_sandbox_port $nginx_sandbox_port_ok {\n\"\" bad;\n");
    print_ours(r, out);
    (void)fprintf(out, "default $nginx_sandbox_rule;\n}\n");
}

/* Whose X-Forwarded headers count, and what becomes of them. To geo a client of a unix socket has
 * the last of all addresses. */
static void print_trusted(const struct rendering *r, FILE *out)
{
    const struct port_front *front = &r->site->ports;
    if (!has_trusted(r)) {
        return;
    }
    (void)fprintf(out, "geo $realip_remote_addr $nginx_sandbox_trusted {\ndefault \"\";\n");
    for (size_t i = 0; i < front->trusted_count; i++) {
        (void)fprintf(out, "%s 1;\n", front->trusted[i]);
    }
    if (front->trusts_unix) {
        (void)fprintf(out, "255.255.255.255 1;\n");
    }
    (void)fprintf(out, "}\n");
    static const struct {
        const char *variable, *header, *fallback, *kept;
    } headers[] = {
        {"fwd_for", "$http_x_forwarded_for", "$remote_addr",
         "\"$http_x_forwarded_for, $remote_addr\""},
        {"fwd_ssl", "$http_x_forwarded_proto", "$scheme", "$http_x_forwarded_proto"},
        {"asked", "$http_x_forwarded_host", "$http_host", "$http_x_forwarded_host"},
        {"below", "$http_x_forwarded_prefix", "$nginx_sandbox_base",
         "$http_x_forwarded_prefix$nginx_sandbox_base"},
        {"forwards", "$http_forwarded", "\"\"", "$http_forwarded"},
        {"fwd_port", "$http_x_forwarded_port", "\"\"", "$http_x_forwarded_port"},
        {"real_ip", "$http_x_real_ip", "$remote_addr", "$http_x_real_ip"},
        {"via", "$http_via", "\"\"", "$http_via"},
    };
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        (void)fprintf(out,
                      "map \"$nginx_sandbox_trusted:%s\" $nginx_sandbox_%s {\ndefault %s;\n"
                      "\"~^1:.\" %s;\n}\n",
                      headers[i].header, headers[i].variable, headers[i].fallback, headers[i].kept);
    }
}

/* The suffix of a sandbox that is alone: the label in front of the domain stays, since it is the
 * sandbox's key if there is a gateway. */
static void print_label_suffix(const char *domain, FILE *out)
{
    (void)fprintf(out,
                  "\"~*^/share_port ([a-z0-9-]+)\\.\\Q%s\\E\\.?(:[0-9]{1,5})?\\z\" -$1.%s$2;\n",
                  domain, domain);
}

/* What follows the number of a port in the host that stands for it, where a client of /share_port
 * may call it that calls this host: it has the same port, unless it is of another domain. */
static void print_suffixes(const struct rendering *r, FILE *out)
{
    const char *domain = r->site->ports.domain;
    const char *name = r->site->count > 1 ? "-$nginx_sandbox" : "";
    (void)fprintf(
        out, "map \"$nginx_sandbox_path $http_host\" $nginx_sandbox_suffix {\ndefault \"\";\n");
    if (r->site->count == 1) {
        print_label_suffix("localhost", out);
        if (domain[0] != '\0') {
            print_label_suffix(domain, out);
        }
    }
    (void)fprintf(out,
                  "\"~*^/share_port (?:(?:[^ ]+\\.)?localhost\\.?|127\\.[0-9.]+|\\[::1\\])"
                  "(:[0-9]{1,5})?\\z\" %s.localhost$1;\n",
                  name);
    if (domain[0] != '\0') {
        (void)fprintf(out,
                      "\"~*^/share_port (?:[^ ]+\\.)?\\Q%s\\E\\.?(:[0-9]{1,5})?\\z\" %s.%s$1;\n",
                      domain, name, domain);
        (void)fprintf(out, "\"~^/share_port \" %s.%s;\n", name, domain);
    }
    (void)fprintf(out, "}\n");
}

int ports_print(const struct rendering *r, FILE *out)
{
    print_suffixes(r, out);
    print_hosts(r, out);
    print_ports(r, out);
    print_map(r, out, "nginx_sandbox_port_uri",
              "\"~^[0-9]+ (/.*)\\z\" $1;\n\"~^[0-9]+ ((?:\\?.*)?)\\z\" /$1;\n", "~^ ",
              "[0-9]+(/.*)(?:");
    print_map(r, out, "nginx_sandbox_base", "", "~^ (", "[0-9]+)(?:[/?]|");
    print_rules(r, out);
    print_trusted(r, out);
    (void)fprintf(out, "js_import nginx_sandbox_ports from %s/ports.js;\n", r->path);
    return 0;
}

void ports_add_words(const struct rendering *r, struct words *words)
{
    char domain[2 * DOMAIN_SIZE] = "";
    char *end = domain;
    for (const char *at = r->site->ports.domain; *at != '\0'; at++) {
        end = stpcpy(end, *at == '.' ? "\\." : (char[]){*at, '\0'});
    }
    words_add(words, "@PORT_NAMES@", "\"~^[0-9]+(?:-[a-z0-9-]+)?\\.(?:localhost%s%s)\\z\"",
              domain[0] == '\0' ? "" : "|", domain);
    words_add(words, "@APP_HOST@", "%s",
              r->site->ports.keeps_host ? "$http_host" : "localhost:$nginx_sandbox_port");
    bool trusts = has_trusted(r);
    words_add(words, "@FWD_FOR@", "%s", trusts ? "$nginx_sandbox_fwd_for" : "$remote_addr");
    words_add(words, "@FWD_PROTO@", "%s", trusts ? "$nginx_sandbox_fwd_ssl" : "$scheme");
    words_add(words, "@FWD_HOST@", "%s", trusts ? "$nginx_sandbox_asked" : "$http_host");
    words_add(words, "@FWD_PREFIX@", "%s", trusts ? "$nginx_sandbox_below" : "$nginx_sandbox_base");
    words_add(words, "@FORWARDED@", "%s", trusts ? "$nginx_sandbox_forwards" : "\"\"");
    words_add(words, "@FWD_PORT@", "%s", trusts ? "$nginx_sandbox_fwd_port" : "\"\"");
    words_add(words, "@REAL_IP@", "%s", trusts ? "$nginx_sandbox_real_ip" : "$remote_addr");
    words_add(words, "@VIA@", "%s", trusts ? "$nginx_sandbox_via" : "\"\"");
}
