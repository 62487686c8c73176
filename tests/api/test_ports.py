"""bind_port, unbind_port, port_status, and the TCP proxy on PROXY_PORT."""

import hashlib
import socket
import threading

import pytest

from sandbox import BIG_TIMEOUT, DEADLINE, TIMEOUT, has_ipv6, in_threads, wait_until

UNBOUND = {"success": True, "message": "Port binding removed"}


def proxy_port(sandbox):
    return sandbox.proxy_port if sandbox.local else 3031  # a container may publish another one


def bound(sandbox, port):
    return {"success": True, "message": "Port binding configured", "port": str(port), "proxy_port": str(proxy_port(sandbox))}


class Target:
    """A TCP server on a port of its own; `serve(connection)` handles each connection in a thread."""

    def __init__(self, serve, host="127.0.0.1"):
        self.listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128)
        self.port = self.listener.getsockname()[1]
        self.serve, self.accepted = serve, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self.handle, args=(connection,), daemon=True).start()

    def handle(self, connection):
        connection.settimeout(BIG_TIMEOUT)
        with connection:
            try:
                self.serve(connection)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def named(name):
    """Says its name, then echoes."""
    def serve(connection):
        connection.sendall(name.encode() + b"\n")
        while data := connection.recv(65536):
            connection.sendall(data)

    return serve


def connect(proxy):
    return socket.create_connection(proxy, timeout=TIMEOUT)


def first_line(proxy):
    with connect(proxy) as connection:
        return connection.makefile("rb").readline().decode().strip()


def closed_at_once(proxy):
    """The connection is accepted, and then ends without a byte."""
    with connect(proxy) as connection:
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True


def read_all(connection):
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


# ---- the API, on any server ----


def test_the_answers_of_the_document(sandbox, proxy):
    answer = sandbox.post("/bind_port", port="8080")
    assert (answer.status_code, answer.json()) == (200, bound(sandbox, 8080))
    for port in ("9090", "8080", 9090):
        answer = sandbox.post("/bind_port", port=port)
        assert (answer.status_code, answer.json()) == (409, {"success": False, "error": "Port already bound", "error_code": "in_use", "current_port": "8080"})
    for _ in range(2):  # with nothing bound too
        answer = sandbox.call("POST", "/unbind_port")
        assert (answer.status_code, answer.json()) == (200, UNBOUND)
    assert sandbox.post("/bind_port", port="9090").json() == bound(sandbox, 9090)


@pytest.mark.parametrize("port", [8080, "8080", "1", "65535", 65535])
def test_strings_and_numbers(sandbox, proxy, port):
    answer = sandbox.post("/bind_port", port=port)
    assert (answer.status_code, answer.json()) == (200, bound(sandbox, port))


BAD = ["0", "65536", "99999", "-1", "+80", " 80", "80 ", "80\n", "8e1", "0x50", "80.0", "80.5", "http", "8080x", "x8080", "８０", "8 0", "1,2",
       "99999999999999999999", "4294967376", "18446744073709551696", ":80", "localhost:80", "127.0.0.1", "80\0", "-0", "٨٠",
       0, -1, 65536, 80.5, 1e10, 4294967376, 18446744073709551696, True, [], ["8080"], {}, {"port": "8080"}]


@pytest.mark.parametrize("port", BAD, ids=repr)
def test_what_is_no_port(sandbox, proxy, port):
    answer = sandbox.post("/bind_port", port=port)
    assert answer.status_code == 400 and answer.json()["error"]
    assert sandbox.post("/bind_port", port="8080").json() == bound(sandbox, 8080)


@pytest.mark.parametrize("number", [b"8.08e3", b"8080.0", b"8080.5", b"0x1f90", b"08080", b"-8080", b"8080e0", b"+8080"])
def test_numbers_that_are_no_plain_digits(sandbox, proxy, number):
    assert sandbox.call("POST", "/bind_port", b'{"port":%s}' % number).status_code == 400
    assert sandbox.post("/bind_port", port="8080").json() == bound(sandbox, 8080)


def test_the_proxy_port_itself(sandbox, proxy):
    port = proxy_port(sandbox)
    for value in (port, str(port)):
        answer = sandbox.post("/bind_port", port=value)
        assert answer.status_code == 400 and answer.json()["error"]
    assert sandbox.post("/bind_port", port="8080").json() == bound(sandbox, 8080)


def test_of_many_binds_one_wins(sandbox, proxy):
    for turn in range(5):
        answers = in_threads(20, lambda number, turn=turn: (number, sandbox.post("/bind_port", port=str(10000 + 100 * turn + number))))
        winners = [number for number, answer in answers if answer.status_code == 200]
        assert len(winners) == 1
        port = str(10000 + 100 * turn + winners[0])
        for number, answer in answers:
            if number != winners[0]:
                assert (answer.status_code, answer.json()["current_port"]) == (409, port)
        assert sandbox.post("/unbind_port").json() == UNBOUND


def test_forwarding_to_a_command(sandbox, proxy, workdir):
    """The target runs in the sandbox, as a client's would."""
    script = ("import socket\nlistener = socket.create_server(('127.0.0.1', 0))\nprint(listener.getsockname()[1], flush=True)\n"
              "while True:\n    with listener.accept()[0] as connection:\n        connection.sendall(b'from inside\\n')\n")
    identifier = sandbox.start("exec python3 -u -c \"$SCRIPT\"", env={"SCRIPT": script})["id"]
    with sandbox.logs(identifier) as stream:
        port = stream.next().data["data"]
    assert sandbox.post("/bind_port", port=port).json() == bound(sandbox, port)
    assert first_line(proxy) == "from inside"
    sandbox.post("/unbind_port")
    assert closed_at_once(proxy)


# ---- forwarding to targets of the test ----


@pytest.mark.host
def test_forwarding_works_before_the_answer(sandbox, proxy):
    """20 times the next connection after the answer reaches the target that was just bound."""
    with Target(named("one")) as one, Target(named("two")) as two:
        for turn in range(20):
            name, target = (("one", one), ("two", two))[turn % 2]
            assert sandbox.post("/bind_port", port=str(target.port)).json() == bound(sandbox, target.port)
            assert first_line(proxy) == name
            assert in_threads(4, lambda _: first_line(proxy)) == [name] * 4
            assert sandbox.post("/unbind_port").json() == UNBOUND
            accepted = one.accepted, two.accepted
            assert closed_at_once(proxy)
            assert (one.accepted, two.accepted) == accepted


@pytest.mark.host
def test_nothing_bound(sandbox, proxy):
    for _ in range(20):
        assert closed_at_once(proxy)


@pytest.mark.host
def test_a_port_file_that_is_none_of_ours(server):
    """With SANDBOX_USER a client may write to it (docs/security.md)."""
    with Target(named("one")) as target:
        file = server.run_dir / "port/target"
        proxy = server.proxy_host, server.proxy_port
        for content in ("", "no port\n", f"{target.port}", f" {target.port}\n", f"0{target.port}\n", f"{target.port}x\n", "65536\n", "99999\n",
                        f"{target.port}\n\n", f"{target.port}" + " " * 30_000_000, f"{proxy[1]}\n"):
            file.write_text(content)
            assert closed_at_once(proxy), content[:20]
        file.write_text(f"{target.port}\n")
        assert first_line(proxy) == "one"


@pytest.mark.host
def test_a_target_that_is_down(sandbox, proxy):
    with Target(named("x")) as target:
        port = target.port
    assert sandbox.post("/bind_port", port=str(port)).json() == bound(sandbox, port)
    for _ in range(10):
        assert closed_at_once(proxy)
    assert sandbox.get("/health").status_code == 200 and sandbox.shell("echo fine") == "fine\n"
    with socket.create_server(("127.0.0.1", port)) as listener:
        with connect(proxy) as connection:
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"up again\n")
                assert connection.makefile("rb").readline() == b"up again\n"


@pytest.mark.host
@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_target_on_ipv6_only(sandbox, proxy):
    with Target(named("six"), "::1") as target:
        assert sandbox.post("/bind_port", port=str(target.port)).json() == bound(sandbox, target.port)
        assert in_threads(10, lambda _: first_line(proxy)) == ["six"] * 10
        assert [first_line(proxy) for _ in range(10)] == ["six"] * 10
        sandbox.post("/unbind_port")
    with Target(named("four")) as target:
        sandbox.post("/bind_port", port=str(target.port))
        assert [first_line(proxy) for _ in range(10)] == ["four"] * 10


@pytest.mark.host
def test_a_client_that_half_closes_gets_the_answer(sandbox, proxy):
    def serve(connection):
        question = read_all(connection)
        connection.sendall(b"you said " + question)

    with Target(serve) as target:
        sandbox.post("/bind_port", port=str(target.port))
        with connect(proxy) as connection:
            connection.sendall(b"hello")
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == b"you said hello"


@pytest.mark.host
def test_a_target_that_half_closes_gets_the_rest(sandbox, proxy):
    got, done = [], threading.Event()

    def serve(connection):
        connection.sendall(b"first")
        connection.shutdown(socket.SHUT_WR)
        got.append(read_all(connection))
        done.set()

    with Target(serve) as target:
        sandbox.post("/bind_port", port=str(target.port))
        with connect(proxy) as connection:
            assert read_all(connection) == b"first"
            connection.sendall(b"x" * 300_000 + b"end")
            connection.shutdown(socket.SHUT_WR)
            assert done.wait(DEADLINE)
    assert got == [b"x" * 300_000 + b"end"]


@pytest.mark.host
def test_much_data_both_ways(sandbox, proxy):
    with Target(named("echo")) as target:
        sandbox.post("/bind_port", port=str(target.port))

        def one(number):
            sent, got = hashlib.sha256(), hashlib.sha256()
            with connect(proxy) as connection:
                reader = connection.makefile("rb")
                assert reader.readline() == b"echo\n"

                def send():
                    for turn in range(100):
                        piece = hashlib.sha256(f"{number} {turn}".encode()).digest() * 2048
                        sent.update(piece)
                        connection.sendall(piece)
                    connection.shutdown(socket.SHUT_WR)

                sender = threading.Thread(target=send)
                sender.start()
                while data := reader.read1(65536):
                    got.update(data)
                sender.join()
            return sent.digest() == got.digest()

        assert in_threads(8, one) == [True] * 8


@pytest.mark.host
def test_unbinding_stops_new_connections_at_once(sandbox, proxy):
    with Target(named("x")) as target:
        sandbox.post("/bind_port", port=str(target.port))
        with connect(proxy) as connection:
            reader = connection.makefile("rb")
            assert reader.readline() == b"x\n"
            sandbox.post("/unbind_port")
            accepted = target.accepted
            for _ in range(20):
                assert closed_at_once(proxy)
            assert target.accepted == accepted
            connection.sendall(b"still open\n")
            assert reader.readline() == b"still open\n"


@pytest.mark.host
def test_a_closed_client_closes_the_target(sandbox, proxy):
    ended = threading.Event()

    def serve(connection):
        connection.sendall(b"x\n")
        read_all(connection)
        ended.set()

    with Target(serve) as target:
        sandbox.post("/bind_port", port=str(target.port))
        assert first_line(proxy) == "x"
        assert ended.wait(DEADLINE)


@pytest.mark.host
def test_200_connections(sandbox, proxy):
    with Target(named("many")) as target:
        sandbox.post("/bind_port", port=str(target.port))
        connections = [connect(proxy) for _ in range(200)]
        try:
            for number, connection in enumerate(connections):
                connection.sendall(b"%d\n" % number)
            for number, connection in enumerate(connections):
                reader = connection.makefile("rb")
                assert (reader.readline(), reader.readline()) == (b"many\n", b"%d\n" % number)
            assert sandbox.get("/health").status_code == 200
        finally:
            for connection in connections:
                connection.close()


@pytest.mark.host
def test_binding_the_api_itself(sandbox, proxy):
    """PROXY_PORT then speaks HTTP with the same token."""
    sandbox.post("/bind_port", port=str(sandbox.port))
    with connect(proxy) as connection:
        connection.sendall(b"GET /list_processes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 401 ")
    wait_until(lambda: sandbox.get("/health").status_code == 200, "health")


def test_the_status(sandbox, proxy):
    """The shape that a published client decodes: both ports are strings."""
    def status():
        answer = sandbox.get("/port_status")
        assert answer.status_code == 200
        return answer.json()

    assert status() == {"success": True, "proxy_port": str(proxy_port(sandbox))}
    assert sandbox.post("/bind_port", port=8080).json() == bound(sandbox, 8080)
    assert status() == {"success": True, "port": "8080", "proxy_port": str(proxy_port(sandbox))}
    assert sandbox.call("HEAD", "/port_status").status_code == 200 and sandbox.post("/port_status").status_code == 405
    assert sandbox.post("/unbind_port").json() == UNBOUND
    assert "port" not in status()
