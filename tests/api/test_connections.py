"""Connections of clients without the token, or that do nothing: they end, or are limited, and the API answers beside them."""

import contextlib
import re
import resource
import select
import socket
import subprocess
import threading

import pytest

from sandbox import BIG_TIMEOUT, Port, http_request, wait_until

pytestmark = pytest.mark.host


def need_descriptors(count):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < count:
        pytest.skip(f"needs {count} open files, and {soft} are allowed")


@contextlib.contextmanager
def connections(host, port, count, data=b""):
    """So many, as far as they are taken, each of which has sent `data` and no more."""
    sockets = []
    try:
        for _ in range(count):
            sockets.append(socket.create_connection((host, port), timeout=BIG_TIMEOUT))
            if data:
                with contextlib.suppress(ConnectionError):
                    sockets[-1].send(data)
        yield sockets
    finally:
        for client in sockets:
            client.close()


def still_open(sockets):
    """Those that the server has not closed."""
    poll = select.poll()
    by_fd = {client.fileno(): client for client in sockets}
    for fd in by_fd:
        poll.register(fd, select.POLLIN | select.POLLRDHUP)
    closed = {fd for fd, _ in poll.poll(0)}
    return [client for fd, client in by_fd.items() if fd not in closed]


def answers(server):
    """By new connections, each asked once: none may be refused."""
    for number in range(20):
        with server.raw() as raw:
            status, _, body = raw.exchange(b"GET /list_processes HTTP/1.1\r\nHost: x\r\nAuthorization: " + server.authorization + b"\r\n\r\n")
        assert (status, body) == (200, b'{"processes":[]}')
    assert server.shell("echo fine") == "fine\n"


@pytest.mark.parametrize("data", [b"", b"POST /run HTTP/1.1\r\nHost: x\r\n"], ids=["idle", "half a head"])
def test_5000_connections_that_ask_for_nothing(server, data):
    need_descriptors(6000)
    with connections(server.host, server.port, 5000, data) as sockets:
        answers(server)
        assert len(still_open(sockets)) > 4000


def test_idle_connections_beyond_what_there_is_room_for(make_server):
    """Fewer places than connections: nginx closes idle ones for new clients."""
    need_descriptors(11000)
    server = make_server({"SANDBOX_MAX_CONNECTIONS": "16"})  # 2 * 16 + 4096 places in a worker
    with connections(server.host, server.port, 10000):
        answers(server)


class Target(threading.Thread):
    """A program of the sandbox that accepts connections and keeps them."""

    def __init__(self):
        super().__init__(daemon=True)
        self.port = Port()
        self.listener = socket.create_server(("127.0.0.1", self.port.number), backlog=4096)
        self.accepted = []
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                self.accepted.append(self.listener.accept()[0])

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.join(BIG_TIMEOUT)
        for client in (self.listener, *self.accepted):
            client.close()
        self.port.free()


@pytest.mark.slow
def test_proxied_connections_leave_the_api_its_half(make_server):
    """They need no token: more than there is room for do not lock the API out, and are accepted again later."""
    need_descriptors(8000)
    server = make_server({"SANDBOX_MAX_CONNECTIONS": "16"})
    limit = (2 * 16 + 4096) // 4
    target = Target()
    try:
        assert server.post("/bind_port", port=target.port.number).status_code == 200
        with connections(server.proxy_host, server.proxy_port, 5000) as sockets:
            wait_until(lambda: len(still_open(sockets)) == limit, "the rest to be closed")
            wait_until(lambda: len(target.accepted) == limit, "the target to have them")
            answers(server)
            answers(server)
        for client in target.accepted:
            client.close()  # as programs do when their client has gone
        wait_until(lambda: proxied(server, target), "room again")
        assert "limiting connections" not in server.launch.stderr.text  # a line for each that was refused
    finally:
        target.close()


def proxied(server, target):
    """Whether a new connection gets through."""
    before = len(target.accepted)
    with socket.create_connection((server.proxy_host, server.proxy_port), timeout=BIG_TIMEOUT) as client:
        client.settimeout(0.2)
        with contextlib.suppress(OSError):
            return client.recv(1) != b""
        return len(target.accepted) > before


def hasten(server, *directives):
    """Has nginx reload its configuration with 1 s in these times; fails where there is none of them."""
    files = [server.run_dir / "nginx/nginx.conf", *(server.run_dir / "nginx/snippets").glob("*.conf")]
    for directive in directives:
        done = subprocess.run(["sed", "-i", "-E", f"s/^( *{directive}) [0-9]+s;/\\1 1s;/w /dev/stdout", *files],
                              check=True, capture_output=True, text=True)
        assert done.stdout, directive
    old = server.reload_nginx()
    wait_until(lambda: not old & set(server.nginx_pids()), "the old workers to go")


def ends(raw):
    """What the server says before it closes, by itself."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := raw.socket.recv(65536):
            data += piece
    return data


@pytest.mark.parametrize("value, said, closes", [(None, "75000ms", False), ("620s", "620000ms", False), ("300ms", "300ms", True), ("0", "0ms", True)])
def test_how_long_an_idle_connection_is_kept_is_a_setting(make_server, value, said, closes):
    """SANDBOX_HTTP_KEEPALIVE, also after answers that are nginx's own. Balancers want their servers to keep theirs for longer than they do."""
    server = make_server({"SANDBOX_HTTP_KEEPALIVE": value})
    texts = [path.read_text() for path in (server.run_dir / "nginx").rglob("*.conf")]
    assert {time for text in texts for time in re.findall(r"^ *keepalive_timeout (\w+);", text, re.M) if time != "0"} == {said}
    for method, path, token in (("GET", "/list_processes", True), ("GET", "/run", False), ("GET", "/none", True), ("GET", "/health", False)):
        with server.raw() as raw:
            headers = [("Host", "x")] + ([server.bearer()] if token else [])
            status, answered, _ = raw.exchange(http_request(method, path, headers))
            assert status < 500 and (answered["Connection"] == "close") == (value == "0"), path
            if closes:
                assert ends(raw) == b"", path
            else:
                assert raw.exchange(http_request(method, path, headers))[0] == status


@pytest.mark.slow
def test_slow_heads_and_bodies_time_out(make_server):
    server = make_server({"SANDBOX_MAX_RUNS": "1", "SANDBOX_HTTP_KEEPALIVE": "1s"})
    hasten(server, "client_header_timeout", "client_body_timeout")
    head = b"POST /run HTTP/1.1\r\nHost: x\r\nAuthorization: " + server.authorization + b"\r\nContent-Length: 14\r\n"
    for data in (b"", b"POST", head, head + b"\r\n", head + b'\r\n{"cmd": "'):
        with server.raw(BIG_TIMEOUT) as raw:
            raw.send(data)
            assert not ends(raw).startswith(b"HTTP/1.1 2"), data
    with server.raw(BIG_TIMEOUT) as raw:
        assert raw.exchange(head + b'\r\n{"cmd":"true"}')[0] == 200
        assert ends(raw) == b""  # kept, idle, closed
    answers(server)
