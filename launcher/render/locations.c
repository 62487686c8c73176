#include "launcher/render/locations.h"

#include <string.h>

#include "api/endpoints.h"

/* Of nginx/snippets/; NULL for an endpoint that is no part of the API. */
static const char *snippet_of(const struct api_endpoint *endpoint)
{
    switch (endpoint->trait) {
    case OPEN: return "api-open";
    case METRICS: return NULL;
    case SHORT: return "api-short";
    case STREAMS: return endpoint->effect == READS ? "api-log-stream" : "api-run-stream";
    case LARGE:
    case LASTS:
    case RAW: break;
    }
    return "api-lasts";
}

static void print_locations(const struct rendering *r, FILE *out, const char *prefix)
{
    const char *indent = *prefix == '\0' ? "" : "    ";
    for (size_t i = 0; i < API_COUNT; i++) {
        const char *snippet = snippet_of(&api_endpoints[i]);
        if (snippet != NULL) {
            (void)fprintf(out, "%slocation = %s%s { include %s/snippets/%s.conf; }\n", indent,
                          prefix, api_endpoints[i].path, r->path, snippet);
        }
    }
}

/* All that is below a prefix is the API's, whatever regular expressions the server has: other paths
 * want the token as well, and then get fcgi-app's 404. (A fastcgi_pass of the prefix itself would
 * take /prefix without the slash, too.) */
static void print_prefix(const struct rendering *r, FILE *out, const char *prefix)
{
    (void)fprintf(out, "location ^~ %s/ {\n", prefix);
    print_locations(r, out, prefix);
    (void)fprintf(out, "    location ~ \"^/\" { include %s/snippets/api-short.conf; }\n}\n",
                  r->path);
}

int locations_print(const struct rendering *r, FILE *out)
{
    for (size_t i = 0; i < r->site->prefixes.count; i++) {
        const char *prefix = r->site->prefixes.path[i];
        (*prefix == '\0' ? print_locations : print_prefix)(r, out, prefix);
    }
    return 0;
}

void locations_add_words(struct words *words)
{
    char all[WORDS_TEXT_MAX] = "";
    char reads[WORDS_TEXT_MAX] = "";
    for (size_t i = 0; i < API_COUNT; i++) {
        const char *name = api_endpoints[i].path + 1;
        if (snippet_of(&api_endpoints[i]) == NULL) {
            continue;
        }
        (void)snprintf(all + strlen(all), sizeof(all) - strlen(all), "|%s", name);
        if (api_endpoints[i].effect == READS) {
            (void)snprintf(reads + strlen(reads), sizeof(reads) - strlen(reads), "|%s", name);
        }
    }
    words_add(words, "@ENDPOINTS@", "%s", all + 1);
    words_add(words, "@READS@", "%s", reads + 1);
}
