"""HTTP itself: errors, methods, body framings, request ids, and clients that are slow."""

import json
import re

import pytest

from sandbox import API, POST_ENDPOINTS, DEADLINE, RawConnection, has_ipv6, http_request, listed_endpoints

EVERY = (("GET", "/health"), *API)


def assert_json_error(answer, status):
    code, headers, body = answer
    assert code == status, body[:300]
    assert headers["Content-Type"].startswith("application/json")
    error = json.loads(body)["error"]
    assert isinstance(error, str) and error
    assert headers["X-Request-ID"]


def exchange(sandbox, request, method="GET"):
    with sandbox.raw() as raw:
        return raw.exchange(request, method)


# ---- errors are JSON, whichever program makes them ----


def test_health(sandbox):
    answer = sandbox.get("/health", token=False)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("path", ["/", "/nothing", "/run/x", "/run/", "/index.html", "/favicon.ico", "/error", "/RUN", "/50x.html"])
def test_404(sandbox, path):
    for method in ("GET", "POST"):
        answer = sandbox.call(method, path)
        assert_json_error((answer.status_code, answer.headers, answer.content), 404)


@pytest.mark.parametrize("method, path", EVERY)
def test_405_names_the_methods_allowed(sandbox, method, path):
    taken = next(endpoint.methods for endpoint in listed_endpoints() if endpoint.path == path)
    wrong = {"GET", "POST", "PUT", "DELETE", "PATCH", "FOO", "PROPFIND"} - taken
    for other in wrong:
        answer = sandbox.call(other, path)
        assert_json_error((answer.status_code, answer.headers, answer.content), 405)
        allowed = {name.strip() for name in answer.headers["Allow"].split(",")}
        assert taken <= allowed and other not in allowed
        assert ("HEAD" in allowed) == (method == "GET" or "HEAD" in taken)


@pytest.mark.parametrize("request_bytes", [
    b"GARBAGE\r\n\r\n",
    b"GET /run HTTP/1.1\r\n\r\n",
    b"GET /run HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /../run HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    b"G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n",
], ids=lambda request: repr(request[:60]))
def test_400(sandbox, request_bytes):
    assert_json_error(exchange(sandbox, request_bytes), 400)


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("method, path", [("POST", "/run"), ("GET", "/health"), ("POST", "/nothing"), ("TRACE", "/run")])
def test_400_for_what_are_no_chunks(sandbox, method, path, token):
    """Also where nginx finds it out while it throws the body away, with another answer already begun."""
    headers = [("Host", "x"), ("Transfer-Encoding", "chunked"), *([sandbox.bearer()] if token else [])]
    assert_json_error(exchange(sandbox, http_request(method, path, headers, b"4\r\nbody\r\nx\r\n")), 400)


def test_413(sandbox):
    """Larger than SANDBOX_MAX_BODY (256 MiB): refused by the header alone."""
    headers = [("Host", "x"), sandbox.bearer(), ("Content-Length", str((256 << 20) + 1))]
    assert_json_error(exchange(sandbox, http_request("POST", "/write_file", headers)), 413)


def test_414(sandbox):
    assert_json_error(exchange(sandbox, http_request("GET", "/" + "x" * 70000, [("Host", "x")])), 414)


@pytest.mark.parametrize("headers", [[("X", "y" * 70000)], [("X", "y" * 8000)] * 10, [("Cookie", "y" * 70000)]])
def test_431(sandbox, headers):
    assert_json_error(exchange(sandbox, http_request("GET", "/health", [("Host", "x"), *headers])), 431)


def test_501_and_505(sandbox):
    headers = [("Host", "x"), sandbox.bearer()]
    assert_json_error(exchange(sandbox, http_request("POST", "/run", [*headers, ("Transfer-Encoding", "gzip")])), 501)
    assert_json_error(exchange(sandbox, http_request("GET", "/health", headers, version="HTTP/9.9")), 505)


def test_401(sandbox):
    assert_json_error(exchange(sandbox, http_request("GET", "/list_processes", [("Host", "x")])), 401)


def test_no_version_is_told(sandbox):
    for answer in (sandbox.get("/health"), sandbox.get("/nothing"), sandbox.get("/list_processes", token=False)):
        assert not re.search(r"\d", answer.headers.get("Server", ""))
        assert not re.search(rb"nginx/\d", answer.content)
        assert "X-Powered-By" not in answer.headers
    _, headers, body = exchange(sandbox, b"GARBAGE\r\n\r\n")
    assert not re.search(r"\d", headers.get("Server", "")) and b"nginx/" not in body


# ---- methods ----


def test_head(sandbox):
    for path in ("/health", "/list_processes"):
        full, head = sandbox.get(path), sandbox.call("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Type"] == full.headers["Content-Type"]
    for path in POST_ENDPOINTS:
        head = sandbox.call("HEAD", path)
        assert (head.status_code, head.content) == (405, b"")
        assert "POST" in head.headers["Allow"]
    assert sandbox.call("HEAD", "/nothing").status_code == 404


def test_head_of_a_log_ends(sandbox):
    """A HEAD has no body to wait for, even while the process runs."""
    identifier = sandbox.start("sleep 60")["id"]
    head = sandbox.call("HEAD", f"/process_logs_streaming?id={identifier}")
    assert head.status_code == 200 and head.headers["Content-Type"] == "text/event-stream; charset=utf-8"


def test_a_kept_connection_goes_on_after_head(sandbox):
    with sandbox.raw() as raw:
        for method in ("HEAD", "GET", "HEAD", "GET"):
            request = http_request(method, "/list_processes", [("Host", "x"), sandbox.bearer()])
            status, _, body = raw.exchange(request, method)
            assert status == 200 and bool(body) == (method == "GET")


@pytest.mark.parametrize("method, path", EVERY)
def test_options(sandbox, method, path):
    answer = sandbox.call("OPTIONS", path)
    assert answer.status_code in (200, 204)
    assert method in answer.headers["Allow"] and "OPTIONS" in answer.headers["Allow"]


# ---- bodies ----


def test_content_type_does_not_matter(sandbox):
    for kind in (None, "application/json", "application/json; charset=utf-8", "text/plain", "application/xml", "",
                 "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"):
        headers = {} if kind is None else {"Content-Type": kind}
        answer = sandbox.call("POST", "/run", {"cmd": "echo typed"}, headers=headers)
        assert answer.status_code == 200 and answer.json()["stdout"] == "typed\n", kind


def chunks(body, size):
    for start in range(0, len(body), size):
        piece = body[start:start + size]
        yield b"%x\r\n%s\r\n" % (len(piece), piece)


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"000;extension=1\r\n\r\n"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunked_bodies(sandbox, size, end):
    body = json.dumps({"cmd": "cat", "env": {"LONG": "ü" * 100}, "x": "y" * 100}).encode()
    headers = [("Host", "x"), sandbox.bearer(), ("Transfer-Encoding", "chunked")]
    request = http_request("POST", "/run", headers, b"".join(chunks(body, size)) + end)
    status, _, answer = exchange(sandbox, request)
    assert status == 200 and json.loads(answer)["code"] == 0


def test_a_large_chunked_body(sandbox, workdir):
    content = "0123456789" * 300_000
    pieces = (json.dumps({"path": f"{workdir}/file", "content": content}).encode(),)
    answer = sandbox.call("POST", "/write_file", iter(pieces))
    assert answer.json() == {"success": True}
    assert sandbox.post("/read_file", path=f"{workdir}/file").json() == {"content": content}


def test_broken_chunks_do_nothing(sandbox, workdir):
    body = json.dumps({"path": f"{workdir}/file", "content": "x"}).encode()
    headers = [("Host", "x"), sandbox.bearer(), ("Transfer-Encoding", "chunked")]
    for broken in (b"zz\r\n" + body, b"%x\r\n%sXX0\r\n\r\n" % (len(body), body), b"-5\r\n" + body):
        assert_json_error(exchange(sandbox, http_request("POST", "/write_file", headers, broken)), 400)
    assert sandbox.post("/list_dir", path=workdir).json() == {"entries": []}


@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_expect_100_continue(sandbox, framing):
    body = b'{"cmd":"echo continued"}'
    header = ("Content-Length", str(len(body))) if framing == "Content-Length" else ("Transfer-Encoding", "chunked")
    with sandbox.raw() as raw:
        raw.send(http_request("POST", "/run", [("Host", "x"), sandbox.bearer(), ("Expect", "100-continue"), header]))
        assert raw.reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert raw.reader.readline() == b"\r\n"
        raw.send(body if framing == "Content-Length" else b"".join(chunks(body, 100)) + b"0\r\n\r\n")
        status, _, answer = raw.response("POST")
    assert status == 200 and json.loads(answer)["stdout"] == "continued\n"


def test_a_client_that_sends_byte_by_byte(sandbox):
    """Each byte travels alone: another request is answered between any two of them."""
    body = b'{"cmd":"echo slow"}'
    request = http_request("POST", "/run", [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(body)))], body)
    with sandbox.raw() as raw:
        for byte in request:
            raw.send(bytes([byte]))
            assert sandbox.get("/health").status_code == 200
        status, _, answer = raw.response("POST")
    assert status == 200 and json.loads(answer)["stdout"] == "slow\n"


def test_slow_clients_hold_up_nobody(sandbox):
    headers = http_request("POST", "/run", [("Host", "x"), sandbox.bearer(), ("Content-Length", "100")])
    slow = [sandbox.raw() for _ in range(50)]
    try:
        for number, raw in enumerate(slow):
            raw.send(headers[: 20 + number] if number % 2 else headers + b'{"cmd":')
        for _ in range(20):
            assert sandbox.shell("echo quick") == "quick\n"
    finally:
        for raw in slow:
            raw.socket.close()


def test_pipelined_requests(sandbox):
    requests = b""
    for number in range(20):
        body = json.dumps({"cmd": f"echo {number}"}).encode()
        requests += http_request("POST", "/run", [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(body)))], body)
    with sandbox.raw() as raw:
        raw.send(requests)
        for number in range(20):
            status, _, answer = raw.response("POST")
            assert status == 200 and json.loads(answer)["stdout"] == f"{number}\n"


def test_a_kept_connection_carries_errors_too(sandbox):
    with sandbox.raw() as raw:
        for _ in range(30):
            for body, expected in ((b'{"cmd":"exit 3"}', 200), (b"{", 400), (b"{}", 400), (b'{"cmd":"true"}', 200)):
                headers = [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(body)))]
                assert raw.exchange(http_request("POST", "/run", headers, body), "POST")[0] == expected


def test_http_1_0(sandbox):
    body = b'{"cmd":"echo old"}'
    headers = [sandbox.bearer(), ("Content-Length", str(len(body)))]
    with sandbox.raw() as raw:
        status, headers, answer = raw.exchange(http_request("POST", "/run", headers, body, version="HTTP/1.0"), "POST")
        assert raw.socket.recv(1) == b""
    assert status == 200 and json.loads(answer)["stdout"] == "old\n"
    assert "Transfer-Encoding" not in headers


def test_gzip_is_not_forced_on_streams(sandbox):
    with sandbox.raw() as raw:
        body = b'{"cmd":"echo plain"}'
        headers = [("Host", "x"), sandbox.bearer(), ("Accept-Encoding", "gzip, br"), ("Content-Length", str(len(body)))]
        status, headers, answer = raw.exchange(http_request("POST", "/run_streaming", headers, body), "POST")
    assert status == 200 and "Content-Encoding" not in headers and b'"data":"plain"' in answer


def test_conditions_and_ranges_change_nothing(sandbox):
    for headers in ({"Range": "bytes=0-3"}, {"If-Match": '"x"'}, {"If-None-Match": "*"},
                    {"If-Modified-Since": "Thu, 01 Jan 2037 00:00:00 GMT"}):
        answer = sandbox.get("/list_processes", headers=headers)
        assert answer.status_code == 200 and "processes" in answer.json(), headers


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.host
def test_ipv6(sandbox):
    with RawConnection("::1", sandbox.port) as raw:
        status, _, body = raw.exchange(http_request("GET", "/health", [("Host", "[::1]")]))
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    with RawConnection("::1", sandbox.proxy_port, timeout=DEADLINE):
        pass


# ---- request ids ----


VALID_IDS = ["x", "0b8e0a1c-5b7f-4d36-9d0e-9ad3a7a4d0f1", "A.b_c-9", "x" * 128]
INVALID_IDS = ["", " ", "a b", 'a"b', "<script>", "a\\b", "a;b", "x" * 129, "x" * 1000, "\t", "a,b", "{}", "$x", "ü"]


@pytest.mark.parametrize("path, token", [("/health", False), ("/list_processes", True), ("/list_processes", False), ("/nothing", True)])
def test_request_id_is_echoed(sandbox, path, token):
    for identifier in VALID_IDS:
        answer = sandbox.get(path, token=token, headers={"X-Request-ID": identifier})
        assert answer.headers["X-Request-ID"] == identifier


def test_request_id_is_echoed_by_streams_and_posts(sandbox):
    for path in ("/run", "/run_streaming", "/start_process"):
        answer = sandbox.call("POST", path, {"cmd": "true"}, headers={"X-Request-ID": "mine"})
        assert answer.headers["X-Request-ID"] == "mine"


def test_request_id_is_made_when_there_is_none(sandbox):
    made = [sandbox.get("/health").headers["X-Request-ID"] for _ in range(50)]
    assert len(set(made)) == 50 and all(re.fullmatch(r"[A-Za-z0-9._-]{8,128}", identifier) for identifier in made)


def test_an_invalid_request_id_is_replaced(sandbox):
    for identifier in INVALID_IDS:
        _, headers, _ = exchange(sandbox, http_request("GET", "/health", [("Host", "x"), ("X-Request-ID", identifier)]))
        echoed = headers["X-Request-ID"]
        assert re.fullmatch(r"[A-Za-z0-9._-]{8,128}", echoed) and echoed != identifier, identifier


def test_two_request_ids_make_one(sandbox):
    headers = [("Host", "x"), ("X-Request-ID", "one"), ("X-Request-ID", "two")]
    _, answer, _ = exchange(sandbox, http_request("GET", "/health", headers))
    assert len(answer.get_all("X-Request-ID")) == 1


# ---- what answers look like ----


def test_answers_are_json(sandbox):
    for answer in (sandbox.post("/run", cmd="true"), sandbox.get("/list_processes"), sandbox.post("/list_dir", path="/")):
        assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.host
@pytest.mark.parametrize("limit, size, status", [("1k", 1025, 413), ("1k", 1000, 200), ("0", 2_000_000, 200), ("1m", (1 << 20) + 1, 413)])
def test_the_limit_of_a_body_is_a_setting(make_server, limit, size, status):
    server = make_server({"SANDBOX_MAX_BODY": limit})
    body = b'{"cmd":"true"}'.ljust(size)
    for framed in (body, iter([body])):
        answer = server.call("POST", "/run", framed)
        assert answer.status_code == status
        if status == 413:
            assert answer.json()["error"]
