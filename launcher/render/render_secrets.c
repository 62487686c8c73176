#include "launcher/render/render_secrets.h"

#include "common/run_files.h"
#include "launcher/render/generated.h"

bool render_needs_http_js(const struct rendering *r)
{
    for (size_t i = 0; i < r->site->count; i++) {
        if (r->site->sandboxes[i].secrets.count != 1) {
            return true;
        }
    }
    return false;
}

/* Whether it is a sandbox of a pool that is not claimed yet. */
static bool is_unclaimed(const struct rendering *r)
{
    return r->site->sandboxes[0].secrets.count == 0;
}

void render_secret_words(const struct rendering *r, struct words *words)
{
    if (!is_unclaimed(r)) {
        words_add(words, "@REFUSE@", "if ($nginx_sandbox_known = \"\") { return 401; }");
        words_add(words, "@CLAIM@", "%s", "");
        return;
    }
    /* Until it is claimed a request with a token goes to the service of the claim, by a status that
     * has no other use. */
    words_add(words, "@REFUSE@",
              "if ($nginx_sandbox_claim = ask) { return 461; }\n"
              "if ($nginx_sandbox_claim != 1) { return 401; }\n"
              "error_page 461 = @nginx_sandbox_unclaimed;");
    words_add(words, "@CLAIM@", "include %s/snippets/claim.conf;", r->path);
}

/* By njs, with the digest that the service of the claim puts into a file. */
static int generate_unclaimed(const struct rendering *r)
{
    return generated_text(r, "secrets.conf", 0600,
                          "js_import nginx_sandbox_token from %s/token.js;\n"
                          "js_set $nginx_sandbox_claim nginx_sandbox_token.claimed;\n"
                          "map \"\" $nginx_sandbox_claim_file {\ndefault %s/" RUN_CLAIMED ";\n}\n"
                          "map $nginx_sandbox_claim $nginx_sandbox_known {\n1 1;\n}\n",
                          r->path, r->site->sandboxes[0].run);
}

/*
 * secure_link compares one digest for the whole request, however often it is asked. An unknown
 * sandbox has no digest, and so no token. (A name of `default` alone would mean something to a
 * map.)
 */
static int generate_secure_link(const struct rendering *r)
{
    static const char name[] = "generated/secrets.conf";
    struct generated file;
    generated_begin(&file, name);
    generated_print(&file, "map _$nginx_sandbox $nginx_sandbox_digest {\n");
    for (size_t i = 0; i < r->site->count; i++) {
        generated_print(&file, "_%s \"%s\";\n", r->site->sandboxes[i].name,
                        r->site->sandboxes[i].secrets.digests[0].md5);
    }
    generated_print(&file, "}\nmap $secure_link $nginx_sandbox_known {\n1 1;\n}\n");
    if (generated_write(r, &file, name, 0600) < 0) {
        return -1;
    }
    return generated_text(r, "token.conf", 0600,
                          "secure_link $nginx_sandbox_digest;\n"
                          "secure_link_md5 \"%s$nginx_sandbox_authorization\";\n",
                          r->site->salt.text);
}

/* The same by njs, for several secrets: the words for nginx/token.js. */
static int generate_digests(const struct rendering *r)
{
    static const char name[] = "generated/secrets.conf";
    struct generated file;
    generated_begin(&file, name);
    generated_print(&file,
                    "js_import nginx_sandbox_token from %s/token.js;\n"
                    "js_set $nginx_sandbox_known nginx_sandbox_token.known;\n"
                    "map _$nginx_sandbox $nginx_sandbox_digests {\n",
                    r->path);
    for (size_t i = 0; i < r->site->count; i++) {
        const struct secrets *secrets = &r->site->sandboxes[i].secrets;
        generated_print(&file, "_%s \"%s", r->site->sandboxes[i].name, r->site->salt.text);
        for (size_t j = 0; j < secrets->count; j++) {
            generated_print(&file, " %s", secrets->digests[j].sha256);
        }
        generated_print(&file, "\";\n");
    }
    generated_print(&file, "}\n");
    return generated_write(r, &file, name, 0600);
}

int render_secrets(const struct rendering *r)
{
    if (!render_needs_http_js(r)) {
        return generate_secure_link(r);
    }
    if (generated_text(r, "token.conf", 0600, "%s", "") < 0) {
        return -1;
    }
    return is_unclaimed(r) ? generate_unclaimed(r) : generate_digests(r);
}
