#include "launcher/render/locations.h"

#include <stdbool.h>
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
    case RAW: return endpoint == &api_endpoints[API_uploads] ? "api-uploads" : "api-raw";
    case SOCKET: return "api-socket";
    case LARGE:
    case WALKS:
    case LASTS: break;
    }
    return "api-lasts";
}

/* Whether all paths below it are its, too. */
static bool has_paths_below(const struct api_endpoint *endpoint)
{
    return endpoint->trait == RAW || endpoint->trait == SOCKET;
}

/* At the root a location by prefix could be one that the server has already: so all paths below an
 * endpoint's are matched by an expression. */
static void print_location(const struct rendering *r, FILE *out, const char *prefix,
                           const struct api_endpoint *endpoint)
{
    const char *indent = *prefix == '\0' ? "" : "    ";
    bool is_raw = has_paths_below(endpoint);
    (void)fprintf(out, "%slocation %s%s%s%s { include %s/snippets/%s.conf; }\n", indent,
                  is_raw ? "~ \"^" : "= ", prefix, endpoint->path, is_raw ? "(?:/|\\z)\"" : "",
                  r->path, snippet_of(endpoint));
}

static void print_locations(const struct rendering *r, FILE *out, const char *prefix)
{
    (void)fprintf(out, "%slocation ~ \"^%s/port(?:/|\\z)\" { include %s/snippets/port.conf; }\n",
                  *prefix == '\0' ? "" : "    ", prefix, r->path);
    for (size_t i = 0; i < API_COUNT; i++) {
        if (snippet_of(&api_endpoints[i]) != NULL) {
            print_location(r, out, prefix, &api_endpoints[i]);
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

void locations_print_raw_paths(const struct rendering *r, FILE *out)
{
    (void)fprintf(out, "map $request_uri $nginx_sandbox_raw_path {\ndefault \"\";\n");
    for (size_t i = 0; i < API_COUNT; i++) {
        for (size_t j = 0; api_endpoints[i].trait == RAW && j < r->site->prefixes.count; j++) {
            (void)fprintf(out, "\"~^%s%s(/[^?#]*)\" $1;\n", r->site->prefixes.path[j],
                          api_endpoints[i].path);
        }
    }
    (void)fprintf(out, "}\n");
}

void locations_add_words(struct words *words)
{
    char all[WORDS_TEXT_MAX] = "";
    char reads[WORDS_TEXT_MAX] = "";
    char raw[WORDS_TEXT_MAX] = "";
    for (size_t i = 0; i < API_COUNT; i++) {
        const char *name = api_endpoints[i].path + 1;
        if (snippet_of(&api_endpoints[i]) == NULL) {
            continue;
        }
        (void)snprintf(all + strlen(all), sizeof(all) - strlen(all), "|%s", name);
        if (api_endpoints[i].effect == READS) {
            (void)snprintf(reads + strlen(reads), sizeof(reads) - strlen(reads), "|%s", name);
        }
        if (has_paths_below(&api_endpoints[i])) {
            (void)snprintf(raw + strlen(raw), sizeof(raw) - strlen(raw), "|%s", name);
        }
    }
    words_add(words, "@ENDPOINTS@", "%s", all + 1);
    words_add(words, "@READS@", "%s", reads + 1);
    words_add(words, "@RAW@", "%s", raw + 1);
}
