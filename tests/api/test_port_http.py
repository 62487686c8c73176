"""HTTP to the ports of a sandbox: /port/N/ and hosts that stand for ports. What arrives at an application, and what comes back."""

import http.server
import json
import socket
import threading

import pytest

from sandbox import BIG_TIMEOUT, Port, Server, http_request
from test_ports import Target


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what it has read: request line, headers and body, as JSON."""

    protocol_version = "HTTP/1.1"

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while length := int(self.rfile.readline(), 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self):
        body = self.read_body()
        seen = {"line": self.requestline, "headers": [list(pair) for pair in self.headers.items()], "length": len(body),
                "body": body[:1000].decode("latin-1")}
        data = json.dumps(seen).encode()
        self.send_response(int(self.headers.get("X-Want-Status", 200)))
        for name in ("Location", "Refresh", "X-Accel-Redirect", "X-Sandbox-Error"):
            if value := self.headers.get("X-Want-" + name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_):
        pass


class Application(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host="127.0.0.1", port=0, handler=Echo):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def application():
    with Application() as application:
        yield application


def ask(server, method, target, headers=(), body=b"", token=True, host=None):
    """One request as it stands: (status, headers, body)."""
    with server.raw(BIG_TIMEOUT) as connection:
        lines = [("Host", host or f"{server.host}:{server.port}"), *([server.bearer()] if token else []), *headers]
        return connection.exchange(http_request(method, target, lines, body), method)


def seen(answer):
    status, _, body = answer
    assert status == 200, answer
    what = json.loads(body)
    what["headers"] = {name.lower(): value for name, value in what["headers"]}
    return what


def error(answer):
    status, headers, body = answer
    return status, json.loads(body)["error_code"]


TARGETS = ["/", "/?", "/a%2Fb//c/./d?x=%20&y=a/b", "/%41", "//", "/a;b=c,d", "/%E2%82%AC", "/a/b/..%2F..", "/x?/port/1/", "/'\"<>|^`{}", "/~!$&()*+,;=:@", "/?a,"]


@pytest.mark.parametrize("target", TARGETS)
def test_path_and_query_arrive_as_the_client_wrote_them(server, application, target):
    by_path = seen(ask(server, "GET", f"/port/{application.port}{target}"))
    assert by_path["line"] == f"GET {target} HTTP/1.1"
    by_host = seen(ask(server, "GET", target, host=f"{application.port}.localhost:{server.port}"))
    assert by_host["line"] == f"GET {target} HTTP/1.1"


def test_headers_that_arrive(server, application):
    port = application.port
    headers = seen(ask(server, "GET", f"/port/{port}/x"))["headers"]
    assert headers["host"] == f"localhost:{port}" and headers["connection"] == "close"
    assert headers["x-forwarded-prefix"] == f"/port/{port}" and headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http" and headers["x-forwarded-host"] == f"{server.host}:{server.port}"
    headers = seen(ask(server, "GET", "/x", host=f"{port}.localhost:{server.port}"))["headers"]
    assert headers["host"] == f"localhost:{port}" and "x-forwarded-prefix" not in headers
    assert headers["x-forwarded-host"] == f"{port}.localhost:{server.port}"


def test_what_a_client_says_of_itself_does_not_count(server, application):
    said = [("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Prefix", "/evil"),
            ("Forwarded", "for=1.2.3.4"), ("X-Real-IP", "1.2.3.4"), ("X-Forwarded-Port", "1234"), ("Via", "1.1 evil")]
    headers = seen(ask(server, "GET", f"/port/{application.port}/", said))["headers"]
    assert "evil" not in str(headers) and "1.2.3.4" not in str(headers) and headers["x-forwarded-proto"] == "http"
    assert headers["x-real-ip"] == "127.0.0.1" and not {"via", "x-forwarded-port", "forwarded"} & set(headers)


def test_what_a_trusted_proxy_says_is_kept(make_server, application):
    server = make_server({"SANDBOX_TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1"})
    said = [("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "box.example"), ("X-Forwarded-Prefix", "/outer"),
            ("X-Real-IP", "1.2.3.4"), ("X-Forwarded-Port", "443"), ("Via", "1.1 outer")]
    headers = seen(ask(server, "GET", f"/port/{application.port}/", [*said, ("Origin", "https://box.example")]))["headers"]
    assert headers["x-forwarded-for"] == "1.2.3.4, 127.0.0.1" and headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-host"] == "box.example" and headers["x-forwarded-prefix"] == f"/outer/port/{application.port}"
    assert (headers["x-real-ip"], headers["x-forwarded-port"], headers["via"]) == ("1.2.3.4", "443", "1.1 outer")
    assert headers["origin"] == f"http://localhost:{application.port}"


def test_the_token_reaches_no_application(server, application):
    where = f"/port/{application.port}/"
    secret = server.secret
    headers = seen(ask(server, "GET", where))["headers"]
    assert "authorization" not in headers and secret not in str(headers)
    ours = ("X-Sandbox-Authorization", f"bearer  {secret}")
    headers = seen(ask(server, "GET", where, [ours, ("Authorization", "Basic YTpi")], token=False))["headers"]
    assert headers["authorization"] == "Basic YTpi" and secret not in str(headers)
    headers = seen(ask(server, "GET", where, [ours, ("Authorization", f"Bearer {secret}")], token=False))["headers"]
    assert secret not in str(headers)
    assert seen(ask(server, "GET", where, [ours], token=False))["headers"].get("x-sandbox-wait-ms") is None


@pytest.mark.parametrize("headers", [[], [("Authorization", "Bearer wrong")], [("X-Sandbox-Authorization", "Bearer wrong")]])
def test_without_the_token(server, application, headers):
    for target, host in ((f"/port/{application.port}/", None), ("/", f"{application.port}.localhost"), ("/port/0/", None), ("/port/1", None)):
        answer = ask(server, "GET", target, headers, token=False, host=host)
        assert error(answer) == (401, "unauthorized") and answer[1]["WWW-Authenticate"], target
        assert ("link" if host else "Bearer <secret>") in json.loads(answer[2])["error"]


BAD = ["0", "65536", "08080", "+80", "%38080", "::ffff:127.0.0.1", "-1", "80.0", "80%20", "99999999999999999999", "localhost:80", "", "80a"]


@pytest.mark.parametrize("port", BAD)
def test_what_is_no_port(server, port):
    for target in (f"/port/{port}/", f"/port/{port}"):
        assert error(ask(server, "GET", target)) == (400, "invalid_request"), target


@pytest.mark.parametrize("host", ["0.localhost", "65536.localhost", "08080.localhost"])
def test_a_host_that_is_no_port(server, host):
    answer = ask(server, "GET", "/", host=host)
    assert "3000.localhost" in ours(answer, 400, "invalid_request")


def test_spellings_of_the_path_that_only_look_like_it(server, application):
    for target in (f"//port/{application.port}/", f"/%70ort/{application.port}/", f"/x/../port/{application.port}/"):
        assert error(ask(server, "GET", target)) == (400, "invalid_request")


def test_a_port_without_a_slash_is_redirected(server, application):
    status, headers, _ = ask(server, "GET", f"/port/{application.port}?a=b")
    assert (status, headers["Location"]) == (308, f"/port/{application.port}/?a=b")


def test_the_servers_own_ports(server):
    for port in (server.port, server.proxy_port):
        assert error(ask(server, "GET", f"/port/{port}/")) == (400, "invalid_request")


@pytest.mark.parametrize("location, by_path, by_host", [
    ("http://localhost:{port}/a?b", "{base}/a?b", "/a?b"),
    ("http://127.0.0.1:{port}/a", "{base}/a", "/a"),
    ("http://[::1]:{port}/", "{base}/", "/"),
    ("http://localhost:{port}", "{base}/", "/"),
    ("http://localhost:{port}1/", "http://localhost:{port}1/", "http://localhost:{port}1/"),
    ("/login?next=/", "{base}/login?next=/", "/login?next=/"),
    ("/port/{port}/x", "/port/{port}/x", "/port/{port}/x"),
    ("//elsewhere.example/", "//elsewhere.example/", "//elsewhere.example/"),
    ("https://elsewhere.example/a", "https://elsewhere.example/a", "https://elsewhere.example/a"),
    ("next", "next", "next"),
])
@pytest.mark.parametrize("status", [201, 302])
def test_location(server, application, location, by_path, by_host, status):
    port, base = application.port, f"/port/{application.port}"
    want = [("X-Want-Location", location.format(port=port)), ("X-Want-Status", str(status))]
    answer = ask(server, "GET", base + "/", want)
    assert (answer[0], answer[1]["Location"]) == (status, by_path.format(port=port, base=base))
    answer = ask(server, "GET", "/", want, host=f"{port}.localhost:{server.port}")
    assert (answer[0], answer[1]["Location"]) == (status, by_host.format(port=port, base=base))


def test_an_application_steers_nothing(server, application):
    for where in ("/health", "@nginx_sandbox_full", "/nginx_sandbox_refused"):
        answer = ask(server, "GET", f"/port/{application.port}/", [("X-Want-X-Accel-Redirect", where), ("X-Want-Refresh", "0; url=/x"), ("X-Want-X-Sandbox-Error", "x")])
        assert answer[0] == 200 and json.loads(answer[2])["line"] and answer[1]["Refresh"] == "0; url=/x"
        assert "X-Sandbox-Error" not in answer[1]


@pytest.mark.parametrize("status", [204, 304, 401, 404, 413, 500, 502, 503, 504])
def test_an_applications_own_errors_pass(server, application, status):
    answer = ask(server, "HEAD", f"/port/{application.port}/", [("X-Want-Status", str(status))])
    assert answer[0] == status and "X-Sandbox-Error" not in answer[1]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_methods_and_bodies(server, application, method):
    what = seen(ask(server, method, f"/port/{application.port}/m", [("Content-Length", "5")], b"hello"))
    assert what["line"].startswith(method + " /m ") and what["body"] == "hello"
    what = seen(ask(server, method, f"/port/{application.port}/m", [("Transfer-Encoding", "chunked")], b"5\r\nhello\r\n0\r\n\r\n"))
    assert what["body"] == "hello"


def test_a_large_body(server, application):
    body = bytes(range(256)) * 4096 * 20
    answer = server.call("PUT", f"/port/{application.port}/", body, timeout=BIG_TIMEOUT)
    assert answer.json()["length"] == len(body)


def test_expect_is_answered_by_nginx_alone(server, application):
    assert "expect" not in seen(ask(server, "POST", f"/port/{application.port}/", [("Content-Length", "2"), ("Expect", "100-continue")], b"hi"))["headers"]


def test_origin_of_the_same_host(server, application):
    foreign = "https://elsewhere.example"
    for origin, arrives in ((f"http://{server.host}:{server.port}", f"http://localhost:{application.port}"), (foreign, foreign)):
        assert seen(ask(server, "GET", f"/port/{application.port}/", [("Origin", origin)]))["headers"]["origin"] == arrives


def test_a_loop_ends(server):
    """An application that passes what it gets to where it came from, token and all."""
    def forward(connection):
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        hops = [line for line in head.split(b"\r\n") if line.lower().startswith(b"x-sandbox-hops")]
        with server.raw() as inner:
            inner.send(b"GET /port/%d/ HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n%s\r\nConnection: close\r\n\r\n" % (target.port, server.authorization, hops[0]))
            while data := inner.socket.recv(65536):
                connection.sendall(data)

    with Target(forward) as target:
        answer = ask(server, "GET", f"/port/{target.port}/")
        assert error(answer) == (400, "invalid_request") and target.accepted <= 3


def test_only_the_ports_of_the_list(make_server, application):
    with Application() as other:
        server = make_server({"SANDBOX_PORTS": f"{application.port}, 9"})
        assert seen(ask(server, "GET", f"/port/{application.port}/"))
        answer = ask(server, "GET", f"/port/{other.port}/")
        assert error(answer) == (403, "forbidden") and "SANDBOX_PORTS" in json.loads(answer[2])["error"]


def test_the_domain_of_a_setting_and_the_clients_host(make_server, application):
    server = make_server({"SANDBOX_PORT_DOMAIN": "Box.example.org", "SANDBOX_PORT_HOST": "client"})
    for name in (f"{application.port}.box.example.org", f"{application.port}-default.box.example.org:81", f"{application.port}.localhost"):
        assert seen(ask(server, "GET", "/run", host=name))["headers"]["host"] == name
    assert ask(server, "GET", "/list_processes", host="box.example.org")[0] == 200


def test_below_a_prefix(make_server, application):
    server = make_server({"SANDBOX_PREFIX": "/outer/box"})
    what = seen(ask(server, "GET", f"/outer/box/port/{application.port}/a//b"))
    assert what["line"] == "GET /a//b HTTP/1.1" and what["headers"]["x-forwarded-prefix"] == f"/outer/box/port/{application.port}"


# ---- errors ----


def ours(answer, status, code):
    """It is an error of nginx, and says so."""
    assert error(answer) == (status, code) and answer[1]["X-Sandbox-Error"] == code, answer
    return json.loads(answer[2])["error"]


def answers_with(data):
    """An application that reads a head and answers with these bytes."""
    def serve(connection):
        connection.recv(65536)
        connection.sendall(data)

    return Target(serve)


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\nA: " + b"x" * 40000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
                                  b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"], ids=["long", "no colon", "cut", "length"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_that_is_none(server, application, data, method):
    with answers_with(data) as target:
        answer = ask(server, method, f"/port/{target.port}/", [("Content-Length", "0")])
        if answer[0] == 200:  # of HTTP/0.9, or with a head that nginx takes
            assert not answer[1].get("X-Sandbox-Error")
        else:
            ours(answer, 502, "bad_answer")
    assert ask(server, "GET", f"/port/{application.port}/")[0] == 200


def test_errors_of_ours_say_so(server, application):
    ours(ask(server, "GET", "/port/0/"), 400, "invalid_request")
    ours(ask(server, "GET", f"/port/{application.port}/", token=False), 401, "unauthorized")
    with Application() as gone:
        pass
    ours(ask(server, "GET", f"/port/{gone.port}/", [("X-Sandbox-Wait-Ms", "0")]), 504, "not_listening")
    assert "X-Sandbox-Error" not in ask(server, "GET", "/list_processes", token=False)[1]


def test_the_access_log_names_the_port(make_server, application):
    server = make_server()
    for target, host, token in ((f"/port/{application.port}/secret?secret", None, True), ("/run", f"{application.port}.localhost", True), ("/run", f"{application.port}.localhost", False)):
        ask(server, "GET", target, token=token, host=host)
    lines = [json.loads(line) for line in server.whole_access_log().splitlines()]
    port = str(application.port)
    # Each of nginx's workers keeps lines back by itself: their order means nothing.
    assert sorted((line["endpoint"], line["uri"], line["port"], line["grant"], line["status"]) for line in lines if line["port"]) == [
        ("/port", f"/port/{port}/...", port, "", 401), ("/port", f"/port/{port}/...", port, "token", 200), ("/port", f"/port/{port}/...", port, "token", 200)]
    assert b"secret?" not in server.whole_access_log()


def test_an_application_writes_nothing_into_the_access_log(make_server):
    server = make_server()
    said = b"".join(b"X-Sandbox-%s: %s\r\n" % pair for pair in ((b"Exit-Code", b"7"), (b"Signal", b"KILL"), (b"Reason", b'"' * 20000), (b"Max-Rss-Kb", b"7")))
    with answers_with(b"HTTP/1.1 200 OK\r\n" + said + b"Content-Length: 0\r\n\r\n") as target:
        assert ask(server, "GET", f"/port/{target.port}/")[0] == 200
    server.run("exit 3")
    lines = [json.loads(line) for line in server.whole_access_log().splitlines()]
    ours, = [line for line in lines if line["endpoint"] == "/port"]
    runs, = [line for line in lines if line["endpoint"] == "/run"]
    assert (ours["exit_code"], ours["signal"], ours["reason"], ours["max_rss_kb"]) == (None, "", "", None)
    assert (runs["exit_code"], runs["signal"], runs["reason"]) == (3, "", "exit") and runs["max_rss_kb"] > 0


def test_the_first_token_of_a_pool_reaches_a_port(make_server, application, open_directory):
    server = make_server({"SANDBOX_AUTH_MODE": "pool", "SANDBOX_SECRET_PATH": str(open_directory / "claim"), "SANDBOX_SECRET": None})
    assert error(ask(server, "GET", f"/port/{application.port}/", token=False)) == (401, "unauthorized")
    for _ in range(2):
        what = seen(ask(server, "POST", f"/port/{application.port}/x", [("Content-Length", "2")], b"hi"))
        assert what["body"] == "hi" and "authorization" not in what["headers"] and server.secret not in str(what)
    assert error(ask(server, "GET", f"/port/{application.port}/", [("Authorization", "Bearer other")], token=False)) == (401, "unauthorized")


# ---- streams ----


def test_events_pass_at_once(server):
    """Each comes before the next is sent."""
    passed = threading.Event()

    def serve(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        assert passed.wait(BIG_TIMEOUT)
        connection.sendall(b"data: 2\n\n")

    with Target(serve) as target, server.raw(BIG_TIMEOUT) as connection:
        connection.send(http_request("GET", f"/port/{target.port}/", [("Host", "x"), server.bearer()]))
        while b"data: 1" not in (line := connection.reader.readline()):
            assert line
        passed.set()
        while b"data: 2" not in (line := connection.reader.readline()):
            assert line


def upgrade(server, port, token=True, headers=()):
    connection = server.raw(BIG_TIMEOUT)
    lines = [("Host", "x"), *([server.bearer()] if token else []), ("Connection", "Upgrade"), ("Upgrade", "echo"), *headers]
    connection.send(http_request("GET", f"/port/{port}/", lines))
    return connection


def echo(connection):
    """Takes any upgrade, then echoes."""
    head = connection.recv(65536)
    assert b"Upgrade: echo\r\n" in head and b"Connection: upgrade\r\n" in head, head
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
    while data := connection.recv(65536):
        connection.sendall(data)


def head_of(connection):
    lines = []
    while (line := connection.reader.readline()) not in (b"\r\n", b""):
        lines.append(line)
    return lines


def test_an_upgrade_lives_through_a_reload_of_nginx(make_server):
    server = make_server()
    with Target(echo) as target, upgrade(server, target.port) as connection:
        assert head_of(connection)[0].startswith(b"HTTP/1.1 101 ")
        connection.send(b"one\n")
        assert connection.reader.readline() == b"one\n"
        server.reload_nginx()
        connection.send(b"two\n")
        assert connection.reader.readline() == b"two\n"
    with Target(echo) as target, upgrade(server, target.port, token=False) as connection:
        assert head_of(connection)[0].startswith(b"HTTP/1.1 401 ") and target.accepted == 0


def test_ports_take_half_of_the_connections(make_server):
    server = make_server({"SANDBOX_MAX_CONNECTIONS": "16"}, prefix=("prlimit", "--nofile=400:400"))
    with Target(echo) as target:
        connections = [upgrade(server, target.port) for _ in range(110)]
        try:
            statuses = [head_of(connection)[0].split()[1] for connection in connections]
            assert statuses.count(b"101") == 100 and statuses.count(b"503") == 10
            assert server.get("/list_processes").status_code == 200
        finally:
            for connection in connections:
                connection.socket.close()


@pytest.mark.parametrize("data", [b"what is this\r\n\r\n", b"HTTP/9\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 100, b"\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2],
                         ids=["words", "version", "status", "zeros", "a line before"])
def test_an_answer_without_a_head_ends_its_connection(server, application, data):
    """nginx takes it for HTTP/0.9. Nothing of it passes, and no further request is answered there, so nobody takes its bytes for another's answer."""
    request = http_request("GET", "/port/{}/", [("Host", "x"), server.bearer()])
    with answers_with(data) as target, server.raw() as connection:
        connection.send(request.replace(b"{}", b"%d" % target.port) + request.replace(b"{}", b"%d" % application.port))
        assert connection.reader.read() == b""
    assert ask(server, "GET", f"/port/{application.port}/")[0] == 200


@pytest.mark.parametrize("status", ["100 Continue", "101 Switching Protocols", "103 Early Hints", "050 Odd", "000 None"])
@pytest.mark.parametrize("head", ["", "Connection: upgrade\r\nUpgrade: echo\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n"], ids=["bare", "upgrade", "length", "chunked"])
def test_an_answer_of_1xx_ends_its_connection(server, application, status, head):
    """What follows it has no length: it could be another answer, for whoever shares the connection."""
    data = f"HTTP/1.1 {status}\r\n{head}\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil".encode()
    request = http_request("GET", "/port/{}/", [("Host", "x"), server.bearer()])
    with answers_with(data) as target, server.raw() as connection:
        connection.send(request.replace(b"{}", b"%d" % target.port) + request.replace(b"{}", b"%d" % application.port))
        assert connection.reader.read() == b""
    assert ask(server, "GET", f"/port/{application.port}/")[0] == 200


def test_a_server_that_makes_no_links_looks_at_answers_too(make_server):
    server = make_server({"SANDBOX_MAX_LINK_LIFETIME": "0"})
    for data in (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"no head"):
        with answers_with(data) as target, server.raw() as connection:
            connection.send(http_request("GET", f"/port/{target.port}/", [("Host", "x"), server.bearer()]))
            assert connection.reader.read() == b""


@pytest.mark.parametrize("headers", [b"Connection: upgrade\r\nUpgrade: echo\r\n", b""], ids=["whole", "bare"])
def test_a_connection_ends_with_its_upgrade(server, headers):
    with answers_with(b"HTTP/1.1 101 Switching Protocols\r\n" + headers + b"\r\nHTTP/1.1 200 OK\r\n\r\n") as target, upgrade(server, target.port) as connection:
        assert head_of(connection)[0].startswith(b"HTTP/1.1 101 ")
        assert connection.reader.read() == b"HTTP/1.1 200 OK\r\n\r\n"


def test_the_listener_for_metrics_is_no_port(make_server):
    port = Port()
    server = make_server({"SANDBOX_METRICS_LISTEN": f"127.0.0.1:{port.number}"})
    assert error(ask(server, "GET", f"/port/{port.number}/metrics")) == (400, "invalid_request")
    port.free()
