"""
The gateway of deploy/gateway: that very nginx.conf in a stock nginx, before sandboxes that run here. Names are resolved by a small
DNS server of the test's, which is what Docker's and Kubernetes' are in a cluster.
"""

import contextlib
import json
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading

import pytest

from marker import Marker, end
from sandbox import BIG_TIMEOUT, DEADLINE, REPOSITORY, EventStream, Port, Sandbox, Server, alive, http_request, refused, wait_until
from test_ports import Target

pytestmark = pytest.mark.host

DEPLOY = REPOSITORY / "deploy"
CLIENT_ID = "from-the-client.1"


class Names:
    """A DNS server on 127.0.0.1: `addresses` are the A records of each name; what is not there does not exist."""

    def __init__(self):
        self.addresses = {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):  # until it is closed
            while True:
                query, client = self.socket.recvfrom(4096)
                if not query:
                    return
                self.socket.sendto(self.answer(query), client)

    def answer(self, query):
        """RFC 1035, for one question: the question again, and a record for each address."""
        labels, place = [], 12
        while query[place]:
            labels.append(query[place + 1:place + 1 + query[place]].decode())
            place += 1 + query[place]
        question = query[12:place + 5]
        found = self.addresses.get(".".join(labels).lower())
        kind = struct.unpack(">H", question[-4:-2])[0]
        records = [socket.inet_aton(address) for address in found or ()] if kind == 1 else []
        code = 0x8180 if found is not None else 0x8183  # NXDOMAIN
        body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 3600, 4) + record for record in records)
        return query[:2] + struct.pack(">HHHHH", code, 1, len(records), 0, 0) + question + body

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wake:
            wake.sendto(b"", ("127.0.0.1", self.port))
        self.socket.close()


class Gateway:
    """nginx with deploy/gateway/nginx.conf, on free ports, with a map of this test's."""

    def __init__(self, sandboxes, resolver):
        self.ports = Port(), Port()
        self.home = tempfile.mkdtemp(prefix="nxs-gateway-")
        self.port = self.ports[0].number
        text = (DEPLOY / "gateway/nginx.conf").read_text()
        for number, port in zip((8080, 8081), self.ports):
            text, count = re.subn(rf"listen {number}\b", f"listen 127.0.0.1:{port.number}", text)
            assert count == 1
        self.write("nginx.conf", text)
        self.write("engine.conf", f"resolver 127.0.0.1:{resolver} valid=1s;\n")
        self.write("sandboxes.map", sandboxes)
        # Its standard output is the access log.
        with open(f"{self.home}/access.log", "ab") as log, open(f"{self.home}/error.log", "ab") as errors:
            self.process = subprocess.Popen(
                ["nginx", "-e", "stderr", "-p", f"{self.home}/", "-c", f"{self.home}/nginx.conf", "-g", "daemon off;"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=errors)
        wait_until(lambda: self.process.poll() is not None or not refused("127.0.0.1", self.port), "the gateway to listen")
        assert self.process.poll() is None, self.read("error.log")

    def write(self, name, text):
        with open(f"{self.home}/{name}", "w", encoding="utf-8") as file:
            file.write(text)

    def read(self, name):
        with open(f"{self.home}/{name}", encoding="utf-8") as file:
            return file.read()

    def logged(self, identifier):
        """The line of the access log with a request id."""
        def look():
            lines = self.read("access.log").splitlines(keepends=True)
            return [json.loads(line) for line in lines if line.endswith("\n") and json.loads(line)["request_id"] == identifier]

        return wait_until(look, f"{identifier} in the gateway's log")[0]

    def client(self, secret="secret"):
        return Sandbox(f"http://127.0.0.1:{self.port}", ("127.0.0.1", 0), secret)

    def close(self):
        self.process.terminate()
        self.process.wait(DEADLINE)
        errors = [line for line in self.read("error.log").splitlines() if "[emerg]" in line or "[crit]" in line]
        shutil.rmtree(self.home)
        for port in self.ports:
            port.free()
        assert not errors, errors


@pytest.fixture
def names():
    names = Names()
    yield names
    names.close()


@pytest.fixture
def make_gateway(names):
    gateways = []

    def make(sandboxes):
        gateways.append(Gateway(sandboxes, names.port))
        return gateways[-1]

    yield make
    for gateway in gateways:
        gateway.close()


@pytest.fixture(scope="module")
def two():
    """Two sandboxes, each with a secret of its own, for all tests here."""
    with Server() as first, Server({"SANDBOX_MAX_BODY": "1k"}) as second:
        yield first, second


@pytest.fixture
def gateway(two, make_gateway):
    return make_gateway("".join(f"{key} 127.0.0.1:{server.port};\n" for key, server in zip("ab", two)))


class Listener:
    """Somebody in a sandbox's place: takes one request after the other, keeps its bytes, and answers with `answer`."""

    def __init__(self, answer):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.answer, self.requests = answer, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection:
                    connection.settimeout(BIG_TIMEOUT)
                    self.requests.append(self.read(connection))
                    connection.sendall(self.answer)

    @staticmethod
    def read(connection):
        """A whole request."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int((re.search(rb"(?im)^content-length: (\d+)", head) or [0, 0])[1])
        while len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def make_listener():
    listeners = []

    def make(answer):
        listeners.append(Listener(answer))
        return listeners[-1]

    yield make
    for listener in listeners:
        listener.close()


def ask(gateway, secret, path="/run", body=None, **headers):
    """One request; headers by their names with _ for -."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"cmd": "true"} if body is None and path == "/run" else body
    return gateway.client(secret).call("POST" if body is not None else "GET", path, body, headers=headers)


# ---- which sandbox ----


def test_the_key_and_the_host_name_choose_the_sandbox(gateway, two):
    for key, server in zip("ab", two):
        for headers in ({"X_Routing_Key": key}, {"Host": f"{key}.sandboxes.example"}, {"Host": f"{key.upper()}.example:8080"},
                        {"X_Routing_Key": key, "Host": "b.sandboxes.example"}, {"X_Routing_Key": key, "Host": "nobody"}):
            answer = ask(gateway, server.secret, "/port_status", **headers)
            assert (answer.status_code, answer.json()["proxy_port"]) == (200, str(server.proxy_port)), headers


def test_a_path_before_the_apis(gateway, two):
    answer = ask(gateway, two[0].secret, "/koyeb-sandbox/run", {"cmd": "echo prefixed"}, X_Routing_Key="a")
    assert answer.json()["stdout"] == "prefixed\n"
    started = two[0].start("echo logged")
    answer = ask(gateway, two[0].secret, f"/koyeb-sandbox/get_process?id={started['id']}", X_Routing_Key="a")
    assert answer.json()["pid"] == started["pid"]


@pytest.mark.parametrize("headers", [{}, {"X_Routing_Key": "c"}, {"X_Routing_Key": "a b"}, {"X_Routing_Key": "127.0.0.1:1"},
                                     {"Host": "c.sandboxes.example"}, {"Host": "a"}, {"X_Routing_Key": "c", "Host": "a.example"}])
def test_an_unknown_key_is_a_404(gateway, two, headers):
    for path in ("/health", "/run", "/koyeb-sandbox/run", "/index.html"):
        answer = ask(gateway, two[0].secret, path, **headers, X_Request_ID=CLIENT_ID)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/json")
        assert answer.json() == {"error": "No sandbox of this X-Routing-Key or host name", "error_code": "not_found"}
        assert answer.headers["X-Request-ID"] == CLIENT_ID


def test_a_web_page_reads_that_there_is_no_sandbox(gateway):
    """The sandbox that would say which pages may call it is not there: the preflight of the request is answered for it."""
    question = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-routing-key"}
    sandbox = gateway.client()
    answer = sandbox.call("OPTIONS", "/run", headers={**question, "X-Routing-Key": "c"}, token=False)
    assert answer.status_code == 204 and "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization,x-routing-key"
    answer = sandbox.call("GET", "/health", headers={"Origin": "https://page.example", "X-Routing-Key": "c"}, token=False)
    assert answer.status_code == 404 and answer.headers["Access-Control-Allow-Origin"] == "*"
    assert not [name for name in sandbox.call("GET", "/health", token=False).headers if name.startswith("Access-Control-Allow")]


def test_its_lists_are_those_of_the_server():
    """The gateway's file is used as it stands, without the launcher, which writes these lists for a server."""
    text = (DEPLOY / "gateway/nginx.conf").read_text()
    reads = re.findall(r'"/(\w+)", [\w |]+, \w+, READS\)', (REPOSITORY / "api/endpoints.h").read_text())
    listed = re.search(r"\(\?:/koyeb-sandbox\)\?/\(\?:([\w|]+)\)", text)[1].split("|")
    assert set(listed) == set(reads) - {"metrics"}
    statuses = (REPOSITORY / "api/statuses.h").read_text()
    codes = dict(re.findall(r"^        (\d+) +(\w+);", re.search(r"map \$status \$gateway_error_code \{(.*?)\}", text, re.S)[1], re.M))
    assert len(codes) >= 8 and codes.items() <= dict(re.findall(r"FAILURE\((\d+), .*, (\w+)\)", statuses)).items()


def test_a_default_takes_everything(make_server, make_gateway):
    server = make_server()
    gateway = make_gateway(f"default 127.0.0.1:{server.port};")
    for headers in ({}, {"X_Routing_Key": "any"}, {"Host": "any.example"}):
        assert ask(gateway, server.secret, **headers).status_code == 200


# ---- passed on ----


def test_the_token_is_the_sandboxes_business(gateway, two):
    for key, server, other in (("a", *two), ("b", *reversed(two))):
        assert ask(gateway, server.secret, X_Routing_Key=key).status_code == 200
        for scheme in ("bearer", "BEARER "):
            headers = {"X-Routing-Key": key, "Authorization": f"{scheme} {server.secret}"}
            assert gateway.client().call("GET", "/list_processes", headers=headers, token=False).status_code == 200
        for secret in (other.secret, "wrong", server.secret + "x"):
            answer = ask(gateway, secret, X_Routing_Key=key)
            assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert gateway.client().call("GET", "/health", headers={"X-Routing-Key": key}, token=False).json() == {"status": "ok"}


def test_what_the_sandbox_refuses_is_passed_on(gateway, two):
    """Also the limits, which are each sandbox's own."""
    body = json.dumps({"cmd": "echo large"}).encode().ljust(5000)
    assert ask(gateway, two[0].secret, body=body, X_Routing_Key="a").json()["stdout"] == "large\n"
    answer = ask(gateway, two[1].secret, body=body, X_Routing_Key="b")
    assert answer.status_code == 413 and "SANDBOX_MAX_BODY" in answer.json()["error"]
    answer = ask(gateway, two[0].secret, "/nothing", X_Routing_Key="a")
    assert answer.status_code == 404 and answer.json()["error"] != "No sandbox of this X-Routing-Key or host name"
    answer = ask(gateway, two[0].secret, "/run", b"{", X_Routing_Key="a")
    assert answer.status_code == 400 and answer.json()["error"]


def test_a_large_body_and_answer(gateway, two):
    text = "0123456789abcdef" * 500_000
    answer = ask(gateway, two[0].secret, body={"cmd": "cat", "stdin": text}, X_Routing_Key="a")
    assert answer.json()["stdout"] == text
    pieces = (piece for piece in (json.dumps({"cmd": "cat", "stdin": text}).encode(),))
    assert ask(gateway, two[0].secret, body=pieces, X_Routing_Key="a").json()["stdout"] == text


def test_one_request_id_everywhere(gateway, two):
    given = ask(gateway, two[0].secret, X_Routing_Key="a", X_Request_ID=CLIENT_ID).headers["X-Request-ID"]
    made = ask(gateway, two[0].secret, X_Routing_Key="a", X_Request_ID="not a plain word").headers["X-Request-ID"]
    assert given == CLIENT_ID and re.fullmatch("[0-9a-f]{32}", made)
    for identifier in (given, made):
        line = gateway.logged(identifier)
        assert (line["status"], line["path"], line["sandbox"]) == (200, "/run", f"127.0.0.1:{two[0].port}")
        wait_until(lambda: f'"request_id":"{identifier}"' in (two[0].run_dir / "nginx/access.log").read_text(), "the same id in the sandbox's log")


def test_the_log_is_json_without_a_secret(gateway, two):
    ask(gateway, two[0].secret, "/get_process?id=in-the-query", X_Routing_Key="a", X_Request_ID=CLIENT_ID)
    ask(gateway, "a-wrong-secret", "/" + "x" * 3000, X_Routing_Key="c", X_Request_ID="long")
    with gateway.client().raw() as raw:
        raw.exchange(http_request("GET", '/"a\\b"', [("Host", "c.example"), ("X-Request-ID", "quoted")]))
    for number, (path, told) in enumerate([(b"/caf\xc3\xa9", "/café"), (b"/%ff\xff?x", "/%ff"), (b"/" + b"x" * 254 + b"\xc3\xa9", "/" + "x" * 254)]):
        with gateway.client().raw() as raw:
            raw.exchange(b"GET " + path + b" HTTP/1.1\r\nHost: c.example\r\nX-Request-ID: bytes-%d\r\n\r\n" % number)
        assert gateway.logged(f"bytes-{number}")["path"] == told  # the file is read as strict UTF-8
    assert gateway.logged("quoted")["path"] == '/"a\\b"'
    assert gateway.logged(CLIENT_ID)["path"] == "/get_process" and len(gateway.logged("long")["path"]) == 256
    for text in (two[0].secret, "a-wrong-secret", "in-the-query"):
        assert text not in gateway.read("access.log") + gateway.read("error.log")


def test_a_sandbox_gives_no_orders(make_gateway, make_listener):
    listener = make_listener(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Accel-Redirect: /gateway_refused\r\nConnection: close\r\n\r\nok")
    gateway = make_gateway(f"a 127.0.0.1:{listener.port};\n")
    assert ask(gateway, "any", X_Routing_Key="a").text == "ok"


def test_headers_of_one_hop_are_not_passed_on(make_gateway, make_listener):
    listener = make_listener(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    gateway = make_gateway(f"a 127.0.0.1:{listener.port};")
    headers = [("Host", "a.example"), ("Authorization", "Bearer  two  spaces "), ("Connection", "Upgrade, keep-alive"), ("Upgrade", "websocket"),
               ("Last-Event-ID", "x-1-2"), ("Content-Length", "2")]
    with gateway.client().raw() as raw:
        assert raw.exchange(http_request("POST", "/a%2Fb//c?q=%20&r", headers, b"{}"))[0] == 200
    request = listener.requests[0]
    assert request.startswith(b"POST /a%2Fb//c?q=%20&r HTTP/1.1\r\n") and request.endswith(b"\r\n\r\n{}")
    assert b"\r\nAuthorization: Bearer  two  spaces\r\n" in request and b"\r\nLast-Event-ID: x-1-2\r\n" in request
    assert not re.search(rb"(?im)^(upgrade|keep-alive|connection: (?!close))", request)


def port_of():
    """An application that answers a request with its head, or takes an upgrade and echoes."""
    def serve(connection):
        head = connection.recv(65536)
        if b"Upgrade: echo" in head:
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            while data := connection.recv(65536):
                connection.sendall(data)
        else:
            connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: %d\r\n\r\n" % len(head) + head)

    return Target(serve)


@pytest.mark.parametrize("upgrade", [False, True])
def test_ports(make_gateway, upgrade):
    """By path and by host, with the path as the client wrote it."""
    with Server({"SANDBOX_PORT_DOMAIN": "example.org"}) as server, port_of() as target:
        gateway = make_gateway(f"red 127.0.0.1:{server.port};\n")
        for host, path, location in (("red.example.org", f"/port/{target.port}", f"/port/{target.port}/next"), (f"{target.port}-red.example.org", "", "/next"),
                                     ("red.example.org", f"/koyeb-sandbox/port/{target.port}", f"/koyeb-sandbox/port/{target.port}/next")):
            headers = [("Host", host), server.bearer(), *([("Connection", "Upgrade"), ("Upgrade", "echo")] if upgrade else [])]
            with gateway.client().raw() as raw:
                raw.send(http_request("GET", path + "/a%2Fb//c", headers))
                if not upgrade:
                    status, headers, body = raw.response()
                    assert (status, headers["Location"]) == (302, location) and body.startswith(b"GET /a%2Fb//c HTTP/1.1\r\n"), body
                    continue
                assert raw.reader.readline().startswith(b"HTTP/1.1 101 ")
                while raw.reader.readline() != b"\r\n":
                    pass
                raw.send(b"hello\n")
                assert raw.reader.readline() == b"hello\n"


@pytest.mark.parametrize("host, key, expected", [("red.example.org:8080", None, "-red.example.org:8080"), ("any.example.org", "red", "-red.example.org"),
                                                 ("localhost:8080", "red", "-red.localhost:8080"), ("red.example.net", None, ".example.org")])
def test_a_shared_port(make_gateway, host, key, expected):
    """The link of a sandbox leads through the gateway, by the sandbox's key."""
    with Server({"SANDBOX_PORT_DOMAIN": "example.org"}) as server, port_of() as target:
        gateway = make_gateway(f"red 127.0.0.1:{server.port};\n")
        for prefix in ("", "/koyeb-sandbox"):
            headers = {"Host": host, **({"X-Routing-Key": key} if key else {})}
            shared = gateway.client(server.secret).call("POST", prefix + "/share_port", {"port": target.port}, headers=headers).json()
            assert shared["host"] == f"{target.port}{expected}"
        if "-red" in expected:
            opened = gateway.client().call("GET", shared["path"], headers={"Host": shared["host"]}, token=False, allow_redirects=False)
            assert (opened.status_code, opened.headers["Location"]) == (303, f"//{shared['host']}/")
            cookie = opened.headers["Set-Cookie"].split(";")[0]
            seen = gateway.client().call("GET", "/", headers={"Host": shared["host"], "Cookie": cookie}, token=False, allow_redirects=False)
            assert (seen.status_code, seen.headers["Location"]) == (302, "/next")


# ---- streams ----


def open_stream(gateway, secret, path, body=None):
    return EventStream(gateway.client(secret), "POST" if body else "GET", path, body, {"X-Routing-Key": "a"})


def test_streams_are_not_buffered(gateway, two, tmp_path):
    """The head comes before there is any output, and each line while the command waits for us to have seen it."""
    wait = 'until [ -e "$1/$0" ]; do sleep 0.02; done'
    commands = "; ".join(f"sh -c '{wait}' {number} {tmp_path}; echo line {number}" for number in range(5))
    tmp_path.chmod(0o777)
    with open_stream(gateway, two[0].secret, "/run_streaming", {"cmd": commands}) as stream:
        assert stream.status == 200 and stream.headers["X-Accel-Buffering"] == "no"  # for an nginx before the gateway
        for number in range(5):
            (tmp_path / str(number)).touch()
            assert stream.next() == ("output", {"stream": "stdout", "data": f"line {number}"})
        assert stream.next().name == "complete" and not stream.cut


def test_log_streams_resume_through_the_gateway(gateway, two):
    started = two[0].start("echo one; echo two")
    path = f"/process_logs_streaming?id={started['id']}"
    with open_stream(gateway, two[0].secret, path) as stream:
        first, *_, last = stream.events()
    assert first.data["data"] == "one" and last.name == "complete"
    answer = ask(gateway, two[0].secret, path, X_Routing_Key="a", Last_Event_ID=first.id)
    assert '"data":"two"' in answer.text and '"data":"one"' not in answer.text


def test_a_body_is_passed_on_as_it_comes(gateway):
    """The sandbox has the head, and may refuse it, while the body is still on its way."""
    headers = [("Host", "b.example"), ("Authorization", "Bearer wrong"), ("Content-Length", "1000000")]
    with gateway.client().raw() as raw:
        raw.send(http_request("POST", "/run", headers, b"{"))
        assert raw.response("POST")[0] in (401, 413)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("path", ["/run", "/run_streaming"])
def test_a_hang_up_reaches_the_sandbox(gateway, two, make_marker_of, path, reset):
    marker = make_marker_of(two[0])
    body = json.dumps({"cmd": f"trap '' TERM; {marker.sleep} & {marker.sleep}"}).encode()
    headers = [("Host", "x"), ("X-Routing-Key", "a"), two[0].bearer(), ("Content-Length", str(len(body)))]
    with gateway.client().raw() as raw:
        raw.send(http_request("POST", path, headers, body))
        marker.sleeping(two[0], 2)
        if reset:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.reader.close()
        raw.socket.close()
        marker.gone(two[0])


@pytest.fixture
def make_marker_of():
    made = []

    def make(sandbox):
        made.append((sandbox, Marker()))
        return made[-1][1]

    yield make
    for sandbox, marker in made:
        end(sandbox, marker.pids(sandbox))


# ---- a sandbox that is away ----


def expect_away(answer):
    assert answer.status_code == 503 and answer.headers["Retry-After"] == "1"
    assert answer.json()["error"] == "The sandbox is away; nothing was done, repeat the request"
    assert answer.headers["X-Request-ID"]


def test_a_sandbox_that_is_away_is_a_503(make_gateway, server, two):
    gateway = make_gateway(f"a 127.0.0.1:{server.port}; b 127.0.0.1:{two[1].port};")
    server.stop()
    expect_away(ask(gateway, server.secret, X_Routing_Key="a"))
    assert ask(gateway, two[1].secret, X_Routing_Key="b").status_code == 200
    server.boot()
    assert ask(gateway, server.secret, X_Routing_Key="a").status_code == 200


def test_a_request_that_was_lost(make_gateway, make_listener):
    """The sandbox was there, took the request, and said nothing more: it may have been done, and is no 5xx, which clients repeat."""
    listener = make_listener(b"")
    gateway = make_gateway(f"a 127.0.0.1:{listener.port};")
    answer = ask(gateway, "secret", X_Routing_Key="a")
    assert answer.status_code == 409 and "may have run" in answer.json()["error"] and "Retry-After" not in answer.headers
    assert answer.json()["may_have_run"] is True
    assert len(listener.requests) == 1, "it was repeated"


def test_a_name_is_resolved_anew(make_server, make_gateway, names):
    """A sandbox has no address yet, gets one, and loses it."""
    server = make_server()
    gateway = make_gateway(f"a sandbox-a.test:{server.port};")

    def becomes(status):
        wait_until(lambda: ask(gateway, server.secret, X_Routing_Key="a").status_code == status, f"an answer with {status}")

    expect_away(ask(gateway, server.secret, X_Routing_Key="a"))
    names.addresses["sandbox-a.test"] = ["127.0.0.1"]
    becomes(200)
    del names.addresses["sandbox-a.test"]
    becomes(503)


def test_the_next_replica_is_tried(make_gateway, make_listener, names):
    """Of a name with two addresses one is not there (any more)."""
    listener = make_listener(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    names.addresses["sandbox.test"] = ["127.1.1.1", "127.0.0.1"]  # nobody listens on the first
    gateway = make_gateway(f"sandbox sandbox.test:{listener.port};")
    for count in range(1, 21):
        assert ask(gateway, "secret", X_Routing_Key="sandbox").status_code == 200
        assert len(listener.requests) == count


# ---- what the gateway says itself ----


def test_what_is_no_http_is_answered_in_json(gateway):
    host = b" HTTP/1.1\r\nHost: x\r\n"
    for request, *status in ((b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/9.0\r\n\r\n", 505), (b"GET /" + b"x" * 40000 + host + b"\r\n", 414),
                             (b"GET /" + host + b"X: " + b"x" * 40000 + b"\r\n\r\n", 431), (b"TRACE /" + host + b"\r\n", 405),
                             (b"CONNECT x:1" + host + b"\r\n", 400, 405)):
        with gateway.client().raw() as raw:
            answer = raw.exchange(request)
        assert answer[0] in status and json.loads(answer[2])["error"], request[:40]
        assert answer[1]["Content-Type"] == "application/json"


def test_its_own_health_is_on_a_port_of_its_own(gateway):
    probe = Sandbox(f"http://127.0.0.1:{gateway.ports[1].number}", ("127.0.0.1", 0), "secret")
    assert probe.get("/health", token=False).json() == {"status": "ok"}
    assert probe.get("/run").status_code == 404


def test_its_end_lets_streams_end(gateway, two, tmp_path):
    """SIGQUIT, which both engines send: what is under way is finished, nobody new is let in."""
    tmp_path.chmod(0o777)
    cmd = f"echo begun; until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo ended"
    with open_stream(gateway, two[0].secret, "/run_streaming", {"cmd": cmd}) as stream:
        assert stream.next().data["data"] == "begun"
        gateway.process.send_signal(3)
        wait_until(lambda: refused("127.0.0.1", gateway.port), "the gateway to listen no more")
        (tmp_path / "go").touch()
        assert [event.name for event in stream.events()] == ["output", "complete"]
    wait_until(lambda: not alive(gateway.process.pid), "the gateway to end")


@pytest.mark.parametrize("engine", ["swarm", "kubernetes/base"])
@pytest.mark.parametrize("sandboxes", ["swarm", "kubernetes/overlays/one", "kubernetes/overlays/several"])
def test_the_files_of_each_engine_are_taken(tmp_path, engine, sandboxes):
    """nginx reads them; only the name of the cluster's DNS, which nginx looks up at its start, is another."""
    shutil.copy(DEPLOY / "gateway/nginx.conf", tmp_path)
    shutil.copy(DEPLOY / sandboxes / "sandboxes.map", tmp_path)
    text, count = re.subn(r"(?m)^resolver \S+", "resolver 127.0.0.1", (DEPLOY / engine / "engine.conf").read_text())
    assert count == 1
    (tmp_path / "engine.conf").write_text(text)
    command = ["nginx", "-t", "-e", "stderr", "-p", f"{tmp_path}/", "-c", f"{tmp_path}/nginx.conf"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0 and "[warn]" not in result.stderr, result.stderr
