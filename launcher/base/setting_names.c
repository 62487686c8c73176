#include "launcher/base/setting_names.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "common/logger.h"
#include "common/variables.h"

#define PREFIX      "SANDBOX_"
#define NAME_LENGTH 64 /* longer names are not compared */

/* Short names may differ in one letter only, or too many would be near. */
#define SHORT_NAME 6

struct setting_name {
    const char *name; /* NULL: `meaning` is the title of a group */
    const char *fallback;
    const char *meaning;
};

static const struct setting_name names[] = {
    {NULL, NULL, "The secret (one of the first two is required, but not in a pool)"},
    {"SANDBOX_SECRET", "none", "the bearer token"},
    {"SANDBOX_SECRET_FILE", "none", "a file that holds it"},
    {"SANDBOX_AUTH_MODE", "secret", "or pool: the first token takes the sandbox"},
    {"SANDBOX_SECRET_PATH", "in /var/lib/nginx-sandbox", "where a pool keeps the claim"},
    {"SANDBOX_MAX_FAILED_AUTH", "10", "requests a second without the right token, per address"},

    {NULL, NULL, "Where it listens"},
    {"PORT", "3030", "the API"},
    {"PROXY_PORT", "3031", "the TCP proxy"},
    {"SANDBOX_LISTEN", "*", "addresses of the API, unix:/path as well"},
    {"SANDBOX_PROXY_LISTEN", "*", "addresses of the TCP proxy"},
    {"SANDBOX_PREFIX", "none", "paths below which the API is found as well"},
    {"SANDBOX_CORS_ORIGINS", "none", "web pages that may call the API"},
    {"SANDBOX_PORTS", "all", "ports below /port/: all, own, or a list"},
    {"SANDBOX_PORT_DOMAIN", "none", "its names N.DOMAIN are the ports N"},
    {"SANDBOX_PORT_HOST", "localhost", "the Host that applications read, or client"},
    {"SANDBOX_TRUSTED_PROXIES", "none", "whose X-Forwarded headers applications get"},
    {"SANDBOX_PUBLIC_PORTS", "off", "on lets clients share ports with everybody"},
    {"SANDBOX_METRICS_LISTEN", "off", "address:port for Prometheus"},
    {"SANDBOX_ROUTE_BY", "host", "for render: what a sandbox is chosen by"},

    {NULL, NULL, "Whom commands run as, and what each may use"},
    {"SANDBOX_USER", "who starts it", "the user of commands and file operations"},
    {"SANDBOX_HOME", "none", "the home of users who have none of their own"},
    {"SANDBOX_ALLOW_SETUID", "0", "1 lets commands gain rights, as by sudo"},
    {"SANDBOX_LIMIT_NOFILE", "0: as inherited", "open files"},
    {"SANDBOX_LIMIT_NPROC", "0: as inherited", "processes of the user"},
    {"SANDBOX_LIMIT_FSIZE", "0: as inherited", "bytes of a file"},
    {"SANDBOX_LIMIT_CPU", "0: as inherited", "CPU time"},
    {"SANDBOX_LIMIT_AS", "0: as inherited", "address space"},
    {"SANDBOX_MEMORY_MAX", "0: none", "memory of a command with its children"},
    {"SANDBOX_PIDS_MAX", "0: none", "processes and threads of a command"},
    {"SANDBOX_CPU_MAX", "0: none", "percent of one CPU for a command"},
    {"SANDBOX_CGROUP", "auto", "where commands get cgroups, or off"},

    {NULL, NULL, "How much at once, and how long"},
    {"SANDBOX_MAX_CONNECTIONS", "4096", "requests and streams"},
    {"SANDBOX_MAX_RUNS", "1024", "commands of /run and /run_streaming"},
    {"SANDBOX_MAX_JOBS", "1024", "background processes"},
    {"SANDBOX_MAX_TERMINALS", "256", "those of them that have a terminal"},
    {"SANDBOX_MAX_ATTACHED", "1024", "WebSockets to terminals"},
    {"SANDBOX_MAX_STREAMS", "0: no limit", "log streams"},
    {"SANDBOX_MAX_TRANSFERS", "64", "transfers by /files"},
    {"SANDBOX_MAX_HELD", "1000", "requests that wait for a port to listen"},
    {"SANDBOX_MAX_BODY", "256m", "bytes of a request body"},
    {"SANDBOX_MAX_UPLOAD", "16g", "bytes of a file that is put to /files"},
    {"SANDBOX_MAX_UPLOADS", "256", "unfinished uploads by /uploads"},
    {"SANDBOX_MIN_FREE", "0: none", "bytes of a disk that such files leave free"},
    {"SANDBOX_MAX_OUTPUT", "0: no limit", "bytes of output in an answer of /run"},
    {"SANDBOX_MAX_TIMEOUT", "0: none", "longest time of a command"},
    {"SANDBOX_MAX_LINK_LIFETIME", "7d", "longest life of a link; 0: none is made"},
    {"SANDBOX_PORT_WAIT", "10s", "how long each of these waits"},
    {"SANDBOX_READER_TIMEOUT", "1h", "a client that reads nothing is disconnected"},
    {"SANDBOX_HTTP_KEEPALIVE", "75s", "silence before a connection is closed"},
    {"SANDBOX_STREAM_KEEPALIVE", "45s", "silence on a stream before a comment"},
    {"SANDBOX_UPLOAD_LIFETIME", "24h", "an unfinished upload that gets no more bytes"},
    {"SANDBOX_STOP_GRACE", "4s", "between SIGTERM and SIGKILL at a stop"},

    {NULL, NULL, "Files and logs"},
    {"SANDBOX_RUN_DIR", "a fresh directory", "sockets, records, logs; emptied at each start"},
    {"SANDBOX_LOG_MAX", "64m", "bytes on disk for the log of a background process"},
    {"SANDBOX_KEEP_FINISHED", "1000", "ended background processes that are remembered"},
    {"SANDBOX_KEEP_FINISHED_FOR", "24h", "how long each of them is"},
    {"SANDBOX_ACCESS_LOG", "in the run directory", "a path or off"},
    {"LOG_LEVEL", "notice", "error, warn, notice, info or debug"},
};

#define COUNT (sizeof(names) / sizeof(names[0]))

void setting_names_list(FILE *out)
{
    for (size_t i = 0; i < COUNT; i++) {
        char name[NAME_LENGTH * 2];
        if (names[i].name == NULL) {
            (void)fprintf(out, "%s%s:\n", i == 0 ? "" : "\n", names[i].meaning);
            continue;
        }
        (void)snprintf(name, sizeof(name), "%s (%s)", names[i].name, names[i].fallback);
        (void)fprintf(out, "  %-43s %s\n", name, names[i].meaning);
    }
}

static size_t least(size_t one, size_t other)
{
    return one < other ? one : other;
}

/* Letters to insert, remove or replace; two that have changed places count once. */
static size_t distance(const char *one, const char *other)
{
    size_t rows[3][NAME_LENGTH + 1]; /* the one before the last, the last, this */
    size_t width = strlen(other);
    for (size_t j = 0; j <= width; j++) {
        rows[0][j] = rows[1][j] = rows[2][j] = j;
    }
    for (size_t i = 1; one[i - 1] != '\0'; i++) {
        size_t *before = rows[(i + 1) % 3];
        size_t *last = rows[(i + 2) % 3];
        size_t *row = rows[i % 3];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t replaced = last[j - 1] + (one[i - 1] != other[j - 1]);
            row[j] = least(replaced, least(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1]) {
                row[j] = least(row[j], before[j - 2] + 1);
            }
        }
    }
    return rows[strlen(one) % 3][width];
}

/* A setting without the prefix, where it has one. */
static const char *without_prefix(const char *name)
{
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0 ? name + strlen(PREFIX) : name;
}

const char *setting_names_nearest(const char *name)
{
    const char *found = NULL;
    const char *longer = NULL; /* a setting that begins with the name and an underscore */
    bool is_only_one = true;
    size_t length = strlen(name);
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0 || length > NAME_LENGTH) {
        return NULL;
    }
    const char *rest = without_prefix(name);
    size_t most = strlen(rest) < SHORT_NAME ? 1 : 2;
    for (size_t i = 0; i < COUNT; i++) {
        const char *known = names[i].name;
        if (known == NULL) {
            continue;
        }
        if (strcmp(known, name) == 0) {
            return NULL;
        }
        if (strncmp(known, name, length) == 0 && known[length] == '_') {
            is_only_one = longer == NULL;
            longer = known;
        }
        size_t far = distance(rest, without_prefix(known));
        if (far <= most) {
            most = far == 0 ? 0 : far - 1; /* the first of the nearest */
            found = known;
        }
    }
    return found != NULL ? found : is_only_one ? longer : NULL;
}

/* Kubernetes gives every container the addresses of services, SANDBOX_PORT of one called sandbox.
 */
static bool is_of_service(const char *value)
{
    return strncmp(value, "tcp://", 6) == 0 || strncmp(value, "udp://", 6) == 0;
}

void setting_names_warn(const struct variables *variables)
{
    const char *where = variables == NULL ? NULL : variables->where;
    char **first = variables == NULL ? environ : variables->entries;
    for (char **variable = first; variable != NULL && *variable != NULL; variable++) {
        char name[NAME_LENGTH + 1];
        size_t length = strcspn(*variable, "=");
        if (length >= sizeof(name) || (*variable)[length] == '\0' ||
            is_of_service(*variable + length + 1)) {
            continue;
        }
        memcpy(name, *variable, length);
        name[length] = '\0';
        const char *nearest = setting_names_nearest(name);
        if (nearest != NULL) {
            log_at(LOG_WARNING, "%s%s%s is no setting and does nothing: did you mean %s?",
                   where == NULL ? "" : where, where == NULL ? "" : ": ", name, nearest);
        }
    }
}
