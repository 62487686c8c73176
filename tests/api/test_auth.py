"""The token: exact, the same for every spelling of a path, and asked for before a body is read."""

import base64
import json

import pytest

from sandbox import API, DEADLINE, RawConnection, http_request, wait_until


def assert_unauthorized(answer):
    assert answer.status_code == 401
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert isinstance(answer.json()["error"], str) and answer.json()["error"]


def touch(path):
    return {"cmd": f"touch '{path}'"}


def exists(sandbox, path):
    return sandbox.run(f"test -e '{path}'")["code"] == 0


@pytest.mark.parametrize("method, path", API)
def test_every_endpoint_asks_for_the_token(sandbox, method, path):
    assert_unauthorized(sandbox.call(method, path, {}, token=False))
    with sandbox.call(method, path, {}, stream=True) as answer:  # which may have no end
        assert answer.status_code not in (401, 403)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "PROPFIND", "HEAD", "OPTIONS", "FOO"])
@pytest.mark.parametrize("path", ["/run", "/list_processes", "/", "/no/such/path"])
def test_no_method_gets_round_it(sandbox, method, path):
    answer = sandbox.call(method, path, token=False)
    assert answer.status_code == 401
    if method != "HEAD":
        assert_unauthorized(answer)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_that_nginx_itself_refuses(sandbox, method):
    with sandbox.raw() as raw:
        status, headers, body = raw.exchange(http_request(method, "/run", [("Host", "x")]), method)
    assert status in (400, 401, 405)
    assert "error" in json.loads(body)


def test_health_needs_no_token(sandbox):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "nonsense"}):
        answer = sandbox.get("/health", token=False, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_only_get_of_health_is_free(sandbox):
    assert_unauthorized(sandbox.call("POST", "/health", {}, token=False))
    assert sandbox.call("POST", "/health", {}).status_code == 405


def wrong_tokens(secret):
    encoded = base64.b64encode(f"x:{secret}".encode()).decode()
    return [
        "", "Bearer", "Bearer ", "bearer", "BEARER ", f"Bearer{secret}", f"bearer {secret.swapcase()}", f"bearer {secret}x",
        f"Bearer\t{secret}", f"bearer \t{secret}", f"Bearer\t {secret}", f"Bearer {secret}\t", f"bearers {secret}", f"Bearer\xa0{secret}",
        f"bearer bearer {secret}", f"Bearer Bearer {secret}", f"x\tbearer {secret}", f"x bearer {secret}", f"bearer {secret}  x", f"Bearer {secret}x", f"Bearer x{secret}", f"Bearer {secret[:-1]}", f"Bearer {secret[1:]}",
        f"Bearer {secret.swapcase()}", f"Bearer {secret.upper()}", f"Bearer {secret} x", f"Bearer {secret},Bearer x",
        f"Bearer {secret}, Bearer {secret}", f"Bearer \"{secret}\"", f"Bearer={secret}", f"Bearer:{secret}", secret,
        f"Token {secret}", f"Basic {encoded}", f"Basic {secret}", f" Bearer{secret}", f"Bearer {secret}\\", "Bearer *",
        f"Bearer {secret}%00", f"Bearer {secret}{secret}", f"X Bearer {secret}", "Bearer $http_host", "Bearer null",
    ]


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "BeareR ", "Bearer  ", "bEARER      "])
@pytest.mark.parametrize("end", ["", " ", "   "])
def test_the_scheme_has_no_case(sandbox, scheme, end):
    """One space or more stand behind it, and those at the end are none of the header's value (RFC 9110, 5.5, 11.1, 11.4)."""
    with sandbox.raw() as raw:
        value = scheme.encode() + sandbox.secret.encode() + end.encode()
        status, _, answer = raw.exchange(http_request("GET", "/list_processes", [("Host", "x"), ("Authorization", value)]))
        assert status == 200 and "processes" in json.loads(answer)
        assert raw.exchange(http_request("GET", "/health?full=1", [("Host", "x"), ("Authorization", value)]))[0] == 200


def test_every_other_token_is_refused(sandbox):
    for value in wrong_tokens(sandbox.secret):
        answer = sandbox.call("POST", "/run", touch("/never"), token=False, headers={"Authorization": value.strip(" ").encode("latin-1")})
        assert answer.status_code == 401, value
        assert_unauthorized(answer)


def test_bytes_after_the_token(sandbox):
    for extra in (b"\x00", b"\x01", b"\x7f", b"\xff", b"\xc3\xa9"):
        with sandbox.raw() as raw:
            value = sandbox.authorization + extra
            status, _, _ = raw.exchange(http_request("GET", "/list_processes", [("Host", "x"), ("Authorization", value)]))
        assert status in (400, 401), extra


def test_the_token_nowhere_else(sandbox):
    secret = sandbox.secret
    for headers in ({"X-Authorization": f"Bearer {secret}"}, {"Proxy-Authorization": f"Bearer {secret}"},
                    {"Authorization_": f"Bearer {secret}"}, {"Cookie": f"Authorization=Bearer {secret}"}):
        assert_unauthorized(sandbox.get("/list_processes", token=False, headers=headers))
    for query in (f"?authorization=Bearer%20{secret}", f"?access_token={secret}", f"?token={secret}"):
        assert_unauthorized(sandbox.get("/list_processes" + query, token=False))
    assert_unauthorized(sandbox.get("/list_processes", token=False, auth=("Bearer", secret)))


SPELLINGS = [
    "//run", "///run", "/./run", "/x/../run", "/%72un", "/%2frun", "/run/", "/run//", "/run/.", "/run/x", "/run%2f",
    "/run?x=1", "/run?", "/run;x", "/run.", "/run%20", "/run%00", "/RUN", "/Run", "/run#x", "/run%23", "/run%3f",
    "/health/../run", "/health/%2e%2e/run", "/health/..%2frun", "/health%2f../run", "/health//../run", "/health/./../run",
    "/health/..;/run", "/health/", "/health/x", "/Health", "/health%00", "/health%20", "/health.", "/healthx", "/health;x",
    "/health\\..\\run", "/%68ealth/../run", "/health/../health/../run", "//health/../run", "/health%3f/../run",
    "/.%2e/run", "/a/b/../../run", "/run/../list_processes", "/%2e/run",
]


@pytest.mark.parametrize("target", SPELLINGS)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_no_spelling_of_a_path_gets_round_it(sandbox, workdir, method, target):
    body = json.dumps(touch(f"{workdir}/ran")).encode()
    request = http_request(method, target, [("Host", "x"), ("Content-Length", str(len(body)))], body)
    with sandbox.raw() as raw:
        status, _, answer = raw.exchange(request)
    assert status in (400, 401), (status, answer)  # 400: nginx could not make sense of the request line
    assert "error" in json.loads(answer)
    assert not exists(sandbox, f"{workdir}/ran")


def test_health_by_another_name_is_health_alone(sandbox):
    """`..` after the query's question mark is no path; this is health, and nothing else."""
    answer = sandbox.get("/health?/../run", token=False)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("target", [
    "http://localhost/run", "http://health/run", "http://localhost/health/../run", "https://localhost/run",
    "HTTP://LOCALHOST/run", "http://localhost//run", "http://user:password@localhost/run", "http://localhost:80/run?health",
    "http://localhost/%72un",
])
def test_absolute_form(sandbox, workdir, target):
    body = json.dumps(touch(f"{workdir}/ran")).encode()
    headers = [("Host", "localhost"), ("Content-Length", str(len(body)))]
    with sandbox.raw() as raw:
        status, _, _ = raw.exchange(http_request("POST", target, headers, body))
    assert status in (400, 401)
    assert not exists(sandbox, f"{workdir}/ran")


def test_absolute_form_with_the_token_works(sandbox):
    body = b'{"cmd":"echo absolute"}'
    headers = [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(body)))]
    with sandbox.raw() as raw:
        status, _, answer = raw.exchange(http_request("POST", "http://somewhere.example/run", headers, body))
    assert status == 200 and json.loads(answer)["stdout"] == "absolute\n"


@pytest.mark.parametrize("line", [
    b"GET /list_processes\r\n", b"GET /list_processes HTTP/1.0\r\n\r\n", b"GET  /list_processes  HTTP/1.1\r\nHost: x\r\n\r\n",
    b"get /list_processes HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n\r\nGET /list_processes HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /list_processes HTTP/1.1\nHost: x\n\n", b"GET /list_processes HTTP/2.0\r\nHost: x\r\n\r\n",
    b"GET list_processes HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /list_processes HTTP/1.1\r\n\r\n",
    b"GET /health /list_processes HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /list_processes\tHTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /list_processes HTTP/1.1\r\nHost: x\r\nAuthorization:\r\n Bearer x\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
])
def test_raw_request_lines(sandbox, line):
    with sandbox.raw(timeout=DEADLINE) as raw:
        raw.send(line)
        answer = raw.drain()
    assert b'"processes"' not in answer
    assert b" 200 " not in answer.split(b"\r\n")[0]


def test_duplicate_headers(sandbox, workdir):
    body = json.dumps(touch(f"{workdir}/ran")).encode()
    good, bad, none = sandbox.bearer(), ("Authorization", "Bearer wrong"), ("Authorization", "")
    for pair in ((good, bad), (bad, good), (none, good), (good, none), (bad, bad), (("authorization", "x"), good)):
        headers = [("Host", "x"), *pair, ("Content-Length", str(len(body)))]
        with sandbox.raw() as raw:
            status, _, answer = raw.exchange(http_request("POST", "/run", headers, body))
        assert status in (400, 401), pair
        assert "error" in json.loads(answer)
    assert not exists(sandbox, f"{workdir}/ran")


def test_header_name_is_case_insensitive(sandbox):
    for name in ("authorization", "AUTHORIZATION"):
        with sandbox.raw() as raw:
            status, _, _ = raw.exchange(http_request("GET", "/list_processes", [("Host", "x"), (name, sandbox.authorization)]))
        assert status == 200


@pytest.mark.parametrize("headers", [
    [("Content-Length", "1000000")],
    [("Transfer-Encoding", "chunked")],
    [("Content-Length", "1000000"), ("Expect", "100-continue")],
])
@pytest.mark.parametrize("path", ["/run", "/write_file"])
def test_the_check_comes_before_the_body(sandbox, path, headers):
    """The answer arrives though not a byte of the body has been sent, and no 100 Continue before it."""
    with sandbox.raw() as raw:
        raw.send(http_request("POST", path, [("Host", "x"), ("Authorization", "Bearer wrong"), *headers]))
        first = raw.reader.readline()
        assert first.startswith(b"HTTP/1.1 401 "), first


def test_unknown_paths_tell_nothing_without_the_token(sandbox):
    assert_unauthorized(sandbox.get("/nothing", token=False))
    assert sandbox.get("/nothing").status_code == 404


PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F))

SECRETS = {
    "nginx syntax": 'a"b\'c$d\\e;f{g}h#i',
    "500 characters": "0123456789" * 50,
    "a variable": "$http_host",
    "a variable in braces": "${http_host}$1",
    "inner spaces": "inner  spaces and one more",
    "UTF-8": "pässwörd-✓-😀-日本",
    "all of ASCII": PRINTABLE,
    "one character": "x",
    "a quote": '"',
    "a backslash at the end": "secret\\",
    "percent signs": "%41%42%s%n%00",
    "a regular expression": "~*^.*$",
    "base64": "q83vASNFZ4k+/w==",
    "a word of the shell": "$(id) `id` && true",
    "a scheme": "bearer x",
    "letters that other cases are folded to": "\u212aelvin-\u017fecret-\u0130",
}


@pytest.mark.host
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_secrets_of_any_printable_bytes(make_server, secret):
    server = make_server(secret=secret)

    def status(token):
        headers = [("Host", "x"), ("Authorization", b"Bearer " + token)]
        with server.raw() as raw:
            return raw.exchange(http_request("GET", "/list_processes", headers))[0]

    right = secret.encode()
    assert status(right) == 200
    for wrong in (right[:-1], right[1:], right + b"x", b"x" + right, right + right, secret.swapcase().encode(), b"",
                  right.replace(b" ", b"  "), right.replace(b"\\", b""), right.replace(b"\\", b"\\\\"),
                  b'"' + right + b'"', right.replace(b"$http_host", b"x"), right.replace(b"%41", b"A")):
        if wrong != right:
            assert status(wrong) in (400, 401), wrong
    assert server.shell("printf fine") == "fine"


# ---- one wrong token after the other ----

WRONG = ("Authorization", "Bearer wrong")

# Everything that is answered 401: (method, target, headers, body).
REFUSED = [
    ("GET", "/list_processes", [WRONG], b""),
    ("GET", "/list_processes", [], b""),
    ("HEAD", "/list_processes", [WRONG], b""),
    ("POST", "/run", [WRONG, ("Content-Length", "14")], b'{"cmd":"true"}'),
    ("POST", "/run", [("Content-Length", str(1 << 40)), ("Connection", "close")], b""),
    ("PUT", "/write_file", [WRONG], b""),
    ("DELETE", "/nothing", [WRONG], b""),
    ("PROPFIND", "/", [], b""),
    ("GET", "/process_logs_streaming?id=x", [WRONG], b""),
    ("POST", "/health", [WRONG, ("Content-Length", "0")], b""),
    ("GET", "/health?full=1", [], b""),
    ("GET", "/nginx_sandbox_refused", [WRONG], b""),
]


def ask_from(server, address, method, target, headers, body):
    """One request from an address of this machine: (status, headers, what was answered)."""
    with RawConnection(server.host, server.port, source=(address, 0)) as raw:
        return raw.exchange(http_request(method, target, [("Host", "x"), *headers], body), method)


def answers_until_429(server, address, request):
    """Asks until there is a 429; the first answer, and that one."""
    answers = []

    def ask():
        answers.append(ask_from(server, address, *request))
        assert answers[-1][0] in (401, 429), answers[-1]
        return answers[-1][0] == 429

    wait_until(ask, "a 429")
    return answers[0], answers[-1]


@pytest.mark.host
def test_an_address_is_told_to_stop_guessing(make_server):
    """By whatever it fails, and nobody else is."""
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": "1"})
    good = ("GET", "/list_processes", [server.bearer()], b"")
    for number, request in enumerate(REFUSED):
        address = f"127.0.1.{number + 1}"
        first, last = answers_until_429(server, address, request)
        assert first[0] == 401 and first[1]["WWW-Authenticate"].startswith("Bearer") and first[1]["X-Request-ID"]
        assert "Retry-After" not in first[1] and "ETag" not in first[1] and "Last-Modified" not in first[1]
        assert last[1]["Retry-After"] == "1" and "WWW-Authenticate" not in last[1] and last[1]["X-Request-ID"]
        for _, headers, body in (first, last):
            assert headers["Content-Type"] == "application/json"
            assert request[0] == "HEAD" or json.loads(body)["error"]
        assert request[0] == "HEAD" or "SANDBOX_MAX_FAILED_AUTH" in json.loads(last[2])["error"]
        assert ask_from(server, address, *good)[0] == 200
    assert ask_from(server, "127.0.2.1", *REFUSED[0])[0] == 401


@pytest.mark.host
def test_the_right_token_is_never_told_to_stop(make_server):
    """However often it comes from an address that is limited."""
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": "1"})
    answers_until_429(server, "127.0.0.1", REFUSED[0])
    refused = 0
    for number in range(100):
        assert server.get("/list_processes").status_code == 200
        assert server.get("/nothing").status_code == 404
        assert server.get("/health", token=False).status_code == 200
        if number % 10 == 0:
            refused += server.get("/list_processes", token=False).status_code == 429
    assert refused
    assert server.shell("echo fine") == "fine\n"


@pytest.mark.host
def test_failures_need_not_be_counted(make_server):
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": "0"})
    assert {server.get("/list_processes", token=False).status_code for _ in range(300)} == {401}


@pytest.mark.host
def test_by_default_ten_a_second_may_fail(make_server):
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": None})
    assert [server.get("/list_processes", token=False).status_code for _ in range(10)] == [401] * 10
    wait_until(lambda: server.get("/list_processes", token=False).status_code == 429, "a 429")
    wait_until(lambda: server.get("/list_processes", token=False).status_code == 401, "another try")
