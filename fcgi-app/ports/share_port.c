/*
 * POST /share_port and /unshare_port: a port for browsers without the token. Here a share begins
 * and ends; nginx signs its link, and lets clients in (nginx/share.js).
 */
#include "fcgi-app/ports/share_port.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/error_text.h"
#include "common/rfc3339.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/grant.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/ports/embed_origins.h"
#include "fcgi-app/ports/port_number.h"
#include "fcgi-app/ports/shares.h"

#define HOST_SIZE 320 /* a name has at most 253 bytes */

static bool public_allowed;

void share_port_init(bool may_be_public)
{
    public_allowed = may_be_public;
}

/* What a share is asked to be. */
struct share_wish {
    struct share share;
    const char *path; /* of the link, with its parameters; borrowed */
    char host[HOST_SIZE];
    char origins[SHARE_ORIGINS_MOST + 1];
};

/* A path that stands in a link, in JSON and in a header as it is. NULL, or what is wrong. */
static const char *fault_of_path(const char *path)
{
    if (path[0] != '/') {
        return "path must begin with /";
    }
    if (strlen(path) > GRANT_TARGET_MOST) {
        return "path is too long for a link";
    }
    if (strstr(path, "sandbox-grant=") != NULL) {
        return "path must not have a parameter sandbox-grant";
    }
    for (const char *at = path; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~' || strchr("\"\\#<>^`{|}", *at) != NULL) {
            return "path must be as a browser sends it, without a fragment: write %xx for other "
                   "characters than those of a URL";
        }
    }
    return NULL;
}

/* The host form of a port is its number, and what nginx says that follows there. */
static bool choose_host(struct request *request, struct share_wish *wish)
{
    const char *rest = request_param(request, "PORT_HOST");
    int length = snprintf(wish->host, sizeof(wish->host), "%u%s", wish->share.port, rest);
    if (*rest == '\0' || length >= (int)sizeof(wish->host)) {
        answer_error(request, 400, ERROR_unsupported,
                     "The host that you call has no form for ports: call localhost, or set "
                     "SANDBOX_PORT_DOMAIN");
        return false;
    }
    return true;
}

static bool choose_visitors(struct request *request, const struct json_body *body,
                            struct share_wish *wish)
{
    const char *fault = embed_origins_read(json_list(body, "embed_origins"), wish->origins);
    if (fault != NULL) {
        answer_error(request, 400, ERROR_invalid_request, "%s", fault);
        return false;
    }
    wish->share.is_public = json_flag(body, "public");
    if (wish->share.is_public && !public_allowed) {
        answer_error(request, 403, ERROR_unsupported,
                     "This server shares no port with everybody (SANDBOX_PUBLIC_PORTS is off)");
        return false;
    }
    if (wish->share.is_public && wish->origins[0] != '\0') {
        answer_error(request, 400, ERROR_invalid_request,
                     "Only one of public and embed_origins: any page may show a public port");
        return false;
    }
    return true;
}

/* False: the request has been answered. */
static bool read_wish(struct request *request, const struct json_body *body,
                      struct share_wish *wish)
{
    const char *path = json_text(body, "path");
    wish->path = path == NULL ? "/" : path;
    wish->share.expires_ms = grant_expiry(request, body, GRANT_LINK_MS);
    if (wish->share.expires_ms == 0) {
        return false;
    }
    wish->share.port = port_wanted(request, body, "port");
    if (wish->share.port == 0 || !choose_visitors(request, body, wish)) {
        return false;
    }
    const char *fault = fault_of_path(wish->path);
    if (fault != NULL) {
        answer_error(request, 400, ERROR_invalid_request, "%s", fault);
        return false;
    }
    return choose_host(request, wish);
}

/* The link is nginx's answer, since the key is nginx's alone (snippets/server.conf). */
static void answer_link(struct request *request, const struct share_wish *wish, const char *time)
{
    const struct share *share = &wish->share;
    char headers[GRANT_TARGET_MOST + HOST_SIZE + 256];
    (void)snprintf(headers, sizeof(headers),
                   "X-Accel-Redirect: @nginx_sandbox_shared\r\n"
                   "X-Sandbox-Grant: %u %s %llu %s\r\n"
                   "X-Sandbox-Share: %s\r\n"
                   "X-Sandbox-Host: %s\r\n"
                   "X-Sandbox-Expires-At: %s\r\n",
                   share->port, share->id, (unsigned long long)share->expires_ms, wish->path,
                   share->id, wish->host, time);
    if (request_begin(request, 200, NULL, headers) == 0) {
        (void)request_flush(request); /* what fails is seen when it ends */
    }
}

static void handle_share_port(struct request *request, const struct json_body *body)
{
    struct share_wish wish = {.path = NULL};
    char time[RFC3339_SIZE];
    if (!read_wish(request, body, &wish)) {
        return;
    }
    if (shares_add(&wish.share, wish.origins) != 0) {
        int number = errno;
        if (number == EDQUOT) {
            answer_error(request, 429, ERROR_too_many,
                         "As many ports are shared as may be at once (%d)", SHARES_MOST);
        } else {
            answer_error(request, 500, api_error_of_errno(number),
                         "The port could not be shared: %s", error_text(number));
        }
        return;
    }
    uint64_t expires_ms = wish.share.expires_ms;
    (void)rfc3339_format((int64_t)(expires_ms / 1000), (uint32_t)(expires_ms % 1000) * 1000000,
                         time);
    if (!wish.share.is_public) {
        answer_link(request, &wish, time);
        return;
    }
    answer_fields(request, 200,
                  FIELDS(TEXT_FIELD("id", wish.share.id), TEXT_FIELD("host", wish.host),
                         TEXT_FIELD("path", wish.path), TEXT_FIELD("expires_at", time)));
}

static void handle_unshare_port(struct request *request, const struct json_body *body)
{
    const char *id = json_text(body, "id");
    if ((id == NULL) == (json_text(body, "port") == NULL)) {
        answer_error(request, 400, ERROR_invalid_request,
                     id == NULL ? "port or id is required" : "Only one of port and id");
        return;
    }
    unsigned port = id != NULL ? 0 : port_wanted(request, body, "port");
    if (id == NULL && port == 0) {
        return;
    }
    int ended = shares_end(id, port);
    if (ended < 0) {
        answer_error(request, 500, api_error_of_errno(errno), "The share could not be ended: %s",
                     error_text(errno));
    } else if (ended == 0 && id != NULL) {
        answer_error(request, 404, ERROR_not_found, "There is no share of this id");
    } else {
        answer_fields(request, 200,
                      FIELDS(FLAG_FIELD("success", true), NUMBER_FIELD("ended", (uint64_t)ended)));
    }
}

static const struct json_member share_port_members[] = {
    {JSON_MEMBER("port", TEXT_OR_INT, "The port that a command listens on, 1 to 65535."),
     .required = true},
    {JSON_MEMBER("expires_in_ms", COUNT, "How long it is shared; an hour by default.")},
    {JSON_MEMBER("path", TEXT, "What the link opens, with parameters; / by default.")},
    {JSON_MEMBER("embed_origins", LIST, "The web pages that may show it in a frame.")},
    {JSON_MEMBER("public", FLAG, "Everybody gets in, without the link.")},
};
const struct endpoint share_port_endpoint = {
    API_ROW(share_port),
    .about = "Shares a port with browsers that have no token, until it expires.",
    MEMBERS(share_port_members),
    .handle = handle_share_port,
};

static const struct json_member unshare_members[] = {
    {JSON_MEMBER("port", TEXT_OR_INT, "Ends all that share this port.")},
    {JSON_MEMBER("id", TEXT, "Ends the one of this id.")},
};
const struct endpoint unshare_port_endpoint = {
    API_ROW(unshare_port),
    .about = "Ends the sharing of a port.",
    MEMBERS(unshare_members),
    .handle = handle_unshare_port,
};
