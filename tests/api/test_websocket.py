"""RFC 6455 as a client sees it, at /tcp/N, which echoes here; with npm's ws as the peer, too. (The frames themselves: tests/unit/test_web_socket.c.)"""

import json
import random
import socket
import threading

import pytest

from node_programs import NodeProgram, npm_packages
from sandbox import TIMEOUT, Port
from web_socket import BINARY, CLOSE, PING, PONG, TEXT, Refused, WebSocket, frame

pytestmark = pytest.mark.host


class Echo:
    """A server that sends back what it gets, to the end of it."""

    def __init__(self):
        port = Port()
        port.free()
        self.listener = socket.create_server(("127.0.0.1", port.number), backlog=50)
        self.path = f"/tcp/{port.number}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    @staticmethod
    def serve(connection):
        with connection:
            try:
                while (data := connection.recv(1 << 16)):
                    connection.sendall(data)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture(scope="module")
def echo():
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def client(sandbox, echo):
    with WebSocket(sandbox, echo.path) as client:
        yield client


# ---- the handshake ----


def refusal(sandbox, path, headers, **options):
    with pytest.raises(Refused) as refused:
        WebSocket(sandbox, path, headers, **options)
    return refused.value


@pytest.mark.parametrize("version", ["8", "12", "14", "013", "13, 8", "", None])
def test_other_versions(sandbox, echo, version):
    answer = refusal(sandbox, echo.path, {"Sec-WebSocket-Version": version})
    assert (answer.status, answer.json()["error_code"]) == (426, "invalid_request")
    assert answer.headers["sec-websocket-version"] == "13" and answer.headers["upgrade"] == "websocket"


@pytest.mark.parametrize("key", ["", None, "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==x", "dGhlIHNhbXBsZSBub25jZQAA"])
def test_wrong_keys(sandbox, echo, key):
    answer = refusal(sandbox, echo.path, {"Sec-WebSocket-Key": key})
    assert (answer.status, answer.json()["error_code"]) == (400, "invalid_request")


def test_subprotocols(sandbox, echo):
    """Ours is chosen among others; without an offer there is none."""
    for offered, chosen in (([], None), (["chat"], None), (["chat", "nginx-sandbox.v1"], "nginx-sandbox.v1"), (["nginx-sandbox.v12"], None)):
        with WebSocket(sandbox, echo.path, protocols=offered) as client:
            assert client.protocol == chosen and "sec-websocket-extensions" not in client.headers


def test_the_spelling_of_headers(sandbox, echo):
    with WebSocket(sandbox, echo.path, {"Upgrade": "WebSocket", "Connection": "keep-alive, Upgrade", "Sec-WebSocket-Extensions": "permessage-deflate"}) as client:
        client.write(b"x")
        assert client.read() == (BINARY, b"x")


def test_the_request_id(sandbox, echo):
    with WebSocket(sandbox, echo.path, {"X-Request-ID": "my-id"}) as client:
        assert client.headers["x-request-id"] == "my-id"


# ---- frames ----


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 300_000])
def test_sizes(client, size):
    data = random.Random(size).randbytes(size)
    client.write(data)
    client.write(b"end")
    assert client.read_bytes(size + 3) == data + b"end"


def test_fragments_with_a_ping_between(client):
    client.send(BINARY, b"one ", final=False)
    client.send(PING, b"alive?")
    client.send(0, b"", final=False)
    client.send(0, b"two")
    seen = [client.read(), client.read()]
    data = b"".join(payload for opcode, payload in seen if opcode == BINARY)
    assert (PONG, b"alive?") in seen
    assert data + client.read_bytes(7 - len(data)) == b"one two"


def test_byte_by_byte(client):
    for byte in frame(BINARY, b"slowly"):
        client.socket.sendall(bytes([byte]))
    assert client.read_bytes(6) == b"slowly"


def test_many_frames_at_once(client):
    client.socket.sendall(b"".join(frame(BINARY, b"%04d" % number) for number in range(5000)))
    assert client.read_bytes(20000) == b"".join(b"%04d" % number for number in range(5000))


def test_a_pong_that_nobody_wants(client):
    client.send(PONG, b"unasked")
    client.write(b"on")
    assert client.read_bytes(2) == b"on"


WRONG = {
    "no mask": frame(BINARY, b"x", masked=False),
    "a reserved bit": frame(BINARY, b"x", reserved=4),
    "an unknown opcode": frame(3, b"x"),
    "an unknown control opcode": frame(11, b""),
    "a long ping": frame(PING, b"x" * 126),
    "a ping in fragments": frame(PING, b"x", final=False),
    "a continuation of nothing": frame(0, b"x"),
    "a message within another": frame(BINARY, b"", final=False) + frame(TEXT, b"x"),
    "a length of 64 bits": frame(BINARY, b"", length=1 << 63),
    "a close with half a code": frame(CLOSE, b"\x03"),
    "a close with a code of nobody": frame(CLOSE, b"\x03\xed"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_broken_protocol(client, what):
    client.socket.sendall(WRONG[what])
    assert client.read() is None and client.closed == (1002, "")


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b'{"type":"eof"\xc3'])
def test_text_that_is_no_utf8(client, text):
    client.send(TEXT, text)
    assert client.read() is None and client.closed == (1007, "")


def test_a_text_in_fragments_cut_within_a_character(client):
    client.send(TEXT, '{"type":"eof","why":"gr\u00fc'.encode()[:-1], final=False)
    client.send(0, b"\xbc\xc3\x9f" + b'e"}')
    assert client.event() == {"type": "eof"}  # the echo has come to its end
    assert client.read() is None and client.closed == (1000, "")


def test_a_text_that_is_too_long(client):
    for number in range(5):
        client.send(0 if number else TEXT, b" " * 1000, final=False)
    assert client.read() is None and client.closed[0] == 1009


@pytest.mark.parametrize("code, reason", [(1000, ""), (1001, "bye"), (3000, ""), (4999, "r" * 123), (1011, "gr\u00fc\u00dfe")])
def test_closes(client, code, reason):
    """The server answers with the code, and ends the connection."""
    assert client.close(code, reason) == (code, "")


def test_a_close_without_a_code(client):
    client.send(CLOSE)
    assert client.read() is None and client.closed == (1005, "")


def test_what_comes_before_a_close_is_passed_on(sandbox):
    port = Port()
    port.free()
    with socket.create_server(("127.0.0.1", port.number)) as listener, WebSocket(sandbox, f"/tcp/{port.number}") as client:
        connection = listener.accept()[0]
        connection.settimeout(TIMEOUT)
        client.socket.sendall(frame(BINARY, b"x" * 100_000) + frame(CLOSE, b"\x03\xe8"))
        data = b""
        while (more := connection.recv(1 << 16)):
            data += more
        assert len(data) == 100_000
        assert client.read() is None and client.closed == (1000, "")


def test_garbage(sandbox, echo):
    """Whatever comes, the connection ends by a code, and the daemon goes on."""
    rng = random.Random(6455)
    pid = sandbox.daemon("terminal")
    for _ in range(60):
        with WebSocket(sandbox, echo.path) as client:
            client.socket.sendall(rng.randbytes(rng.randrange(2, 3000)))
            client.socket.shutdown(socket.SHUT_WR)
            for _ in client:
                pass
    assert sandbox.daemon("terminal") == pid


# ---- npm's ws ----


@pytest.fixture(scope="module")
def modules():
    with npm_packages("ws@8.23.0") as directory:
        yield directory


def test_npm_ws(sandbox, modules, echo):
    url = f"ws://{sandbox.host}:{sandbox.port}{echo.path}"
    headers = json.dumps({"Authorization": f"Bearer {sandbox.secret}"})
    with NodeProgram(modules, "web_socket_client.js", url, headers, "nginx-sandbox.v1") as client:
        assert client.hear() == {"open": {"protocol": "nginx-sandbox.v1", "extensions": ""}}
        client.say({"bytes": 1000})
        assert client.hear() == {"bytes": 1000, "whole": True}
        client.say({"ping": "one"})
        assert client.hear() == {"pong": "one"}
        client.say({"bytes": 5 << 20})
        total = 0
        while total < 5 << 20:
            total += client.hear()["bytes"]
        assert total == 5 << 20
        client.say({"close": [4000, "enough"]})
        assert client.hear() == {"close": [4000, ""]}


def test_npm_ws_is_refused(sandbox, modules, echo):
    url = f"ws://{sandbox.host}:{sandbox.port}{echo.path}"
    with NodeProgram(modules, "web_socket_client.js", url, "{}", "nginx-sandbox.v1") as client:
        assert client.hear() == {"status": 401}
