#include "launcher/render/render_secrets.h"

#include "common/run_files.h"

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
        words_add(words, "@PORT_CLAIM@", "%s", "");
        return;
    }
    /* Until it is claimed a request with a token goes to the service of the claim, by a status that
     * has no other use. */
    words_add(words, "@REFUSE@",
              "if ($nginx_sandbox_claim = ask) { return 461; }\n"
              "if ($nginx_sandbox_claim != 1) { return 401; }\n"
              "error_page 461 = @nginx_sandbox_unclaimed;");
    words_add(words, "@CLAIM@", "include %s/snippets/claim.conf;", r->path);
    words_add(words, "@PORT_CLAIM@",
              "if ($nginx_sandbox_claim = ask) { return 461; }\n"
              "    error_page 461 = @nginx_sandbox_port_claim;");
}

/* By njs, with the digest that the service of the claim puts into a file. */
static void print_unclaimed(const struct rendering *r, FILE *out)
{
    (void)fprintf(out,
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
static void print_secure_link(const struct rendering *r, FILE *out)
{
    (void)fprintf(out, "map _$nginx_sandbox $nginx_sandbox_digest {\n");
    for (size_t i = 0; i < r->site->count; i++) {
        (void)fprintf(out, "_%s \"%s\";\n", r->site->sandboxes[i].name,
                      r->site->sandboxes[i].secrets.digests[0].md5);
    }
    (void)fprintf(out, "}\nmap $secure_link $nginx_sandbox_known {\n1 1;\n}\n");
}

/* The same by njs, for several secrets: the words for nginx/token.js. */
static void print_digests(const struct rendering *r, FILE *out)
{
    (void)fprintf(out,
                  "js_import nginx_sandbox_token from %s/token.js;\n"
                  "js_set $nginx_sandbox_known nginx_sandbox_token.known;\n"
                  "map _$nginx_sandbox $nginx_sandbox_digests {\n",
                  r->path);
    for (size_t i = 0; i < r->site->count; i++) {
        const struct secrets *secrets = &r->site->sandboxes[i].secrets;
        (void)fprintf(out, "_%s \"%s", r->site->sandboxes[i].name, r->site->salt.text);
        for (size_t j = 0; j < secrets->count; j++) {
            (void)fprintf(out, " %s", secrets->digests[j].sha256);
        }
        (void)fprintf(out, "\";\n");
    }
    (void)fprintf(out, "}\n");
}

int secrets_print(const struct rendering *r, FILE *out)
{
    (!render_needs_http_js(r) ? print_secure_link
     : is_unclaimed(r)        ? print_unclaimed
                              : print_digests)(r, out);
    return 0;
}

int token_print(const struct rendering *r, FILE *out)
{
    if (!render_needs_http_js(r)) {
        (void)fprintf(out,
                      "secure_link $nginx_sandbox_digest;\n"
                      "secure_link_md5 \"%s$nginx_sandbox_authorization\";\n",
                      r->site->salt.text);
    }
    return 0;
}
