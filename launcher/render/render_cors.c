#include "launcher/render/render_cors.h"

#include <string.h>

/* The origin as a regular expression. nginx compares the other keys of a map without case. */
static void print_expression(FILE *out, const char *origin)
{
    for (; *origin != '\0'; origin++) {
        if (strchr(".+[]", *origin) != NULL) {
            (void)fputc('\\', out);
        }
        (void)fputc(*origin, out);
    }
}

/* Access-Control-Allow-Origin by the sandbox's name and the header Origin. Most requests have no
 * such header; nginx finds a key that is no expression first. */
static void print_allowed(FILE *out, const char *name, const struct cors_origins *origins)
{
    (void)fprintf(out, "\"%s \" \"\";\n", name);
    if (origins->any) {
        (void)fprintf(out, "\"~^%s .\" \"*\";\n", name);
    }
    for (size_t i = 0; i < origins->count; i++) {
        (void)fprintf(out, "\"~^%s ", name);
        print_expression(out, origins->origin[i]);
        (void)fprintf(out, "\\z\" \"%s\";\n", origins->origin[i]);
    }
}

/* Whether answers depend on Origin. */
static void print_varies(FILE *out, const char *name, const struct cors_origins *origins)
{
    if (origins->any || origins->count > 0) {
        (void)fprintf(out, "_%s Origin;\n", name);
    }
}

/* Pages must be able to send the header that chooses the sandbox. */
static void print_route_header(FILE *out, const char *map_key)
{
    static const char prefix[] = "http_";
    (void)fprintf(out, "map \"\" $nginx_sandbox_route_header {\ndefault \"");
    if (strncmp(map_key, prefix, sizeof(prefix) - 1) == 0) {
        (void)fprintf(out, ", ");
        for (const char *at = map_key + sizeof(prefix) - 1; *at != '\0'; at++) {
            (void)fputc(*at == '_' ? '-' : *at, out);
        }
    }
    (void)fprintf(out, "\";\n}\n");
}

int cors_print(const struct rendering *r, FILE *out)
{
    (void)fprintf(out,
                  "map \"$nginx_sandbox $http_origin\" $nginx_sandbox_origin {\ndefault \"\";\n");
    print_allowed(out, "", &r->site->cors);
    for (size_t i = 0; i < r->site->count; i++) {
        print_allowed(out, r->site->sandboxes[i].name, &r->site->sandboxes[i].cors);
    }
    (void)fprintf(out, "}\nmap _$nginx_sandbox $nginx_sandbox_vary {\ndefault \"\";\n");
    print_varies(out, "", &r->site->cors);
    for (size_t i = 0; i < r->site->count; i++) {
        print_varies(out, r->site->sandboxes[i].name, &r->site->sandboxes[i].cors);
    }
    (void)fprintf(out, "}\n");
    print_route_header(out, r->site->map_key);
    return 0;
}
