/*
 * The variables with which nginx signs and checks grants (nginx/grant.js): by njs, with keys for
 * each sandbox, its current one first; always empty where no sandbox makes links.
 */
#include "launcher/render/render_grants.h"

#include <stddef.h>

#include "common/run_files.h"

static bool makes_links(const struct sandbox *sandbox)
{
    return sandbox->settings.max_link_lifetime_ms > 0;
}

bool render_has_grants(const struct rendering *r)
{
    for (size_t i = 0; i < r->site->count; i++) {
        if (makes_links(&r->site->sandboxes[i])) {
            return true;
        }
    }
    return false;
}

static void print_keys(const struct sandbox *sandbox, FILE *out)
{
    (void)fprintf(out, "_%s \"", sandbox->name);
    for (size_t i = 0; i < sandbox->secrets.count; i++) {
        (void)fprintf(out, "%s%s", i == 0 ? "" : " ", sandbox->secrets.digests[i].grant_key);
    }
    (void)fprintf(out, "\";\n");
}

/* Without links no request comes in by one. */
static void print_none(FILE *out)
{
    static const char *const variables[] = {"grant", "link", "visitor", "share"};
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        (void)fprintf(out, "map \"\" $nginx_sandbox_%s {\ndefault \"\";\n}\n", variables[i]);
    }
}

int grants_print(const struct rendering *r, FILE *out)
{
    if (!render_has_grants(r)) {
        print_none(out);
        return 0;
    }
    (void)fprintf(out,
                  "js_import nginx_sandbox_grants from %s/grant.js;\n"
                  "js_set $nginx_sandbox_grant nginx_sandbox_grants.check;\n"
                  "js_set $nginx_sandbox_link nginx_sandbox_grants.sign;\n"
                  "js_import nginx_sandbox_shares from %s/share.js;\n"
                  "js_set $nginx_sandbox_visitor nginx_sandbox_shares.visit;\n"
                  "js_set $nginx_sandbox_share nginx_sandbox_shares.sign;\n"
                  "map _$nginx_sandbox $nginx_sandbox_keys {\n",
                  r->path, r->path);
    for (size_t i = 0; i < r->site->count; i++) {
        if (makes_links(&r->site->sandboxes[i])) {
            print_keys(&r->site->sandboxes[i], out);
        }
    }
    (void)fprintf(out, "}\nmap $request_uri $nginx_sandbox_raw_uri {\n");
    for (size_t i = 0; i < r->site->prefixes.count; i++) {
        const char *prefix = r->site->prefixes.path[i];
        (void)fprintf(out, *prefix == '\0' ? "default $request_uri;\n" : "\"~^%s(/.*)\\z\" $1;\n",
                      prefix);
    }
    (void)fprintf(out, "}\n");
    return 0;
}

int shares_print(const struct rendering *r, FILE *out)
{
    (void)fprintf(out, "export default {\n");
    for (size_t i = 0; i < r->site->count; i++) {
        const struct sandbox *sandbox = &r->site->sandboxes[i];
        (void)fprintf(out, "    \"%s\": { directory: \"%s/" RUN_PORT "\", isPublic: %s },\n",
                      sandbox->name, sandbox->run,
                      sandbox->settings.public_ports ? "true" : "false");
    }
    (void)fprintf(out, "};\n");
    return 0;
}
