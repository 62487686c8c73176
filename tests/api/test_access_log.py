"""The access log: one JSON object a line, whatever a client sends."""

import json
import os
import random
import signal
import time

import pytest

from sandbox import API, Port, RawConnection, freeze, http_request, wait_until

pytestmark = pytest.mark.host


def parse(text):
    """The lines that are whole: of one that goes over a page of the file a reader may see the beginning first."""
    return [json.loads(line) for line in text.rpartition(b"\n")[0].decode("utf-8", "strict").split("\n") if line]


def lines(path):
    return parse(path.read_bytes())


def test_every_request_is_a_line_of_json(make_server):
    server = make_server()
    log = server.run_dir / "nginx" / "access.log"
    requests = {
        "id-run": http_request("POST", "/run", [("Host", "x"), server.bearer(), ("X-Request-ID", "id-run"), ("Content-Length", "14")], b'{"cmd":"true"}'),
        "id-401": http_request("GET", "/list_processes", [("Host", "x"), ("X-Request-ID", "id-401")]),
        "id-404": http_request("GET", '/a"b\\c%22%0a\xff', [("Host", "x"), server.bearer(), ("X-Request-ID", "id-404")]),
        "id-agent": http_request("GET", "/list_processes", [("Host", "x"), ("User-Agent", b'quote" \\ \xff\x01 {'), ("X-Request-ID", "id-agent")]),
        "id-405": http_request("DELETE", "/run", [("Host", "x"), server.bearer(), ("X-Request-ID", "id-405")]),
    }
    statuses = {}
    for identifier, request in requests.items():
        with server.raw() as raw:
            statuses[identifier] = raw.exchange(request)[0]
    assert list(statuses.values()) == [200, 401, 404, 401, 405]

    def logged():
        texts = [json.dumps(line) for line in lines(log)]
        return all(any(identifier in text for text in texts) for identifier in requests)

    wait_until(logged, "a line for each request")
    for line in lines(log):
        assert isinstance(line, dict)
        for identifier, status in statuses.items():
            if identifier in line.values():
                assert status in line.values() or str(status) in line.values()
    assert server.secret not in log.read_text()


# ---- any bytes ----

PATHS = {  # and what the log says of them
    "/%ff": "/%ff",
    "/caf%C3%A9": "/café",
    "/%C3%28?query": "/%C3%28",
    "/a%00b": None,  # nginx refuses it
    "/%ed%a0%80": "/%ed%a0%80",  # half a pair
    "/%f0%9f%98%80": "/😀",
    "/%f5%80%80%80": "/%f5%80%80%80",
    "/%e2%80%a8%c2%85": "/\u2028\x85",
    b"/caf\xc3\xa9": "/café",
    b"/raw\xff\xfe?query": "/raw...",
    b"/raw%ff\xff": "/raw%ff...",
    "/" + "x" * 254 + "%C3%A9": "/" + "x" * 254 + "...",  # 257 bytes: it is cut within the character
    "/" + "x" * 253 + "%C3%A9": "/" + "x" * 253 + "é",
    "/" + "x" * 253 + "%F0%9F%98%80": "/" + "x" * 253 + "...",
}


def test_every_line_is_json_whatever_bytes_a_path_has(make_server):
    """Bytes that are no UTF-8, percent-encoded or not, and paths that are cut within a character."""
    server = make_server()
    for number, path in enumerate(PATHS):
        target = path if isinstance(path, bytes) else path.encode()
        with server.raw() as raw:
            raw.exchange(b"GET " + target + f" HTTP/1.1\r\nHost: x\r\nX-Request-ID: path-{number}\r\n".encode()
                         + b"Authorization: " + server.authorization + b"\r\n\r\n")
    seen = {line["request_id"]: line["uri"] for line in logged(server)}
    wanted = {f"path-{number}": uri for number, uri in enumerate(PATHS.values()) if uri is not None}
    assert {identifier: seen.get(identifier) for identifier in wanted} == wanted


def test_every_line_is_json_whatever_a_client_sends(make_server):
    """Random bytes in all that a client chooses: method, path, protocol, headers."""
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": "0"})
    seed = random.randrange(1 << 32)
    draw = random.Random(seed)
    alphabets = [bytes(range(256)), bytes(range(128, 256)), b"\xc3\xa9\xe2\x82\xac%ff%c3/?#", bytes(range(33, 127))]

    def word(most=40):
        letters = draw.choice(alphabets)
        return bytes(draw.choice(letters) for _ in range(draw.randrange(most)))

    for number in range(600):
        method = draw.choice([b"GET", b"POST", b"OPTIONS", word(8)])
        target = draw.choice([b"/" + word(300), b"http://" + word() + b"/" + word(), b"/run?" + word(), word()])
        protocol = draw.choice([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1." + word(4), b"HTTP/" + word(4)])
        headers = [(name, word(60).replace(b"\n", b"").replace(b"\r", b"")) for name in
                   ("Host", "User-Agent", "X-Request-ID", "Referer", "Origin", "Cookie", "X-Forwarded-For") if draw.random() < 0.5]
        if draw.random() < 0.7:
            headers += [("Host", b"x")] if "Host" not in dict(headers) else []
            headers.append(("Authorization", server.authorization))
        head = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers)
        with RawConnection(server.host, server.port, source=(f"127.0.2.{number % 250 + 1}", 0)) as raw:
            raw.send(method + b" " + target + b" " + protocol + b"\r\n" + head + b"\r\n")
            raw.drain()
    assert len(logged(server)) > 100, seed  # each of them is read by a strict parser


def test_a_health_that_is_well_is_not_logged(make_server):
    """Balancers and engines ask every few seconds. Whatever else /health answers is logged."""
    server = make_server()
    for path in ("/health", "/health?full=1", "//health", "/%68ealth"):
        assert server.get(path, headers={"X-Request-ID": "well"}).status_code == 200
    assert server.get("/health?full=1", token=False, headers={"X-Request-ID": "no token"}).status_code == 401
    assert server.call("PUT", "/health", headers={"X-Request-ID": "method"}).status_code == 405
    procd = server.daemon("procd")
    freeze(procd)
    assert server.get("/health", headers={"X-Request-ID": "ill"}).status_code == 503
    os.kill(procd, signal.SIGCONT)
    found = [(line["endpoint"], line["status"]) for line in logged(server)]
    assert sorted(status for endpoint, status in found if endpoint == "/health") == [401, 405, 503]


@pytest.mark.parametrize("kind", ["a path", "off"])
def test_its_place_is_a_setting(make_server, open_directory, kind):
    path = open_directory / "requests.log"
    server = make_server({"SANDBOX_ACCESS_LOG": str(path) if kind == "a path" else "off"})
    server.get("/list_processes", headers={"X-Request-ID": "found"})
    if kind == "a path":
        wait_until(lambda: path.exists() and "found" in path.read_text(), "the line")
        assert lines(path)
    assert not (server.run_dir / "nginx" / "access.log").exists() or "found" not in (server.run_dir / "nginx" / "access.log").read_text()


# ---- without the token ----

QUERY = "query-that-nobody-logs"
LONG = "/" + "%01" * 2700  # of which escape=json would make 16 KB, were it not cut


def logged(server):
    """All lines."""
    return parse(server.whole_access_log())


def test_a_stranger_does_not_fill_the_log(make_server):
    """The 401s of the limit are logged, though not in full length; the 429s past it are not."""
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": None})
    log = server.run_dir / "nginx" / "access.log"
    with server.raw() as raw:
        statuses = [raw.exchange(http_request("GET", f"{LONG}?{QUERY}", [("Host", "x")]))[0] for _ in range(1000)]
    assert statuses[:10] == [401] * 10 and set(statuses) == {401, 429}
    wait_until(lambda: sum(line["status"] == 401 for line in logged(server)) == statuses.count(401), "a line for each 401")
    assert not [line for line in logged(server) if line["status"] == 429]
    assert log.stat().st_size < 2100 * statuses.count(401) + 20_000  # and the lines of logged()
    assert QUERY not in log.read_text()


# What is answered without the token, or not at all, and never 429.
UNLIMITED = {
    "health": http_request("PUT", f"/health?{QUERY}", [("Host", "x"), ("Connection", "close")]),
    "no request": b"NONSENSE\r\n\r\n",
    "a method that nginx refuses": http_request("TRACE", "/run", [("Host", "x")]),
    "the same with a large body": http_request("TRACE", "/run", [("Host", "x"), ("Content-Length", "2000000")]),
    "a coding that is none": http_request("POST", "/run", [("Host", "x"), ("Transfer-Encoding", "gzip"), ("Content-Length", "2000000")]),
    "two lengths": http_request("POST", "/run", [("Host", "x"), ("Transfer-Encoding", "chunked"), ("Content-Length", "2000000")]),
    "a long target": http_request("GET", "/" + "x" * 40000, [("Host", "x")]),
    "no chunks": http_request("POST", f"/run?{QUERY}", [("Host", "x"), ("Transfer-Encoding", "chunked")], b"x\r\n"),
    "half a line": b"GET /" + b"x" * 1000,
    "half a head": b"GET /run HTTP/1.1\r\nHost: x\r\n",
}


@pytest.mark.parametrize("failures", ["0", "10"])
def test_what_no_limit_refuses_is_logged_ten_times_a_second(make_server, failures):
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": failures})
    for number, (name, request) in enumerate(UNLIMITED.items()):
        address = f"127.0.1.{number + 1}"
        begin = time.monotonic()
        for _ in range(100):
            with RawConnection(server.host, server.port, source=(address, 0)) as raw:
                raw.send(request)
                raw.drain()
        count = sum(line["remote_addr"] == address for line in logged(server))
        assert count <= 11 + 10 * (time.monotonic() - begin), name
        assert count >= (0 if "half" in name else 10), name
    assert QUERY not in (server.run_dir / "nginx" / "access.log").read_text()


def test_a_stranger_writes_nothing_into_the_error_log(make_server):
    free, metrics = Port(), Port()
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": "1", "SANDBOX_METRICS_LISTEN": f"127.0.0.1:{metrics.number}"})
    assert server.post("/bind_port", port=str(free.number)).status_code == 200
    for path in ("/run", "/health", "/nothing", "/nginx_sandbox_refused"):
        for framing in (("Content-Length", str(1 << 40)), ("Transfer-Encoding", "chunked")):
            with server.raw() as raw:
                request = http_request("POST", f"{path}?{QUERY}", [("Host", "x"), ("Referer", QUERY), framing], b"x\r\n")
                assert raw.exchange(request)[0] in (400, 401, 429)
            with RawConnection("127.0.0.1", metrics.number) as raw:
                assert raw.exchange(request)[0] in (400, 404, 413)
    for _ in range(10):
        with RawConnection(server.proxy_host, server.proxy_port) as raw:
            raw.drain()
    server.stop()
    free.free()
    metrics.free()
    assert QUERY not in server.launch.stderr.text and "127.0.0.1" not in server.launch.stderr.text, server.launch.output()


def test_what_a_client_chooses_is_cut(make_server):
    """And nothing of an ordinary request is."""
    server = make_server()
    for request in (
        http_request("PROPPATCH", "/names/" + "p" * 249, [("Host", "x"), server.bearer()]),
        http_request("GET", "/" + "q" * 256, [("Host", "x"), server.bearer()]),
        http_request("GET", "/a%0a" + "%0a" * 2000, [("Host", "x"), server.bearer()]),
        http_request("M" * 4000, "/m", [("Host", "x")]),
        http_request("GET", "/zeros", [("Host", "x"), ("Connection", "close")], version="HTTP/1." + "0" * 4000),
    ):
        with server.raw() as raw:
            raw.exchange(request)
    expected = {
        ("PROPPATCH", "/names/" + "p" * 249, "HTTP/1.1"),
        ("GET", "/" + "q" * 255 + "...", "HTTP/1.1"),
        ("GET", "/a" + "\n" * 254 + "...", "HTTP/1.1"),
        ("M" * 32 + "...", "/m", "HTTP/1.1"),
        ("GET", "/zeros", "HTTP/1.0..."),
    }
    wait_until(lambda: {(line["method"], line["uri"], line["protocol"]) for line in logged(server)} >= expected, "the lines")


def test_how_long_a_line_is(make_server):
    """What the documentation says: about 400 bytes, and 2.2 KB for all that a stranger can do."""
    server = make_server()
    assert server.post("/run", cmd="true").status_code == 200
    with server.raw() as raw:
        raw.exchange(http_request("M" * 100, "/" + "%01" * 1000, [("Host", "x"), ("X-Request-ID", "x" * 128)]))
    logged(server)
    texts = (server.run_dir / "nginx" / "access.log").read_text().splitlines()
    assert all(350 < len(text) < 450 for text in texts if '"uri":"/run"' in text)
    assert 2000 < max(map(len, texts)) < 2.2 * 1024


# ---- what became of a request ----


def line_of(server, identifier):
    """The line of a request, as soon as it is there."""
    def look():
        return [line for line in lines(server.run_dir / "nginx" / "access.log") if line["request_id"] == identifier]

    return wait_until(look, "the line of the request")[0]


def test_the_endpoint(make_server):
    """By it requests are grouped: it is one of the API's, whatever the client has written, or nothing."""
    server = make_server()
    for method, path in (*API, ("PUT", "/health")):
        identifier = "of" + path.replace("/", "-")
        # /ports_streaming has no end
        server.call(method, path, b"" if method == "POST" else None, headers={"X-Request-ID": identifier}, stream=True).close()
        assert line_of(server, identifier)["endpoint"] == path
    for number, (target, endpoint) in enumerate([("//%72un", "/run"), ("/run/", ""), ("/health/../run?x=1", "/run"), ("/runs", ""), ("/a/run", ""),
                                                  ("/run%0a", "")]):
        with server.raw() as raw:
            raw.exchange(http_request("GET", target, [("Host", "x"), server.bearer(), ("X-Request-ID", f"spelled-{number}")]))
        assert line_of(server, f"spelled-{number}")["endpoint"] == endpoint, target
    server.get("/run", token=False, headers={"X-Request-ID": "refused"})
    assert (line_of(server, "refused")["endpoint"], line_of(server, "refused")["status"]) == ("/run", 401)


FACTS = ("exit_code", "signal", "reason", "max_rss_kb")
NOT_KNOWN = (None, "", "", None)


def test_how_a_command_ended(make_server):
    server = make_server()
    for identifier, cmd, fields, facts in (
        ("good", "echo x", {}, (0, "", "exit")),
        ("bad", "exit 3", {}, (3, "", "exit")),
        ("signalled", "kill -SEGV $$", {}, (-1, "SIGSEGV", "signal")),
        ("late", "sleep 1000", {"timeout_ms": 100}, (-1, "SIGTERM", "timeout")),
        ("some", "head -c 100000 /dev/zero | tr '\\0' x", {}, (0, "", "exit")),  # has no length, and is not begun before its end
    ):
        answer = server.call("POST", "/run", {"cmd": cmd, **fields}, headers={"X-Request-ID": identifier})
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.lower().startswith("x-sandbox")]
        line = line_of(server, identifier)
        assert tuple(line[name] for name in FACTS) == (*facts, answer.json()["max_rss_kb"])


def test_how_a_command_ended_is_not_always_known(make_server):
    """Not when the header of the answer is out before it, and of what is no command."""
    server = make_server()
    assert server.call("POST", "/run", {"cmd": "head -c 1000000 /dev/zero"}, headers={"X-Request-ID": "large"}).status_code == 200
    assert server.call("POST", "/run_streaming", {"cmd": "exit 3"}, headers={"X-Request-ID": "stream"}).status_code == 200
    assert server.call("POST", "/run", {"cmd": 1}, headers={"X-Request-ID": "wrong"}).status_code == 400
    assert server.get("/list_processes", headers={"X-Request-ID": "list"}).status_code == 200
    assert server.get("/run", token=False, headers={"X-Request-ID": "stranger", "X-Sandbox-Exit-Code": "1"}).status_code == 401
    for identifier in ("large", "stream", "wrong", "list", "stranger"):
        line = line_of(server, identifier)
        assert tuple(line[name] for name in FACTS) == NOT_KNOWN, identifier
