#include "launcher/render/render_cors.h"

#include <string.h>

#include "launcher/render/generated.h"

/* The origin as a regular expression. nginx compares the other keys of a map without case. */
static void write_expression(struct generated *out, const char *origin)
{
    for (; *origin != '\0'; origin++) {
        if (strchr(".+[]", *origin) != NULL) {
            generated_print(out, "%c", '\\');
        }
        generated_print(out, "%c", *origin);
    }
}

/* Access-Control-Allow-Origin by the sandbox's name and the header Origin. Most requests have no
 * such header; nginx finds a key that is no expression first. */
static void write_allowed(struct generated *out, const char *name,
                          const struct cors_origins *origins)
{
    generated_print(out, "\"%s \" \"\";\n", name);
    if (origins->any) {
        generated_print(out, "\"~^%s .\" \"*\";\n", name);
    }
    for (size_t i = 0; i < origins->count; i++) {
        generated_print(out, "\"~^%s ", name);
        write_expression(out, origins->origin[i]);
        generated_print(out, "\\z\" \"%s\";\n", origins->origin[i]);
    }
}

/* Whether answers depend on Origin. */
static void write_varies(struct generated *out, const char *name,
                         const struct cors_origins *origins)
{
    if (origins->any || origins->count > 0) {
        generated_print(out, "_%s Origin;\n", name);
    }
}

/* Pages must be able to send the header that chooses the sandbox. */
static void write_route_header(struct generated *out, const char *map_key)
{
    static const char prefix[] = "http_";
    generated_print(out, "map \"\" $nginx_sandbox_route_header {\ndefault \"");
    if (strncmp(map_key, prefix, sizeof(prefix) - 1) == 0) {
        generated_print(out, ", ");
        for (const char *at = map_key + sizeof(prefix) - 1; *at != '\0'; at++) {
            generated_print(out, "%c", *at == '_' ? '-' : *at);
        }
    }
    generated_print(out, "\";\n}\n");
}

int render_cors(const struct rendering *r)
{
    static const char name[] = "generated/cors.conf";
    struct generated file;
    generated_begin(&file, name);
    generated_print(&file,
                    "map \"$nginx_sandbox $http_origin\" $nginx_sandbox_origin {\ndefault \"\";\n");
    write_allowed(&file, "", &r->site->cors);
    for (size_t i = 0; i < r->site->count; i++) {
        write_allowed(&file, r->site->sandboxes[i].name, &r->site->sandboxes[i].cors);
    }
    generated_print(&file, "}\nmap _$nginx_sandbox $nginx_sandbox_vary {\ndefault \"\";\n");
    write_varies(&file, "", &r->site->cors);
    for (size_t i = 0; i < r->site->count; i++) {
        write_varies(&file, r->site->sandboxes[i].name, &r->site->sandboxes[i].cors);
    }
    generated_print(&file, "}\n");
    write_route_header(&file, r->site->map_key);
    return generated_write(r, &file, name, 0644);
}
