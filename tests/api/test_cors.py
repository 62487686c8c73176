"""
SANDBOX_CORS_ORIGINS: which web pages of other origins a browser lets read answers. (A browser itself is in test_cors_browser.py; sites
of an operator's nginx are in tests/smoke/test_platform.py.)
"""

import http.client
import json

import pytest

from sandbox import API, Server, http_request, wait_until

pytestmark = pytest.mark.host

PAGE = "https://app.example.org"
LOCAL = "http://localhost:5173"
OTHER = "https://other.example.org"
EVERY = (("GET", "/health"), ("GET", "/metrics"), *API, ("POST", "/none"), ("GET", "/"), ("GET", "/port/9/"))


def preflight(server, path, origin=PAGE, method="POST", **headers):
    """The question of a browser; `headers` are further ones."""
    return server.call("OPTIONS", path, token=False, headers={
        "Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type", **headers})


def words(value):
    return {word.strip() for word in value.split(",")}


def cors_headers(headers):
    """Those that are about origins, by name."""
    return {name: value for name, value in headers.items() if name.startswith("Access-Control-") or name == "Vary"}


def assert_allowed(headers, origin=PAGE):
    """A page of this origin may read the answer, and what stands in these headers."""
    assert headers["Access-Control-Allow-Origin"] == origin
    assert {"X-Request-ID", "Retry-After"} <= words(headers["Access-Control-Expose-Headers"])
    assert words(headers["Vary"]) == {"Origin"}
    assert "Access-Control-Allow-Credentials" not in headers


def assert_refused(answer, status=403, vary=True):
    """It has no header that lets a page read it."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json" and answer.headers["X-Request-ID"]
    assert cors_headers(answer.headers) == ({"Vary": "Origin"} if vary else {})
    assert status != 403 or "SANDBOX_CORS_ORIGINS" in answer.json()["error"]


@pytest.fixture(scope="module")
def shared_server():
    with Server({"SANDBOX_CORS_ORIGINS": f" {LOCAL},{PAGE} ", "SANDBOX_MAX_BODY": "1k"}) as server:
        yield server


@pytest.mark.parametrize("method, path", EVERY)
def test_a_preflight_is_answered_without_a_token(shared_server, method, path):
    for origin in (PAGE, LOCAL):
        answer = preflight(shared_server, path, origin, method)
        assert (answer.status_code, answer.content) == (204, b"") and "X-Sandbox-Error" not in answer.headers
        assert_allowed(answer.headers, origin)
        assert {"GET", "HEAD", "POST"} <= words(answer.headers["Access-Control-Allow-Methods"])
        assert {"Authorization", "Content-Type", "Last-Event-ID"} <= words(answer.headers["Access-Control-Allow-Headers"])
        assert 0 < int(answer.headers["Access-Control-Max-Age"]) <= 7200
        assert "Content-Type" not in answer.headers and answer.headers["X-Request-ID"]


@pytest.mark.parametrize("origin", [
    OTHER, "null", "*", "https://app.example.org:443", "https://app.example.org.evil.example", "https://evil.example/https://app.example.org",
    "https://app.example.org/", "https://app-example.org", "https://appXexample.org", "http://app.example.org", "https://APP.example.org",
    "HTTPS://app.example.org", "https://app.example.org:8443", "http://localhost", "http://localhost:51730", "http://localhost:5173 x",
    "x http://localhost:5173", "default http://localhost:5173", "https://app.example.org, http://localhost:5173", "https://", "x" * 4000,
])
def test_other_origins_are_refused(shared_server, origin):
    """An origin is the same only to the letter."""
    assert_refused(preflight(shared_server, "/run", origin))
    assert_refused(shared_server.get("/none", headers={"Origin": origin}), 404)


def test_what_is_no_preflight_stays_as_it_is(shared_server):
    for headers in ({}, {"Origin": PAGE}, {"Access-Control-Request-Method": "POST"}, {"Origin": PAGE, "Access-Control-Request-Method": ""},
                    {"Origin": "", "Access-Control-Request-Method": "POST"}):
        answer = shared_server.call("OPTIONS", "/run", headers=headers)
        assert (answer.status_code, answer.headers["Allow"]) == (204, "POST, OPTIONS"), headers
        assert "Access-Control-Allow-Methods" not in answer.headers
        assert shared_server.call("OPTIONS", "/run", token=False, headers=headers).status_code == 401
    for method in ("GET", "POST"):
        answer = shared_server.call(method, "/run", token=False, headers={"Origin": PAGE, "Access-Control-Request-Method": "POST"})
        assert answer.status_code == 401


def test_the_connection_goes_on(shared_server):
    ask = http_request("OPTIONS", "/run", [("Host", "x"), ("Origin", PAGE), ("Access-Control-Request-Method", "POST")])
    refused = ask.replace(PAGE.encode(), OTHER.encode())
    body = b'{"cmd":"echo on"}'
    run = http_request("POST", "/run", [("Host", "x"), ("Origin", PAGE), shared_server.bearer(), ("Content-Length", str(len(body)))], body)
    with shared_server.raw() as raw:
        for _ in range(3):
            assert raw.exchange(ask, "OPTIONS")[0] == 204
            assert raw.exchange(refused, "OPTIONS")[0] == 403
            assert json.loads(raw.exchange(run, "POST")[2])["stdout"] == "on\n"


def test_a_preflight_with_a_body(shared_server):
    """Nobody sends one. It is thrown away."""
    headers = [("Host", "x"), ("Origin", PAGE), ("Access-Control-Request-Method", "POST")]
    for framing, body, status in ((("Content-Length", "4"), b"body", 204), (("Transfer-Encoding", "chunked"), b"4\r\nbody\r\n0\r\n\r\n", 204),
                                  (("Transfer-Encoding", "chunked"), b"4\r\nbody\r\nx\r\n", 400), (("Content-Length", "4000"), b"x" * 4000, 204)):
        with shared_server.raw() as raw:
            answer = raw.exchange(http_request("OPTIONS", "/run", [*headers, framing], body), "OPTIONS")
        assert answer[0] == status, framing
        assert_allowed(answer[1])


def requests_with_errors(server):
    """(status, method, target, headers, body) of errors of fcgi-app's and of nginx's own."""
    token = server.bearer()
    return [
        (200, "GET", "/health", [], b""),
        (200, "GET", "/list_processes", [token], b""),
        (400, "POST", "/run", [token, ("Content-Length", "1")], b"{"),
        (400, "POST", "/run", [token, ("Transfer-Encoding", "chunked")], b"x\r\n"),
        (401, "GET", "/list_processes", [], b""),
        (401, "POST", "/run", [("Authorization", "Bearer wrong"), ("Content-Length", "2")], b"{}"),
        (404, "GET", "/none", [token], b""),
        (404, "GET", "/get_process?id=none", [token], b""),
        (405, "GET", "/run", [token], b""),
        (405, "TRACE", "/run", [], b""),
        (413, "POST", "/run", [token, ("Content-Length", "1025")], b"x" * 1025),
        (413, "POST", "/run", [token, ("Transfer-Encoding", "chunked")], b"401\r\n" + b"x" * 1025 + b"\r\n0\r\n\r\n"),
        (415, "POST", "/run", [token, ("Content-Encoding", "gzip"), ("Content-Length", "2")], b"{}"),
        (431, "GET", "/run", [token, ("X", "y" * 70000)], b""),
        (501, "POST", "/run", [token, ("Transfer-Encoding", "gzip")], b""),
        (505, "GET", "/run", [token], b""),
    ]


def exchange(server, origin, request):
    status, method, target, headers, body = request
    headers = [("Host", "x"), *([("Origin", origin)] if origin else []), *headers]
    with server.raw() as raw:
        answer = raw.exchange(http_request(method, target, headers, body, "HTTP/9.9" if status == 505 else "HTTP/1.1"), method)
    assert answer[0] == status, request[:3]
    return answer


def test_errors_may_be_read_as_well(shared_server):
    """Those that nginx itself answers, too."""
    seen = set()
    for request in requests_with_errors(shared_server):
        _, headers, body = exchange(shared_server, PAGE, request)
        if headers["Access-Control-Allow-Origin"] is None and request[0] == 505:
            continue  # nginx has read no header
        assert_allowed(headers)
        seen.add(request[0])
        assert request[1] == "TRACE" or json.loads(body), request
        assert cors_headers(exchange(shared_server, OTHER, request)[1]) == {"Vary": "Origin"}
        assert cors_headers(exchange(shared_server, None, request)[1]) == {"Vary": "Origin"}
    assert {400, 401, 404, 405, 413, 415, 431} <= seen


def test_too_many_failed_tokens_may_be_read_as_well(make_server):
    """And how long to wait. A preflight is no failed token, however many come."""
    server = make_server({"SANDBOX_CORS_ORIGINS": PAGE, "SANDBOX_MAX_FAILED_AUTH": "1"})
    for _ in range(100):
        assert preflight(server, "/run").status_code == 204
        assert preflight(server, "/run", OTHER).status_code == 403
    assert server.get("/list_processes", token=False).status_code == 401

    def guess():
        answer = server.get("/list_processes", token=False, headers={"Origin": PAGE})
        return [answer] if answer.status_code == 429 else None

    answer, = wait_until(guess, "a 429")
    assert_allowed(answer.headers)
    assert answer.headers["Retry-After"] == "1"
    assert preflight(server, "/run").status_code == 204
    assert_allowed(server.get("/list_processes", headers={"Origin": PAGE}).headers)


def test_a_server_that_is_away_may_be_read_as_well(make_server):
    """503 of guard, and of nginx where nothing could be delivered."""
    server = make_server({"SANDBOX_CORS_ORIGINS": PAGE})
    server.supervise("fcgi-app", "d")
    for call in (lambda: server.get("/health", headers={"Origin": PAGE}),
                 lambda: server.call("POST", "/run", {"cmd": "true"}, headers={"Origin": PAGE})):
        answer = call()
        assert answer.status_code == 503 and answer.headers["Retry-After"]
        assert_allowed(answer.headers)
    assert preflight(server, "/run").status_code == 204
    (server.run_dir / "fcgi-app.sock").rename(server.run_dir / "moved")
    answer = server.get("/list_processes", headers={"Origin": PAGE})
    assert answer.status_code == 503
    assert_allowed(answer.headers)
    (server.run_dir / "moved").rename(server.run_dir / "fcgi-app.sock")
    server.supervise("fcgi-app", "u")
    server.healthy()


def test_streams_may_be_read(shared_server):
    headers = {"Origin": PAGE}
    job = shared_server.start("echo logged")["id"]
    for method, path, body in (("POST", "/run_streaming", {"cmd": "echo streamed"}), ("GET", f"/process_logs_streaming?id={job}", None),
                               ("GET", "/process_logs_streaming?id=none", None)):
        answer = shared_server.call(method, path, body, headers=headers)
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert_allowed(answer.headers)


def stable(headers):
    return sorted((name, value) for name, value in headers.items() if name not in ("Date", "X-Request-ID"))


def test_without_the_setting_there_is_nothing(make_server, shared_server):
    """No answer has a header about origins, and a preflight is refused by a text that names the setting; it counts for nothing, too.
    With the setting a request without Origin gets the same answers but for Vary."""
    server = make_server({"SANDBOX_MAX_BODY": "1k", "SANDBOX_MAX_FAILED_AUTH": "1"})
    for method, path in EVERY:
        assert_refused(preflight(server, path, method=method), vary=False)
    assert server.get("/list_processes", token=False).status_code == 401
    for request in requests_with_errors(server):
        if request[0] == 401:
            continue
        status, headers, body = exchange(server, PAGE, request)
        assert cors_headers(headers) == {}
        assert stable(exchange(server, None, request)[1]) == stable(headers)
        if request[1:3] == ("GET", "/health"):
            _, with_setting, same = exchange(shared_server, None, request)
            assert (stable(with_setting), same) == (sorted([*stable(headers), ("Vary", "Origin")]), body)
    for empty in ("", " , "):
        assert_refused(preflight(make_server({"SANDBOX_CORS_ORIGINS": empty}), "/run"), vary=False)


def test_every_origin(make_server):
    server = make_server({"SANDBOX_CORS_ORIGINS": " * "})
    for origin in (PAGE, "null", "x", "moz-extension://0b8e0a1c-5b7f-4d36-9d0e-9ad3a7a4d0f1"):
        answer = preflight(server, "/run", origin)
        assert answer.status_code == 204
        assert_allowed(answer.headers, "*")
        assert_allowed(server.get("/list_processes", headers={"Origin": origin}).headers, "*")
    assert cors_headers(server.get("/list_processes").headers) == {"Vary": "Origin"}


# As an operator may write it, and as a browser sends it.
SAME = {
    "HTTPS://App.Example.ORG": PAGE, "https://app.example.org:443": PAGE, "http://localhost:80": "http://localhost", "http://localhost:00080": "http://localhost",
    "https://localhost:80": "https://localhost:80", "http://localhost:443": "http://localhost:443", "http://127.0.0.1:8080": "http://127.0.0.1:8080",
    "http://[::1]:8080": "http://[::1]:8080", "http://[0:0:0:0:0:0:0:1]": "http://[::1]", "http://[2001:DB8::1]": "http://[2001:db8::1]",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop": "chrome-extension://abcdefghijklmnopabcdefghijklmnop", "tauri://localhost": "tauri://localhost",
    "a+b-c.d://x_y": "a+b-c.d://x_y", "https://xn--bcher-kva.example": "https://xn--bcher-kva.example",
}


def test_origins_are_written_as_browsers_do(make_server):
    server = make_server({"SANDBOX_CORS_ORIGINS": ",".join(SAME)})
    for sent in SAME.values():
        assert_allowed(preflight(server, "/run", sent).headers, sent)
    for sent in ("https://localhost", "aab-c.d://x_y", "a+b-cXd://x_y", "http://:8080", "http://1:8080"):
        assert_refused(preflight(server, "/run", sent))


def test_as_many_origins_as_may_be(make_server):
    origins = [f"https://{number}.{'x' * 60}.{'y' * 60}.{'z' * 60}.example" for number in range(64)]
    server = make_server({"SANDBOX_CORS_ORIGINS": ", ".join(origins)})
    for origin in (origins[0], origins[-1]):
        assert_allowed(preflight(server, "/run", origin).headers, origin)


def test_a_preflight_claims_nothing(make_server, tmp_path_factory):
    """The sandbox of a pool belongs to the first token, and a preflight has none; nor does one that brings one get it."""
    place = tmp_path_factory.mktemp("claim") / "claim"
    server = make_server({"SANDBOX_AUTH_MODE": "pool", "SANDBOX_SECRET_PATH": str(place), "SANDBOX_SECRET": None, "SANDBOX_CORS_ORIGINS": PAGE})
    for headers in ({}, {"Authorization": "Bearer somebody"}):
        assert preflight(server, "/run", **headers).status_code == 204
        assert preflight(server, "/run", OTHER, **headers).status_code == 403
    assert not place.exists()
    assert_allowed(server.get("/list_processes", token=False, headers={"Origin": PAGE}).headers)
    assert server.get("/list_processes").status_code == 200


def test_preflights_do_not_fill_the_log(make_server):
    """No more lines in a second than 10 and what the burst allows."""
    server = make_server({"SANDBOX_CORS_ORIGINS": PAGE})
    ask = http_request("OPTIONS", "/flood", [("Host", "x"), ("Origin", PAGE), ("Access-Control-Request-Method", "POST")])
    count = 2000
    with server.raw() as raw:
        for number in range(count):
            status, _, _ = raw.exchange(ask if number % 2 else ask.replace(PAGE.encode(), OTHER.encode()), "OPTIONS")
            assert status == (204 if number % 2 else 403)
    assert 0 < server.whole_access_log().count(b'"uri":"/flood"') < count / 4


def test_below_a_prefix(make_server):
    server = make_server({"SANDBOX_CORS_ORIGINS": PAGE, "SANDBOX_PREFIX": "/sandbox"})
    for path in ("/sandbox/run", "/sandbox/health", "/sandbox/process_logs_streaming", "/sandbox/none", "/sandbox//x/../run", "/run"):
        assert preflight(server, path).status_code == 204
        assert preflight(server, path, OTHER).status_code == 403
        assert_allowed(server.get(path, headers={"Origin": PAGE}).headers)


def test_headers_come_once(shared_server):
    """In each way that an answer is made."""
    for request in requests_with_errors(shared_server)[:8]:
        headers = exchange(shared_server, PAGE, request)[1]
        assert isinstance(headers, http.client.HTTPMessage)
        for name in ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Vary", "X-Request-ID", "Content-Type"):
            assert len(headers.get_all(name)) == 1, (request[:3], name)
