"""Requests to a port on which nobody listens yet: they wait, are passed on whole, or end with a 504 that says what listens."""

import contextlib
import json
import select
import socket
import threading
import time

import pytest

from sandbox import BIG_TIMEOUT, Port, has_ipv6, http_request, in_threads, wait_until
from test_port_http import Application, ask, ours, seen
from test_ports import Target


@pytest.fixture(scope="module")
def server():
    from sandbox import Server
    with Server({"SANDBOX_METRICS_LISTEN": f"127.0.0.1:{METRICS.number}"}) as server:
        yield server


METRICS = Port()


@pytest.fixture
def port():
    port = Port()
    yield port.number
    port.free()


def figure(name):
    import urllib.request
    text = urllib.request.urlopen(f"http://127.0.0.1:{METRICS.number}/metrics", timeout=BIG_TIMEOUT).read().decode()
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"nginx_sandbox_{name} ")))


def later(port, requests, host="127.0.0.1", **options):
    """The answers of requests that begin before an application listens."""
    with_it = {}

    def listen():
        wait_until(lambda: figure("held_requests") >= len(requests), "all requests wait")
        with_it["application"] = Application(host, port, **options)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        return in_threads(len(requests), lambda number: requests[number]())
    finally:
        thread.join(BIG_TIMEOUT)
        with_it["application"].__exit__()


def test_a_request_waits_until_somebody_listens(server, port):
    answers = later(port, [lambda: ask(server, "GET", f"/port/{port}/a%2Fb?c"), lambda: ask(server, "GET", "/x", host=f"{port}.localhost")])
    assert seen(answers[0])["line"] == "GET /a%2Fb?c HTTP/1.1" and seen(answers[1])["line"] == "GET /x HTTP/1.1"


BODY = bytes(range(256)) * 4096 * 20


def pieces():
    for start in range(0, len(BODY), 1 << 20):
        yield BODY[start:start + (1 << 20)]


@pytest.mark.parametrize("body", [b"x", BODY, None], ids=["one byte", "20 MB", "20 MB in chunks"])
def test_a_body_waits_whole(server, port, body):
    answer, = later(port, [lambda: server.call("PUT", f"/port/{port}/", body or pieces(), timeout=BIG_TIMEOUT)])
    assert answer.status_code == 200 and answer.json()["length"] == len(body or BODY)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6")
def test_what_listens_on_ipv6_alone(server, port):
    with Application("::1", port):
        assert seen(ask(server, "GET", f"/port/{port}/"))["headers"]["host"] == f"localhost:{port}"
        assert seen(ask(server, "POST", f"/port/{port}/", [("Content-Length", "2")], b"hi"))["body"] == "hi"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_wait_ends(server, port, method):
    with Application() as application:
        answer = ask(server, method, f"/port/{port}/", [("X-Sandbox-Wait-Ms", "50"), ("Content-Length", "0")])
        text = ours(answer, 504, "not_listening")
    body = json.loads(answer[2])
    assert str(port) in text and body["port"] == port and (application.port in body["listening"] or len(body["listening"]) == 64) and server.port not in body["listening"]


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_no_wait_at_all(server, port, method):
    before = figure("port_waits_total")
    ours(ask(server, method, f"/port/{port}/", [("X-Sandbox-Wait-Ms", "0"), ("Content-Length", "1")], b"x"), 504, "not_listening")
    assert figure("port_waits_total") == before


def test_settings(make_server, port):
    server = make_server({"SANDBOX_PORT_WAIT": "30ms"})
    ours(ask(server, "GET", f"/port/{port}/", [("X-Sandbox-Wait-Ms", "99999")]), 504, "not_listening")
    server = make_server({"SANDBOX_MAX_HELD": "0"})
    assert "SANDBOX_MAX_HELD" in ours(ask(server, "GET", f"/port/{port}/"), 503, "unavailable")


def test_requests_that_wait_leave_half_of_the_places(make_server, port):
    server = make_server({"SANDBOX_MAX_CONNECTIONS": "16", "SANDBOX_PORT_WAIT": "1h"})
    request = http_request("GET", f"/port/{port}/", [("Host", "x"), server.bearer()])
    connections = [server.raw(BIG_TIMEOUT) for _ in range(20)]
    try:
        for connection in connections:
            connection.send(request)
        refused = []
        while len(refused) < 12:
            ready, _, _ = select.select([connection.socket for connection in connections if connection.socket not in refused], [], [], BIG_TIMEOUT)
            assert ready
            refused += ready
        assert all(connection.response()[0] == 503 for connection in connections if connection.socket in refused)
        assert server.run("echo hi")["stdout"] == "hi\n"
    finally:
        for connection in connections:
            connection.socket.close()


def test_many_wait_and_the_api_answers(server, port):
    connections = [server.raw(BIG_TIMEOUT) for _ in range(300)]
    for connection in connections:
        connection.send(b"GET /port/%d/ HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n" % (port, server.authorization))
    wait_until(lambda: figure("held_requests") == len(connections), "all wait")
    assert server.shell("echo hello") == "hello\n"
    with Application("127.0.0.1", port):
        for connection in connections:
            assert connection.response()[0] == 200
            connection.socket.close()
    assert figure("held_requests") == 0


def test_a_client_that_leaves_waits_no_longer(server, port):
    for head in (b"GET /port/%d/ HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", b"POST /port/%d/ HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: 0\r\n\r\n"):
        with server.raw() as connection:
            connection.send(head % (port, server.authorization))
            wait_until(lambda: figure("held_requests") == 1, "it waits")
        wait_until(lambda: figure("held_requests") == 0, "it has left")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_server_that_restarts_is_waited_for(server, port, method):
    """It closes its first connection without a byte, and is gone for a while."""
    listener = socket.create_server(("127.0.0.1", port))
    started = threading.Event()

    def restart():
        connection, _ = listener.accept()
        connection.recv(65536)
        listener.close()
        connection.close()
        wait_until(lambda: figure("held_requests") == 1, "the request waits")
        with Application("127.0.0.1", port):
            started.wait(BIG_TIMEOUT)

    thread = threading.Thread(target=restart, daemon=True)
    thread.start()
    try:
        assert ask(server, method, f"/port/{port}/")[0] == 200
    finally:
        started.set()
        thread.join(BIG_TIMEOUT)


def test_a_server_that_closes_each_connection_is_given_up(server):
    with Target(lambda connection: connection.recv(65536)) as target:
        ours(ask(server, "GET", f"/port/{target.port}/"), 502, "bad_answer")
        tries = target.accepted
        assert tries > 1
        ours(ask(server, "POST", f"/port/{target.port}/", [("Content-Length", "1")], b"x"), 502, "bad_answer")
        assert target.accepted == tries + 1  # it may have been done


def test_how_soon_after_listen(server, port):
    """The median is for the benchmarks; here only that it is no poll of seconds."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    with server.raw() as connection:
        connection.send(b"GET /port/%d/ HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n" % (port, server.authorization))
        wait_until(lambda: figure("held_requests") == 1, "it waits")
        listener.listen()
        began = time.monotonic()
        listener.accept()[0].close()
        assert time.monotonic() - began < 5
    listener.close()


def test_fcgi_app_is_killed_while_a_request_waits(server, port):
    """nginx asks the next fcgi-app where its connection was a kept one; else it says that nothing was done."""
    applications = []

    def kill():
        wait_until(lambda: figure("held_requests") == 1, "it waits")
        server.kill_daemon("fcgi-app")
        applications.append(Application("127.0.0.1", port))

    thread = threading.Thread(target=kill)
    thread.start()
    answer = ask(server, "GET", f"/port/{port}/")
    thread.join()
    applications[0].__exit__()
    if answer[0] == 200:
        assert seen(answer)["line"] == "GET / HTTP/1.1"
    else:
        ours(answer, 503, "unavailable")
    server.healthy()


def test_another_program_is_refused_at_once(make_server, port):
    """With SANDBOX_PORTS=own."""
    server = make_server({"SANDBOX_PORTS": "own", "SANDBOX_PORT_WAIT": "1h"})
    with Application() as application:
        for method, body in (("GET", b""), ("POST", b"x")):
            assert f"Port {application.port} " in ours(ask(server, method, f"/port/{application.port}/", body=body), 403, "forbidden")
    ours(ask(server, "GET", f"/port/{port}/", [("X-Sandbox-Wait-Ms", "50")]), 504, "not_listening")
    with Application("127.0.0.1", port):
        ours(ask(server, "GET", f"/port/{port}/", [("X-Sandbox-Wait-Ms", "50")]), 403, "forbidden")


def test_visitors_wait_in_half_of_the_places(make_server, port):
    server = make_server({"SANDBOX_MAX_HELD": "4", "SANDBOX_PUBLIC_PORTS": "on", "SANDBOX_PORT_WAIT": "1h"})
    answer = server.post("/share_port", port=port, public=True)
    assert answer.status_code == 200, answer.text
    visit = http_request("GET", "/", [("Host", f"{port}.localhost")])
    with contextlib.ExitStack() as stack:
        visitors = [stack.enter_context(server.raw(BIG_TIMEOUT)) for _ in range(6)]
        for visitor in visitors:
            visitor.send(visit)
        refused = []
        while len(refused) < 4:
            ready, _, _ = select.select([visitor.socket for visitor in visitors if visitor.socket not in refused], [], [], BIG_TIMEOUT)
            assert ready
            refused += ready
        assert all(visitor.response()[0] == 503 for visitor in visitors if visitor.socket in refused)
        ours(ask(server, "GET", f"/port/{port}/", [("X-Sandbox-Wait-Ms", "50")]), 504, "not_listening")  # there is room for it
