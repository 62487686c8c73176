/*
 * The variables with which nginx signs and checks grants (nginx/grant.js): by njs, with keys for
 * each sandbox, its current one first; always empty where no sandbox makes links.
 */
#include "launcher/render/render_grants.h"

#include <stddef.h>

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

int grants_print(const struct rendering *r, FILE *out)
{
    if (!render_has_grants(r)) {
        (void)fprintf(out, "map \"\" $nginx_sandbox_grant {\ndefault \"\";\n}\n"
                           "map \"\" $nginx_sandbox_link {\ndefault \"\";\n}\n");
        return 0;
    }
    (void)fprintf(out,
                  "js_import nginx_sandbox_grants from %s/grant.js;\n"
                  "js_set $nginx_sandbox_grant nginx_sandbox_grants.check;\n"
                  "js_set $nginx_sandbox_link nginx_sandbox_grants.sign;\n"
                  "map _$nginx_sandbox $nginx_sandbox_keys {\n",
                  r->path);
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
