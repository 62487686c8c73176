"""POST /share_port: a port for browsers without the token, by a link whose grant becomes a cookie, until it expires or is ended."""

import json
import os
import random
import re
import shutil
import string
import subprocess
import time
import urllib.parse

import pytest

from sandbox import BIG_TIMEOUT, REPOSITORY, EventStream, Port, RawConnection, Server, http_request, in_threads, wait_until
from test_port_http import Application, seen

HOUR = 3600_000
NAVIGATION = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
FRAME = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")]


@pytest.fixture(scope="module")
def server():
    with Server({"SANDBOX_MAX_FAILED_AUTH": "0", "SANDBOX_PUBLIC_PORTS": "on"}) as server:
        yield server


@pytest.fixture(scope="module")
def application():
    with Application() as application:
        yield application


@pytest.fixture(autouse=True)
def no_shares(server, application):
    yield
    server.call("POST", "/unshare_port", {"port": application.port})


def local(server, port=None):
    return f"{'' if port is None else f'{port}.'}localhost:{server.port}"


def ask_to_share(server, port, host=None, **fields):
    return server.call("POST", "/share_port", {"port": port, **fields}, headers={"Host": host or local(server)})


def share(server, port, host=None, **fields):
    answer = ask_to_share(server, port, host, **fields)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"id", "host", "path", "expires_at"} and re.fullmatch("[0-9a-f]{16}", answer.json()["id"])
    return answer.json()


def ask(server, method, host, target, headers=(), body=b""):
    """(status, headers, body), without the token."""
    with server.raw(BIG_TIMEOUT) as connection:
        return connection.exchange(http_request(method, target, [("Host", host), *headers], body), method)


def ask_from(server, source, method, host, target, headers=()):
    with RawConnection(server.host, server.port, source=source) as connection:
        return connection.exchange(http_request(method, target, [("Host", host), *headers], b""), method)


def enter(server, shared, headers=()):
    """Opens the link: the answer, which sets a cookie, and that."""
    status, answer, _ = ask(server, "GET", shared["host"], shared["path"], headers)
    assert status == 303, (status, answer)
    return answer, answer["Set-Cookie"]


def cookie_of(server, shared):
    return enter(server, shared)[1].split(";")[0]


def code(answer):
    status, headers, body = answer
    assert headers["Content-Type"] == "application/json"
    return status, json.loads(body)["error_code"]


def refused(answer):
    return code(answer) == (401, "unauthorized")


# ---- a link ----


def test_a_condition_that_no_answer_meets(server, application):
    """nginx makes the answer, and compares If-Match with its tag, which it has not."""
    answer = server.call("POST", "/share_port", {"port": application.port}, headers={"Host": local(server), "If-Match": '"x"'})
    assert answer.headers["Content-Type"] == "application/json"
    assert (answer.status_code, answer.json()["error_code"]) == (412, "precondition_failed")


def test_a_link(server, application):
    before = time.time()
    shared = share(server, application.port, path="/a%2Fb//c?x=1&y")
    host = local(server, application.port)
    assert shared["host"] == host
    assert re.fullmatch(re.escape("/a%2Fb//c?x=1&y&sandbox-grant=" + shared["id"]) + r"\.[0-9]{13}\.[A-Za-z0-9_-]{43}", shared["path"])
    expires = int(shared["path"].split(".")[1]) / 1000
    assert before + 3599 <= expires <= time.time() + 3601
    assert shared["expires_at"].startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(expires))))
    for method in ("GET", "HEAD", "GET"):  # as often as one likes
        status, headers, _ = ask(server, method, host, shared["path"])
        assert (status, headers["Location"]) == (303, f"//{host}/a%2Fb//c?x=1&y")
        assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer" and headers["X-Request-ID"]
    cookie = headers["Set-Cookie"]
    assert re.fullmatch(rf"sandbox-grant-{shared['id']}=[0-9]{{13}}\.[A-Za-z0-9_-]{{43}}; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax", cookie), cookie
    assert refused(ask(server, "GET", host, "/a"))
    what = seen(ask(server, "GET", host, "/a%2Fb//c?x=1&y", [("Cookie", f"theme=dark; {cookie.split(';')[0]}; b=\xe9")]))
    assert what["line"] == "GET /a%2Fb//c?x=1&y HTTP/1.1"
    assert what["headers"]["cookie"] == "theme=dark; b=\xc3\xa9" and "sandbox-grant" not in str(what)


def test_visitors_learn_of_no_other_port(server, application):
    free = Port()
    closed = share(server, free.number)
    cookie = ("Cookie", cookie_of(server, closed))
    for public in (False, True):
        if public:
            share(server, free.number, public=True)
        status, headers, body = ask(server, "GET", closed["host"], "/", [*([] if public else [cookie]), ("X-Sandbox-Wait-Ms", "0")])
        assert (status, headers["X-Sandbox-Error"]) == (504, "not_listening")
        assert json.loads(body) == {"error": f"Nothing listens on port {free.number}", "error_code": "not_listening", "port": free.number}
    status, _, body = ask(server, "GET", closed["host"], "/", [server.bearer(), ("X-Sandbox-Wait-Ms", "0")])
    listening = json.loads(body)["listening"]
    assert status == 504 and (application.port in listening or len(listening) == 64)  # as many as an error names
    server.call("POST", "/unshare_port", {"port": free.number})
    free.free()


def test_every_method_and_body_by_the_cookie(server, application):
    shared = share(server, application.port)
    cookie = ("Cookie", cookie_of(server, shared))
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        what = seen(ask(server, method, shared["host"], "/", [cookie, ("Content-Length", "3"), ("Origin", f"http://{shared['host']}")], b"abc"))
        assert what["line"].startswith(method) and what["body"] == "abc" and "cookie" not in what["headers"]


def test_with_tls_in_front(server, application):
    """A __Host- cookie: no other host can set it, or sees it."""
    shared = share(server, application.port)
    for proto in ("https", "HTTPS", "https,http"):
        cookie = enter(server, shared, [("X-Forwarded-Proto", proto)])[1]
        assert cookie.startswith(f"__Host-sandbox-grant-{shared['id']}=") and "; Path=/; " in cookie and "Domain" not in cookie
        assert cookie.endswith("; HttpOnly; Secure; SameSite=Lax")
    what = seen(ask(server, "GET", shared["host"], "/", [("Cookie", cookie.split(";")[0])]))
    assert "cookie" not in what["headers"]


def test_below_the_domain(make_server, application):
    server = make_server({"SANDBOX_PORT_DOMAIN": "Sandbox.Example.org", "SANDBOX_MAX_FAILED_AUTH": "0"})
    port = application.port
    for called, expected in (("sandbox.example.org", f"{port}.sandbox.example.org"), ("SANDBOX.example.org:8443", f"{port}.sandbox.example.org:8443"),
                             ("sandbox.example.org.", f"{port}.sandbox.example.org"), ("x.sandbox.example.org:1", f"{port}-x.sandbox.example.org:1"),
                             ("a.b.sandbox.example.org", f"{port}.sandbox.example.org"), ("x.localhost:3000", f"{port}-x.localhost:3000"),
                             ("10.1.2.3:3000", f"{port}.sandbox.example.org"), ("127.0.0.1:3000", f"{port}.localhost:3000"), ("xsandbox.example.org:3000", f"{port}.sandbox.example.org"),
                             ("localhost:3000", f"{port}.localhost:3000"), ("x\"y", f"{port}.sandbox.example.org")):
        answer = ask_to_share(server, port, called)
        assert (answer.json().get("host") if answer.status_code == 200 else None) == expected, (called, answer.text)
    shared = share(server, port, "sandbox.example.org")
    cookie = cookie_of(server, shared)
    for host in (shared["host"], shared["host"].upper(), shared["host"] + ".", shared["host"] + ":443"):
        assert seen(ask(server, "GET", host, "/", [("Cookie", cookie)]))
    for host in (f"{port}.example.org", f"{port}.evil.sandbox.example.org", f"x{port}.sandbox.example.org", f"{port}.sandbox.example.org.evil"):
        assert ask(server, "GET", host, "/", [("Cookie", cookie)])[0] == 401


def test_a_host_without_such_a_form(server, application):
    for host in ("10.1.2.3:3000", "[fe80::1]:3000", "sandbox.example.org", "127.example.org", "localhost.example.org", "xlocalhost", ""):
        answer = ask_to_share(server, application.port, host or "x")
        assert (answer.status_code, answer.json()["error_code"]) == (400, "unsupported") and "SANDBOX_PORT_DOMAIN" in answer.json()["error"]


def test_only_who_has_the_token_shares(server, application):
    shared = share(server, application.port)
    cookie = cookie_of(server, shared)
    for path in ("/share_port", "/unshare_port", "/run", "/list_processes", f"/port/{application.port}/"):
        for target, headers in ((path + "?" + shared["path"].split("?")[1], []), (path, [("Cookie", cookie)])):
            assert refused(ask(server, "GET" if "list" in path or path.startswith("/port") else "POST", local(server), target, headers)), path


# ---- what its holder cannot do ----


def test_nothing_of_a_grant_may_be_changed(server, application):
    shared = share(server, application.port)
    host, grant = shared["host"], shared["path"].split("=")[1]
    identifier, expires, signature = grant.split(".")
    other = share(server, application.port)["path"].split("=")[1]
    changed = [
        f"{identifier}.{int(expires) + 1}.{signature}", f"{identifier}.0{expires}.{signature}", f"{other.split('.')[0]}.{expires}.{signature}",
        f"{identifier}.{expires}.{other.split('.')[2]}", f"{identifier}.{expires}", grant + "=", grant[:-1], grant + "A", grant.upper(), "",
        f"../{identifier}.{expires}.{signature}", f"{identifier}%2E{expires}.{signature}", f"{identifier}.{expires}.{'A' * 43}", "x" * 9000,
    ]
    for position in range(0, len(grant), 7):
        changed.append(grant[:position] + ("a" if grant[position] != "a" else "b") + grant[position + 1:])
    for bad in changed:
        status, headers, _ = ask(server, "GET", host, f"/?sandbox-grant={bad}")
        assert status in (401, 414) and "Set-Cookie" not in headers, bad
        assert ask(server, "GET", host, "/", [("Cookie", f"sandbox-grant-{bad.replace('.', '=', 1)}")])[0] in (400, 401, 431), bad
    for cookie in (f"sandbox-grant-{identifier}={expires}.{signature}", f"{grant}", f"sandbox-grant={grant}"):  # a grant is no cookie
        assert refused(ask(server, "GET", host, "/", [("Cookie", cookie)]))
    name, value = cookie_of(server, shared).split("=")
    assert refused(ask(server, "GET", host, f"/?sandbox-grant={identifier}.{value}")), "and a cookie no grant"
    assert refused(ask(server, "GET", host, "/", [("Cookie", f"{name.upper()}={value}")]))


def test_it_is_for_one_port(server, application):
    """Of one host: another port's host takes neither its grant nor its cookie."""
    shared = share(server, application.port)
    cookie = cookie_of(server, shared)
    with Application() as other:
        host = local(server, other.port)
        assert refused(ask(server, "GET", host, shared["path"]))
        assert refused(ask(server, "GET", host, "/", [("Cookie", cookie)]))
        both = share(server, other.port)
        tossed = [("Cookie", f"{cookie}; {cookie_of(server, both)}; {cookie}x")]
        assert seen(ask(server, "GET", host, "/", tossed)) and seen(ask(server, "GET", shared["host"], "/", tossed))
        assert server.call("POST", "/unshare_port", {"port": other.port}).json()["ended"] == 1


def test_another_sandbox_takes_none(make_server, server, application):
    """Not even one that has the same secret: it has no such share."""
    shared = share(server, application.port)
    cookie = cookie_of(server, shared)
    twin = make_server({"SANDBOX_MAX_FAILED_AUTH": "0"}, secret=server.secret)
    assert refused(ask(twin, "GET", local(twin, application.port), shared["path"]))
    assert refused(ask(twin, "GET", local(twin, application.port), "/", [("Cookie", cookie)]))


def test_any_valid_one_among_several_cookies(server, application):
    """Another host of the domain may set more of the same name; they are not in the way."""
    shared = share(server, application.port)
    cookie = cookie_of(server, shared)
    name = cookie.split("=")[0]
    expired = share(server, application.port, expires_in_ms=1)
    assert expired["id"] != shared["id"]
    junk = [f"{name}=", f"{name}=1.{'A' * 43}", f"{name}", "a", "=", "", f"{name}={'9' * 15}.{'B' * 43}", f"__Host-{name}=x", f"{cookie}x"]
    for before in range(len(junk)):
        line = "; ".join([*junk[:before], cookie, *junk[before:]])
        what = seen(ask(server, "GET", shared["host"], "/", [("Cookie", line)]))
        assert "sandbox-grant" not in str(what)
    assert refused(ask(server, "GET", shared["host"], "/", [("Cookie", "; ".join(junk))]))
    assert seen(ask(server, "GET", shared["host"], "/", [("Cookie", "x=1"), ("Cookie", cookie)]))["headers"]["cookie"] == "x=1"


@pytest.mark.parametrize("kept", ["a=1", "a=1; b=2", "a=\"x y\"; b=2", "a=1;b=2", "a=\xe9\u20ac; b", "xsandbox-grant-1=2; sandbox-grants=3", "a=b=c; d="])
def test_other_cookies_arrive_byte_for_byte(server, application, kept):
    shared = share(server, application.port)
    ours = cookie_of(server, shared)
    other = f"__Host-sandbox-grant-{'0' * 16}=x"
    token = [server.bearer()]
    for line in (kept, f"{ours}; {kept}", f"{kept}; {ours}", f"{ours}; {other}; {kept}; {ours}", f"{kept}; {ours}; z=9; {other}; y=8"):
        expected = "; ".join(part for part in line.split("; ") if not re.match("(__Host-)?sandbox-grant-", part))
        for headers in ([("Cookie", line)], token + [("Cookie", line)]):
            if ours not in line and headers[0][0] == "Cookie":
                continue
            what = seen(ask(server, "GET", shared["host"], "/", headers))
            assert what["headers"]["cookie"].encode("latin-1").decode() == expected, line


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example", "///evil.example", "/%0d%0aX: y".replace(" ", "%20"), "/.//evil.example", "//evil.example:80@x/",
                                  "/%2f%2fevil.example", "/?next=//evil.example", "/a?sandbox-grantx=1"])
def test_a_redirect_stays_at_the_host(server, application, path):
    """Whatever path is given beside a good grant."""
    shared = share(server, application.port)
    grant = shared["path"].split("?")[1]
    status, headers, _ = ask(server, "GET", shared["host"], f"{path}{'&' if '?' in path else '?'}{grant}")
    assert (status, headers["Location"]) == (303, f"//{shared['host']}{path}")
    assert urllib.parse.urljoin(f"http://{shared['host']}/", headers["Location"]).startswith(f"http://{shared['host']}/")


def test_where_a_grant_stands_in_the_query(server, application):
    shared = share(server, application.port)
    host, grant = shared["host"], shared["path"].split("?")[1]
    for query, expected in ((f"?{grant}&a=1", "?a=1"), (f"?a=1&{grant}&b", "?a=1&b"), (f"?a=1&{grant}", "?a=1"), (f"?{grant}", ""), (f"?a?b&{grant}", "?a?b"),
                            (f"?sandbox-grant=x&{grant}", "?sandbox-grant=x"), (f"?&{grant}", "?"), (f"?{grant}&", "?")):
        status, headers, _ = ask(server, "GET", host, "/x" + query)
        assert (status, headers["Location"]) == (303, f"//{host}/x{expected}"), query


def test_a_grant_reaches_no_application(server, application):
    """Not with the token or a cookie either, nor another's grant or a bad one."""
    shared = share(server, application.port)
    host, grant = shared["host"], shared["path"].split("?")[1]
    for who in (server.bearer(), ("X-Sandbox-Authorization", server.bearer()[1]), ("Cookie", cookie_of(server, shared))):
        for query in (grant, grant + "x", "sandbox-grant=", f"sandbox-grant=x&{grant}x"):
            status, headers, _ = ask(server, "GET", host, f"/?{query}&a=1", [who])
            assert status == 303 and headers["Location"] in (f"//{host}/?a=1", f"//{host}/?sandbox-grant=x&a=1"), query
            assert "Set-Cookie" not in headers or query == grant
            status, headers, body = ask(server, "POST", host, f"/?{query}&a=1", [who])
            assert (status, json.loads(body)["error_code"]) == (400, "invalid_request")
    for headers in ([("Upgrade", "websocket"), ("Connection", "upgrade")],):
        assert ask(server, "GET", host, f"/?{grant}", headers)[0] == 400
    assert ask(server, "POST", host, f"/?{grant}")[0] == 400 and ask(server, "POST", host, f"/?{grant}x")[0] == 401
    by_path = seen(ask(server, "GET", local(server), f"/port/{application.port}/?sandbox-grant=theirs", [server.bearer()]))
    assert by_path["line"].endswith("/?sandbox-grant=theirs HTTP/1.1")  # there it means nothing


def test_a_token_beside_a_wrong_one_reaches_no_application(server, application):
    """X-Sandbox-Authorization is what counts where it stands: the cookie lets the request in, and Authorization may hold the token."""
    shared = share(server, application.port)
    headers = [("Cookie", cookie_of(server, shared)), ("X-Sandbox-Authorization", "Bearer wrong"), server.bearer()]
    heard = seen(ask(server, "GET", shared["host"], "/", headers))
    assert not [name for name in heard["headers"] if "authorization" in name], heard


# ---- other pages ----


@pytest.mark.parametrize("method, headers, comes", [
    ("GET", [], True),
    ("GET", [("Sec-Fetch-Site", "same-origin")], True),
    ("GET", [("Sec-Fetch-Site", "none"), *NAVIGATION], True),
    ("POST", [("Sec-Fetch-Site", "same-origin"), ("Origin", "OWN")], True),
    ("POST", [("Sec-Fetch-Site", "same-origin"), ("Origin", "null")], True),
    ("GET", [("Origin", "OWN")], True),
    ("GET", [("Sec-Fetch-Site", "cross-site"), *NAVIGATION], True),
    ("GET", [("Sec-Fetch-Site", "same-site"), *NAVIGATION], True),
    ("GET", [("Sec-Fetch-Site", "cross-site"), *FRAME], False),
    ("GET", [("Sec-Fetch-Site", "same-site"), *FRAME], False),
    ("POST", [("Sec-Fetch-Site", "cross-site"), *NAVIGATION], False),
    ("HEAD", [("Sec-Fetch-Site", "cross-site"), *NAVIGATION], False),
    ("GET", [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")], False),
    ("GET", [("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "script")], False),
    ("GET", [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "object")], False),
    ("GET", [("Sec-Fetch-Site", "nonsense")], False),
    ("GET", [("Origin", "https://evil.example")], False),
    ("POST", [("Origin", "null")], False),
    ("POST", [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "same-origin")], False),
    ("GET", [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site"), *NAVIGATION], False),
    ("GET", [("Origin", "http://OTHER")], False),
    ("GET", [("Origin", "OWN.evil.example")], False),
    ("GET", [("Origin", "https://evil.example"), ("Upgrade", "websocket"), ("Connection", "Upgrade")], False),
    ("GET", [("Origin", "")], False),
])
def test_a_page_of_another_host(server, application, method, headers, comes):
    shared = share(server, application.port)
    own = {"OWN": f"http://{shared['host']}", "http://OTHER": f"http://1{shared['host']}", "OWN.evil.example": f"http://{shared['host']}.evil.example"}
    headers = [(name, own.get(value, value)) for name, value in headers]
    cookie = ("Cookie", cookie_of(server, shared))
    answer = ask(server, method, shared["host"], "/", [cookie, *headers])
    assert (answer[0] == 200) == comes, answer
    if not comes and method != "HEAD":
        assert code(answer) == (403, "forbidden")
    assert ask(server, method, shared["host"], "/", [server.bearer(), *headers])[0] == 200  # no browser adds the token by itself


def test_frames_of_some_pages(server, application):
    pages = ["https://app.example.org", "http://localhost:5173"]
    shared = share(server, application.port, embed_origins=pages)
    answer, cookie = enter(server, shared, [("Sec-Fetch-Site", "cross-site"), *FRAME])
    assert cookie.endswith("; HttpOnly; Secure; SameSite=None; Partitioned") and not cookie.startswith("__Host-")
    assert enter(server, shared, [("X-Forwarded-Proto", "https")])[1].startswith("__Host-")
    cookie = ("Cookie", cookie.split(";")[0])
    policy = f"frame-ancestors 'self' {' '.join(pages)}"
    for headers in ([("Sec-Fetch-Site", "cross-site"), *FRAME], [("Sec-Fetch-Site", "same-origin")], []):
        status, answer, _ = ask(server, "GET", shared["host"], "/", [cookie, *headers])
        assert (status, answer["Content-Security-Policy"]) == (200, policy)
    for method, headers in (("POST", [("Sec-Fetch-Site", "cross-site"), *FRAME]), ("GET", [("Origin", pages[0])]),
                            ("GET", [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")])):
        assert code(ask(server, method, shared["host"], "/", [cookie, *headers])) == (403, "forbidden")
    plain = share(server, application.port)
    status, answer, _ = ask(server, "GET", shared["host"], "/", [("Cookie", cookie_of(server, plain))])
    assert status == 200 and "Content-Security-Policy" not in answer
    both = ("Cookie", f"{cookie_of(server, plain)}; {cookie[1]}")  # what one of them may, the request may
    assert ask(server, "GET", shared["host"], "/", [both, ("Sec-Fetch-Site", "cross-site"), *FRAME])[1]["Content-Security-Policy"] == policy


# ---- its end ----


def test_unsharing_ends_it_at_once(server, application):
    first, second = share(server, application.port), share(server, application.port)
    cookies = [cookie_of(server, one) for one in (first, second)]
    answer = server.call("POST", "/unshare_port", {"id": first["id"]})
    assert (answer.status_code, answer.json()) == (200, {"success": True, "ended": 1})
    for headers, target in (([("Cookie", cookies[0])], "/"), ([], first["path"])):
        for _ in range(20):  # whichever worker it is
            assert refused(ask(server, "GET", first["host"], target, headers))
    assert seen(ask(server, "GET", first["host"], "/", [("Cookie", "; ".join(cookies))]))
    assert server.call("POST", "/unshare_port", {"id": first["id"]}).json()["error_code"] == "not_found"
    assert server.call("POST", "/unshare_port", {"port": str(application.port)}).json()["ended"] == 1
    assert refused(ask(server, "GET", first["host"], "/", [("Cookie", cookies[1])]))
    assert server.call("POST", "/unshare_port", {"port": application.port}).json() == {"success": True, "ended": 0}
    share(server, application.port)
    assert refused(ask(server, "GET", first["host"], "/", [("Cookie", cookies[1])])), "a new share is not the old one"


def test_it_expires(server, application):
    shared = share(server, application.port, expires_in_ms=1500)
    host, cookie = shared["host"], cookie_of(server, shared)
    assert "; Max-Age=1; " in enter(server, shared)[1] or "; Max-Age=2; " in enter(server, shared)[1]
    wait_until(lambda: ask(server, "GET", host, "/", [("Cookie", cookie)])[0] == 401, "its end")
    assert code(ask(server, "GET", host, shared["path"])) == (401, "expired")
    assert code(ask(server, "GET", host, "/", [("Cookie", cookie)])) == (401, "expired")
    assert refused(ask(server, "GET", host, "/", [("Cookie", cookie + "x")]))
    assert refused(ask(server, "GET", host, shared["path"] + "x"))


def test_it_outlives_daemons_but_no_whole_start(make_server, application):
    settings = {"SANDBOX_PUBLIC_PORTS": "on", "SANDBOX_MAX_FAILED_AUTH": "0"}
    server = make_server(settings, secret="one")
    shared = share(server, application.port)
    share(server, application.port, public=True)
    cookie = cookie_of(server, shared)
    for daemon in ("fcgi-app", "procd", "nginx"):
        server.back(daemon, server.kill_daemon(daemon))
        assert seen(ask(server, "GET", local(server, application.port), "/", [("Cookie", cookie)]))
        assert enter(server, shared) and seen(ask(server, "GET", shared["host"], "/"))
    server.stop()
    again = make_server(settings, secret="one")
    for target, headers in (("/", []), ("/", [("Cookie", cookie)]), (shared["path"], [])):
        assert ask(again, "GET", local(again, application.port), target, headers)[0] == 401


def test_it_ends_with_the_secret(make_server, application):
    both = make_server({"SANDBOX_SECRET": "new\nold", "SANDBOX_MAX_FAILED_AUTH": "0"}, secret="new")
    shared = share(both, application.port)
    assert seen(ask(both, "GET", shared["host"], "/", [("Cookie", cookie_of(both, shared))]))


def test_none_are_made(make_server, application):
    server = make_server({"SANDBOX_MAX_LINK_LIFETIME": "0", "SANDBOX_PUBLIC_PORTS": "on"})
    for fields in ({}, {"public": True}):
        answer = ask_to_share(server, application.port, **fields)
        assert (answer.status_code, answer.json()["error_code"]) == (403, "unsupported") and "SANDBOX_MAX_LINK_LIFETIME" in answer.json()["error"]
    assert refused(ask(server, "GET", local(server, application.port), f"/?sandbox-grant={'0' * 16}.9999999999999.{'A' * 43}"))


# ---- public ports ----


def test_a_public_port(server, application):
    shared = share(server, application.port, public=True, path="/x?y=1")
    assert shared["path"] == "/x?y=1"
    for method in ("GET", "POST", "OPTIONS"):
        for headers in ([], [("Origin", "https://any.example"), ("Sec-Fetch-Site", "cross-site"), ("Access-Control-Request-Method", "PUT")],
                        [("Authorization", "Basic YTpi")]):
            assert seen(ask(server, method, shared["host"], "/x?y=1", headers))["line"].startswith(f"{method} /x?y=1 ")
    assert seen(ask(server, "GET", shared["host"], "/", [("Authorization", "Basic YTpi")]))["headers"]["authorization"] == "Basic YTpi"
    assert refused(ask(server, "GET", local(server, application.port + 1 if application.port < 65535 else 1), "/"))
    assert refused(ask(server, "GET", local(server), f"/port/{application.port}/")), "the path form takes the token only"
    assert server.call("POST", "/unshare_port", {"id": shared["id"]}).json()["ended"] == 1
    assert refused(ask(server, "GET", shared["host"], "/"))
    brief = share(server, application.port, public=True, expires_in_ms=300)
    wait_until(lambda: ask(server, "GET", brief["host"], "/")[0] == 401, "its end")


def test_no_port_is_public_without_the_setting(make_server, application):
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": "0"})
    answer = ask_to_share(server, application.port, public=True)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "unsupported") and "SANDBOX_PUBLIC_PORTS" in answer.json()["error"]
    # whatever stands in the file
    expires = int(time.time() * 1000) + HOUR
    (server.run_dir / f"port/public-{application.port}").write_text(f"{'0' * 16} {application.port} {expires}\n")
    assert refused(ask(server, "GET", local(server, application.port), "/"))


@pytest.mark.parametrize("value", ["1", "ON", "true", "on "])
def test_a_wrong_setting(value):
    done = subprocess.run([REPOSITORY / "bin/nginx-sandbox"], env={**os.environ, "SANDBOX_PUBLIC_PORTS": value}, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "SANDBOX_PUBLIC_PORTS must be on or off" in done.stderr


def test_files_that_are_no_shares(server, application):
    """A client with the token can write into the directory; nginx believes no more than a line, and waits for no FIFO."""
    shared = share(server, application.port)
    cookie = ("Cookie", cookie_of(server, shared))
    path = server.run_dir / f"port/share-{shared['id']}"
    good = path.read_text()
    for text in ("", good.rstrip("\n"), good * 2, good.replace(str(application.port), "1"), f"{'0' * 16}{good[16:]}", "\0" * 5000, good.rstrip("\n") + " x" * 2000 + "\n"):
        path.write_text(text)
        assert refused(ask(server, "GET", shared["host"], "/", [cookie])), text
    path.unlink()
    os.mkfifo(path)
    assert refused(ask(server, "GET", shared["host"], "/", [cookie]))
    path.unlink()
    path.symlink_to("/dev/zero")
    assert refused(ask(server, "GET", shared["host"], "/", [cookie]))
    path.unlink()
    path.write_text(good)
    assert seen(ask(server, "GET", shared["host"], "/", [cookie]))


# ---- failures and logs ----


def test_failures_count_as_failed_tokens(make_server, application):
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": "1"})
    shared = share(server, application.port)
    cookie = cookie_of(server, shared)
    for number, (target, headers) in enumerate(((shared["path"] + "x", []), ("/", [("Cookie", cookie + "x")]), ("/", []))):
        source = (f"127.0.4.{number + 1}", 0)
        wait_until(lambda target=target, headers=headers, source=source: ask_from(server, source, "GET", shared["host"], target, headers)[0] == 429, "a 429")
        for _ in range(30):  # the right one is never limited
            assert ask_from(server, source, "GET", shared["host"], "/", [("Cookie", cookie)])[0] == 200
            assert ask_from(server, source, "GET", shared["host"], shared["path"])[0] == 303


def test_it_is_in_no_log(make_server, application, open_directory):
    log = open_directory / "access.log"
    server = make_server({"LOG_LEVEL": "debug", "SANDBOX_ACCESS_LOG": str(log), "SANDBOX_MAX_FAILED_AUTH": "2"})
    shared = share(server, application.port)
    host, cookie = shared["host"], cookie_of(server, shared)
    for target in (shared["path"], shared["path"] + "x", shared["path"] + "&x=1"):
        for headers in ([], [("Cookie", cookie)], [("Content-Length", "nonsense")], [("X-Request-ID", target)], [server.bearer()], [("Upgrade", "x")]):
            for method in ("GET", "POST"):
                ask(server, method, host, target, [*headers, ("Referer", f"http://{host}{target}")])
    for _ in range(30):
        ask(server, "GET", host, shared["path"] + "x")
    ask(server, "GET", host, shared["path"] + "x" * 9000)
    ask(server, "GET", host, "/", [("Cookie", cookie + "; x" * 9000)])
    ask(server, "GET", host, "/", [("Cookie", cookie)])
    wait_until(lambda: f'"grant":"cookie:{shared["id"]}"' in log.read_text(), "lines in the access log")
    said = log.read_bytes() + (server.launch.stdout.text + server.launch.stderr.text).encode()
    for path in server.run_dir.rglob("*"):
        if path.is_file() and not path.is_symlink():
            said += path.read_bytes()
    for signature in (shared["path"].split(".")[2], cookie.split(".")[1]):
        for tale in (signature[:12], signature[-12:]):
            assert tale.encode() not in said, tale
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(line["port"] == str(application.port) for line in lines if ":" in line["grant"])
    assert {line["grant"] for line in lines} >= {f"link:{shared['id']}", f"cookie:{shared['id']}", "token"}


def test_a_pool(make_server, open_directory, application):
    server = make_server({"SANDBOX_AUTH_MODE": "pool", "SANDBOX_SECRET_PATH": str(open_directory / "claim"), "SANDBOX_SECRET": None, "SANDBOX_MAX_FAILED_AUTH": "0"})
    assert refused(ask(server, "GET", local(server, application.port), f"/?sandbox-grant={'0' * 16}.9999999999999.{'A' * 43}"))
    for _ in range(2):  # the first token makes a link, too
        shared = share(server, application.port)
        assert seen(ask(server, "GET", shared["host"], "/", [("Cookie", cookie_of(server, shared))]))


def test_a_list_of_ports_names_it(server, application):
    def listed():
        with EventStream(server, "GET", "/ports_streaming") as stream:
            state = stream.next().data["ports"]
        lists = [[entry["shared"] for entry in ports if entry["port"] == application.port] for ports in (state, server.get("/list_ports").json()["ports"])]
        assert lists[0] == lists[1]
        return lists[0]

    assert listed() == [False]
    shared = share(server, application.port)
    assert listed() == [True]
    server.call("POST", "/unshare_port", {"id": shared["id"]})
    assert listed() == [False]


def test_many_at_once(server, application):
    shares = in_threads(8, lambda _: [share(server, application.port) for _ in range(10)])
    assert len({one["id"] for some in shares for one in some}) == 80
    answers = [ask_to_share(server, application.port) for _ in range(256 - 80 + 1)]
    assert (answers[-1].status_code, answers[-1].json()["error_code"]) == (429, "too_many")
    assert server.call("POST", "/unshare_port", {"port": application.port}).json()["ended"] == 256


# ---- the parser ----

PROPERTIES = """
import shares from "./share.js";
import readline from "readline";
const lines = readline.createInterface({ input: process.stdin });
lines.on("line", line => {
    const [query, cookies] = JSON.parse(line);
    const grant = shares.parseQuery(query);
    const whole = grant && `${grant.id}.${grant.expires}.${shares.signature("key", "default", "port", "80", grant)}`;
    const again = whole && shares.judge(["other", "key"], "default", "port", "80", shares.parseQuery("sandbox-grant=" + whole), 1000);
    const judged = grant && [["key"], ["other"]].map(keys => shares.judge(keys, "default", "port", "80", grant, 0));
    console.log(JSON.stringify([grant, again, judged, shares.parseCookies(cookies)]));
});
"""


def test_the_parsers_take_grants_to_the_letter(tmp_path):
    for name in ("grant.js", "share.js"):
        shutil.copy(REPOSITORY / "nginx" / name, tmp_path / name)
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated/shares.js").write_text("export default {};")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "properties.js").write_text(PROPERTIES)
    choose = random.Random(5)
    pieces = ["sandbox-grant=", "sandbox-grant-", "__Host-", "&", ";", "; ", "=", ".", "0123456789abcdef", "fedcba98765432", "0", "123456789012345", "A" * 43, "b-_" * 14,
              "\n", "\0", "é", " ", "%2e", "?", "\ud83d\ude00"]

    def word():
        return "".join(choose.choices(pieces, k=choose.randrange(7)))

    def grant(between="."):
        signature = "".join(choose.choices(string.ascii_letters + string.digits + "-_", k=43))
        return f"{'%016x' % choose.getrandbits(64)}{between}{choose.randrange(10 ** 14)}.{signature}"

    cases = [(f"{word()}&sandbox-grant={grant()}" if choose.random() < 0.6 else word(),
              f"{word()}; sandbox-grant-{grant('=')}{choose.choice(['', '; ', word()])}" if choose.random() < 0.6 else word()) for _ in range(10_000)]
    done = subprocess.run(["node", tmp_path / "properties.js"], input="\n".join(json.dumps(case) for case in cases), stdout=subprocess.PIPE, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(cases)
    taken = 0
    for (query, cookies), (found, again, judged, read) in zip(cases, answers):
        words = [part for part in query.split("&") if part.startswith("sandbox-grant=")]
        shaped = words and re.fullmatch(r"sandbox-grant=([0-9a-f]{16})\.([0-9]{1,15})\.([A-Za-z0-9_-]{43})", words[-1])
        assert bool(found) == bool(shaped), query
        assert judged in (None, ["", ""])  # nobody signed it
        if found:
            taken += 1
            assert tuple(found.values()) == shaped.groups() and again == ("1" if int(found["expires"]) > 1000 else "expired")
        for cookie in read:
            assert re.search(rf"(?:^|;) *(?:__Host-)?sandbox-grant-{cookie['id']}={cookie['expires']}\.{cookie['signature']} *(?:;|$)", cookies)
    assert taken > 1000 and sum(len(read) for *_, read in answers) > 1000
