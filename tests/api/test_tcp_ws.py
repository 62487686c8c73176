"""/tcp/N: a TCP connection to a port of the sandbox, over a WebSocket."""

import signal
import socket
import tempfile
import threading

import pytest

from sandbox import BIG_TIMEOUT, TIMEOUT, Port, Server, has_ipv6
from web_socket import BINARY, Refused, WebSocket, frame

pytestmark = pytest.mark.host
END = {"type": "eof"}
PATTERN = bytes(range(256)) * 4096


class Listener:
    """A program of the test's own on a free port; `accept` gives its next connection."""

    def __init__(self, family=socket.AF_INET):
        self.port = Port()
        self.socket = socket.socket(family)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port.free()
        self.socket.bind(("127.0.0.1" if family == socket.AF_INET else "::1", self.port.number))
        self.socket.listen(50)
        self.socket.settimeout(TIMEOUT)
        self.path = f"/tcp/{self.port.number}"

    def accept(self):
        connection = self.socket.accept()[0]
        connection.settimeout(TIMEOUT)
        return connection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


@pytest.fixture
def listener():
    with Listener() as listener:
        yield listener


def read_to_end(connection):
    data = bytearray()
    while (more := connection.recv(1 << 16)):
        data += more
    return bytes(data)


def read_exactly(connection, count):
    parts = []
    while count > 0:
        parts.append(connection.recv(1 << 16))
        count -= len(parts[-1])
    return b"".join(parts)


def refusal(sandbox, path, **options):
    with pytest.raises(Refused) as refused:
        WebSocket(sandbox, path, **options)
    return refused.value.status, refused.value.json()


def test_both_ways(sandbox, listener):
    with WebSocket(sandbox, listener.path) as client, listener.accept() as port:
        assert client.protocol == "nginx-sandbox.v1"
        client.write(b"hello")
        assert port.recv(100) == b"hello"
        port.sendall(b"\x00\xff there")
        assert client.read() == (BINARY, b"\x00\xff there")
        assert client.close() == (1000, "") and port.recv(1) == b""


@pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")
def test_ipv6_alone(sandbox):
    with Listener(socket.AF_INET6) as listener, WebSocket(sandbox, listener.path) as client, listener.accept() as port:
        client.write(b"six")
        assert port.recv(100) == b"six"


def test_the_client_ends_first(sandbox, listener):
    """A half-closed connection carries on in the other direction, and both ends close it."""
    with WebSocket(sandbox, listener.path) as client, listener.accept() as port:
        client.write(b"question")
        client.order(**END)
        assert read_to_end(port) == b"question"
        port.sendall(b"answer")
        assert client.read_bytes(6) == b"answer"
        port.close()
        assert client.event() == END and client.read() is None and client.closed == (1000, "")


def test_the_port_ends_first(sandbox, listener):
    with WebSocket(sandbox, listener.path) as client, listener.accept() as port:
        port.sendall(b"greeting")
        port.shutdown(socket.SHUT_WR)
        assert client.read_bytes(8) == b"greeting" and client.event() == END
        client.write(b"thanks")
        client.order(**END)
        assert read_to_end(port) == b"thanks"
        assert client.read() is None and client.closed == (1000, "")


def test_a_reset(sandbox, listener):
    """The application cuts the connection: that is no end like others."""
    with WebSocket(sandbox, listener.path) as client, listener.accept() as port:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        port.close()
        assert client.read() is None and client.closed[0] == 4001


def test_a_client_that_leaves(sandbox, listener):
    with WebSocket(sandbox, listener.path), listener.accept() as port:
        pass
    with WebSocket(sandbox, listener.path) as client, listener.accept() as port:
        client.socket.close()
        client.reader.close()
        client.reader.raw.close()
        assert port.recv(1) == b""


@pytest.mark.parametrize("order", [b"{}", b"no JSON", b'{"type":"resize"}', b"[]", b'{"type":1}'])
def test_other_texts(sandbox, listener, order):
    with WebSocket(sandbox, listener.path) as client, listener.accept() as port:
        client.send(1, order)
        assert client.read() is None and client.closed[0] == 1008
        assert port.recv(1) == b""


def test_bytes_after_the_end(sandbox, listener):
    with WebSocket(sandbox, listener.path) as client, listener.accept():
        client.order(**END)
        client.write(b"more")
        assert client.read() is None and client.closed[0] == 1008


def test_many_bytes_both_ways_at_once(sandbox, listener):
    """And neither side reads before it has written: so each direction goes on while the other waits."""
    total = 24
    with WebSocket(sandbox, listener.path, timeout=BIG_TIMEOUT) as client, listener.accept() as port:
        port.settimeout(BIG_TIMEOUT)
        got = {}

        def send_to_port():
            for _ in range(total):
                client.write(PATTERN)
            client.order(**END)

        def read_at_port():
            got["port"] = read_to_end(port)

        def send_to_client():
            for _ in range(total):
                port.sendall(PATTERN)
            port.shutdown(socket.SHUT_WR)

        threads = [threading.Thread(target=function) for function in (send_to_port, read_at_port, send_to_client)]
        for thread in threads:
            thread.start()
        got["client"] = client.read_bytes(total * len(PATTERN))
        for thread in threads:
            thread.join(BIG_TIMEOUT)
        assert got["client"] == PATTERN * total and got["port"] == PATTERN * total
        assert client.event() == END and client.read() is None and client.closed == (1000, "")


@pytest.mark.parametrize("reader", ["port", "client"])
def test_backpressure(sandbox, listener, reader):
    """Whoever does not read holds the other back; all arrives when it does, and the daemon keeps little of it."""
    with WebSocket(sandbox, listener.path, timeout=BIG_TIMEOUT) as client, listener.accept() as port:
        port.settimeout(BIG_TIMEOUT)
        writer = client.socket if reader == "port" else port
        before = memory(sandbox)
        writer.settimeout(1)
        data = b"".join(frame(BINARY, PATTERN) for _ in range(40)) if reader == "port" else PATTERN * 40
        sent = 0
        try:
            while sent < len(data):
                sent += writer.send(data[sent:sent + (1 << 20)])
        except (BlockingIOError, TimeoutError):
            pass
        assert sent < len(data)
        assert memory(sandbox) - before < 4 << 20
        writer.settimeout(BIG_TIMEOUT)
        rest = threading.Thread(target=writer.sendall, args=(data[sent:],))
        rest.start()
        whole = (read_exactly(port, 40 * len(PATTERN)) if reader == "port" else client.read_bytes(40 * len(PATTERN)))
        rest.join(BIG_TIMEOUT)
        assert whole == PATTERN * 40


def memory(sandbox):
    with open(f"/proc/{sandbox.daemon('terminal')}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))


# ---- which ports ----


def test_nobody_listens(sandbox):
    """An error before the WebSocket, after the wait that the client asks for."""
    with Listener() as listener:
        path = listener.path
    status, error = refusal(sandbox, path, headers={"X-Sandbox-Wait-Ms": "0"})
    assert (status, error["error_code"]) == (504, "not_listening")


def test_waits_until_somebody_listens(sandbox):
    port = Port()
    found = {}

    def connect():
        found["client"] = WebSocket(sandbox, f"/tcp/{port.number}", timeout=BIG_TIMEOUT)

    thread = threading.Thread(target=connect)
    thread.start()
    port.free()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port.number))
        listener.listen()
        thread.join(BIG_TIMEOUT)
        with found["client"] as client, listener.accept()[0] as other:
            other.sendall(b"late")
            assert client.read_bytes(4) == b"late"


@pytest.mark.parametrize("number", ["0", "65536", "03000", "x", "", "3000/more", "-1", "%33000"])
def test_what_is_no_port(sandbox, number):
    status, error = refusal(sandbox, f"/tcp/{number}")
    assert (status, error["error_code"]) == (400, "invalid_request")


def test_the_servers_own_ports(server):
    for number in (server.port, server.proxy_port):
        status, error = refusal(server, f"/tcp/{number}")
        assert (status, error["error_code"]) == (400, "invalid_request") and "own" in error["error"]


def test_listed_ports():
    with Listener() as listed, Listener() as other, Server({"SANDBOX_PORTS": str(listed.port.number)}) as server:
        with WebSocket(server, listed.path), listed.accept():
            pass
        status, error = refusal(server, other.path)
        assert (status, error["error_code"]) == (403, "forbidden")


def test_own_ports():
    """Only of commands: a port of another process on the machine is refused."""
    with Listener() as other, Server({"SANDBOX_PORTS": "own"}) as server:
        status, error = refusal(server, other.path)
        assert (status, error["error_code"]) == (403, "forbidden")
        port = Port()
        program = "import socket; s = socket.create_server(('127.0.0.1', %d)); c = s.accept()[0]; c.sendall(c.recv(9)); c.recv(1)" % port.number
        port.free()
        server.start(f'/usr/bin/python3 -c "{program}"')
        with WebSocket(server, f"/tcp/{port.number}") as client:
            client.write(b"echo")
            assert client.read_bytes(4) == b"echo"


# ---- who may ----


def test_needs_the_token(sandbox, listener):
    for headers in ({"Authorization": None}, {"Authorization": "Bearer other"}):
        status, error = refusal(sandbox, listener.path, headers=headers)
        assert (status, error["error_code"]) == (401, "unauthorized")


def test_web_pages():
    with Listener() as listener, Server({"SANDBOX_CORS_ORIGINS": "https://console.example"}) as server:
        for origin in ("https://other.example", "null", f"http://localhost:{server.port}"):
            status, error = refusal(server, listener.path, headers={"Origin": origin})
            assert (status, error["error_code"]) == (403, "forbidden")
        with WebSocket(server, listener.path, headers={"Origin": "https://console.example"}), listener.accept():
            pass


def test_what_is_no_web_socket(sandbox):
    answer = sandbox.get("/tcp/3000")
    assert answer.status_code == 426 and answer.json()["error_code"] == "invalid_request" and answer.headers["Upgrade"] == "websocket"
    assert sandbox.get("/tcp/3000", token=False).status_code == 401
    assert sandbox.call("POST", "/tcp/3000", {}).status_code == 405


# ---- daemons die ----


def test_a_killed_daemon(server, listener):
    """Its connections end; the next one serves whoever comes, also while it is away. Others do not matter to it."""
    with WebSocket(server, listener.path) as client, listener.accept() as port:
        for name in ("fcgi-app", "procd"):
            server.back(name, server.kill_daemon(name))
        client.write(b"on")
        assert port.recv(2) == b"on"
        old = server.kill_daemon("terminal")
        assert client.read() is None and client.closed is None and port.recv(1) == b""
    with WebSocket(server, listener.path, timeout=BIG_TIMEOUT), listener.accept():
        server.back("terminal", old)


def test_a_stopped_daemon(server, listener):
    with WebSocket(server, listener.path) as client, listener.accept():
        old = server.kill_daemon("terminal", signal.SIGTERM)
        assert client.read() is None and client.closed == (1001, "The server is stopping")
        server.back("terminal", old)


def test_a_reload(server, listener):
    with WebSocket(server, listener.path) as client, listener.accept() as port:
        server.reload_nginx()
        client.write(b"still")
        assert port.recv(5) == b"still"


def test_pings():
    with Listener() as listener, Server({"SANDBOX_STREAM_KEEPALIVE": "1s"}) as server, WebSocket(server, listener.path) as client, listener.accept() as port:
        threading.Timer(2.5, port.sendall, [b"."]).start()
        assert client.read() == (BINARY, b".") and client.pings >= 1


def test_many(server, listener):
    """Each has bytes of its own, and the daemon needs little memory for them."""
    count = 200
    before = memory(server)
    clients = [WebSocket(server, listener.path, timeout=BIG_TIMEOUT) for _ in range(50)]
    ports = [listener.accept() for _ in clients]
    for _ in range(count // 50 - 1):
        clients += [WebSocket(server, listener.path, timeout=BIG_TIMEOUT) for _ in range(50)]
        ports += [listener.accept() for _ in range(50)]
    for number, port in enumerate(ports):
        port.sendall(b"%d" % number)
    said = sorted(int(client.read()[1]) for client in clients)
    assert said == list(range(count))
    assert memory(server) - before < count * 8192
    for one in [*clients, *ports]:
        (one.socket if isinstance(one, WebSocket) else one).close()


def test_the_first_token_of_a_pool():
    """A WebSocket may claim the sandbox, and goes on."""
    settings = {"SANDBOX_AUTH_MODE": "pool", "SANDBOX_SECRET": "", "SANDBOX_CORS_ORIGINS": "https://console.example"}
    with tempfile.TemporaryDirectory(prefix="nxs-claim-") as place, Listener() as listener, Server({**settings, "SANDBOX_SECRET_PATH": f"{place}/claim"}) as server:
        assert server.get("/tcp/1", token=False).status_code == 401
        with WebSocket(server, listener.path) as client, listener.accept() as port:
            client.write(b"mine")
            assert port.recv(4) == b"mine"
        assert refusal(server, listener.path, headers={"Origin": "https://other.example"})[0] == 403
        assert refusal(server, listener.path, headers={"Authorization": "Bearer other"})[0] == 401
