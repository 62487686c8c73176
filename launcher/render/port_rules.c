#include "launcher/render/port_rules.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/variables.h"
#include "launcher/base/trim.h"
#include "launcher/render/listen_address.h"

/* Calls `add` for each of the words between the commas of a setting. The number of the first that
 * it does not take, from 1; 0 when there is none; -1 when memory is out. */
static int each_word(const char *setting, bool (*add)(void *to, char *word), void *to)
{
    cleanup_free char *text = strdup(setting);
    if (text == NULL) {
        return -1;
    }
    int number = 0;
    char *rest = text;
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        word = trim(word);
        number++;
        if (*word != '\0' && !add(to, word)) {
            return number;
        }
    }
    return 0;
}

static bool add_port(void *to, char *word)
{
    struct port_rules *rules = to;
    unsigned port = port_parse(word);
    if (port == 0 || rules->count == PORTS_LISTED_MOST) {
        return false;
    }
    rules->list[rules->count++] = (uint16_t)port;
    return true;
}

int port_rules_read(struct port_rules *rules, const struct variables *from)
{
    const char *setting = variables_get(from, PORTS_VARIABLE);
    *rules = (struct port_rules){.access = PORTS_ALL};
    if (setting == NULL || strcmp(setting, "all") == 0) {
        return 0;
    }
    if (strcmp(setting, "own") == 0) {
        rules->access = PORTS_OWN;
        return 0;
    }
    rules->access = PORTS_LISTED;
    int wrong = each_word(setting, add_port, rules);
    if (wrong < 0) {
        return variables_fail(from, PORTS_VARIABLE ": %s", strerror(errno));
    }
    return wrong == 0 && rules->count > 0
               ? 0
               : variables_fail(from,
                                PORTS_VARIABLE " must be all, own, or at most %d ports such as "
                                               "3000, 8080 with commas between them",
                                PORTS_LISTED_MOST);
}

/* An address, or address/bits, or "unix" for the clients of unix sockets. */
static bool add_trusted(void *to, char *word)
{
    struct port_front *front = to;
    unsigned char address[sizeof(struct in6_addr)];
    if (strcmp(word, "unix") == 0) {
        front->trusts_unix = true;
        return true;
    }
    char *rest = word;
    const char *name = strsep(&rest, "/");
    unsigned most = inet_pton(AF_INET, name, address) == 1    ? 32
                    : inet_pton(AF_INET6, name, address) == 1 ? 128
                                                              : 0;
    char *end = NULL;
    unsigned long bits = rest == NULL ? most : strtoul(rest, &end, 10);
    bool is_number = rest == NULL || (isdigit((unsigned char)*rest) && *end == '\0');
    if (most == 0 || !is_number || bits > most || front->trusted_count == TRUSTED_MOST) {
        return false;
    }
    (void)snprintf(front->trusted[front->trusted_count++], TRUSTED_SIZE, "%s/%lu", name, bits);
    return true;
}

/* Labels of letters, digits and -, with dots between them: plain in a regular expression but for
 * the dots. */
static bool domain_take(struct port_front *front, const char *domain)
{
    size_t length = strlen(domain);
    if (length >= sizeof(front->domain) || domain[0] == '.' || domain[length - 1] == '.' ||
        strstr(domain, "..") != NULL) {
        return false;
    }
    for (size_t i = 0; i <= length; i++) {
        front->domain[i] = (char)tolower((unsigned char)domain[i]);
    }
    return front->domain[strspn(front->domain, "abcdefghijklmnopqrstuvwxyz0123456789-.")] == '\0';
}

int port_front_read(struct port_front *front, const struct variables *from)
{
    const char *domain = variables_get(from, PORT_DOMAIN_VARIABLE);
    const char *host = variables_get(from, PORT_HOST_VARIABLE);
    const char *trusted = variables_get(from, TRUSTED_VARIABLE);
    *front = (struct port_front){.domain = ""};
    if (domain != NULL && !domain_take(front, domain)) {
        return variables_fail(from, PORT_DOMAIN_VARIABLE
                              " must be the name of a domain, such as sandbox.example.org");
    }
    if (host != NULL && strcmp(host, "localhost") != 0 && strcmp(host, "client") != 0) {
        return variables_fail(from, PORT_HOST_VARIABLE " must be localhost or client");
    }
    front->keeps_host = host != NULL && strcmp(host, "client") == 0;
    int wrong = trusted == NULL ? 0 : each_word(trusted, add_trusted, front);
    if (wrong < 0) {
        return variables_fail(from, TRUSTED_VARIABLE ": %s", strerror(errno));
    }
    return wrong == 0 ? 0
                      : variables_fail(from,
                                       TRUSTED_VARIABLE
                                       " must be at most %d addresses such as 10.0.0.0/8 or ::1, "
                                       "or unix, with commas between them: number %d is none",
                                       TRUSTED_MOST, wrong);
}
