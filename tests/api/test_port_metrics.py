"""The figures of GET /metrics about ports: how often they were used, and their shares."""

import os
import socket

import pytest

from figures import Measured
from sandbox import TIMEOUT, http_request, wait_until
from test_port_http import Application, ask, echo, head_of, upgrade
from test_ports import Target

pytestmark = pytest.mark.host

SPACE_MOST = 64 << 10  # launcher/start/port_counts.c


@pytest.fixture(scope="module", params=[None, "off"], ids=["log", "no log"])
def measured(request):
    with Measured({"SANDBOX_ACCESS_LOG": request.param}) as server:
        yield server


@pytest.fixture(scope="module")
def application():
    with Application() as application:
        yield application


def uses(**counts):
    return {f'nginx_port_uses_total{{class="{kind}"}}': count for kind, count in counts.items()}


def test_requests(measured, application):
    """Errors of the application's count, too; what nginx refuses does not."""
    before = measured.figures()
    for _ in range(3):
        assert ask(measured, "GET", f"/port/{application.port}/")[0] == 200
    assert ask(measured, "POST", "/", host=f"{application.port}.localhost:{measured.port}", body=b"x")[0] == 200
    assert ask(measured, "GET", f"/port/{application.port}/", [("X-Want-Status", "500")])[0] == 500
    assert ask(measured, "GET", f"/port/{application.port}/", token=False)[0] == 401
    assert ask(measured, "GET", f"/port/{measured.port}/")[0] == 400
    assert ask(measured, "GET", "/list_processes")[0] == 200
    measured.moves(before, "nginx_port_uses", uses(http=5))


def test_a_wait_in_vain(measured):
    before = measured.figures()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert ask(measured, "GET", f"/port/{nobody.getsockname()[1]}/", [("X-Sandbox-Wait-Ms", "50")])[0] == 504
    measured.moves(before, "nginx_port_uses", uses(http=1))
    measured.moves(before, "port_waits", {"port_waits_total": 1, "port_waits_timed_out_total": 1})


def test_websockets(measured):
    """At their end."""
    with Target(echo) as target:
        before = measured.figures()
        with upgrade(measured, target.port) as connection:
            assert head_of(connection)[0].startswith(b"HTTP/1.1 101 ")
            assert measured.moved(before, "nginx_port_uses") == {}
        measured.moves(before, "nginx_port_uses", uses(websocket=1))


def test_connections(measured, application):
    """Through PROXY_PORT, where one that finds nothing bound is none."""
    before = measured.figures()

    def connect():
        with socket.create_connection((measured.host, measured.proxy_port), timeout=TIMEOUT) as connection:
            connection.sendall(http_request("GET", "/", [("Host", "x"), ("Connection", "close")]))
            try:
                return connection.recv(100)
            except ConnectionError:
                return b""

    assert connect() == b""
    assert measured.post("/bind_port", port=application.port).status_code == 200
    assert connect().startswith(b"HTTP/1.1 200 ")
    assert measured.post("/unbind_port").status_code == 200
    measured.moves(before, "nginx_port_uses", uses(tcp=1))


def test_shares(measured, application):
    before = measured.figures()
    ids = [measured.post("/share_port", port=application.port).json()["id"] for _ in range(3)]
    measured.moves(before, "shares_made", {"shares_made_total": 3})
    measured.moves(before, "open_shares", {"open_shares": 3})
    assert measured.post("/unshare_port", id=ids[0]).status_code == 200
    measured.moves(before, "open_shares", {"open_shares": 2})
    assert measured.post("/unshare_port", port=application.port).status_code == 200
    measured.moves(before, "open_shares", {})
    measured.moves(before, "shares_made", {"shares_made_total": 3})


def test_the_counts_outlive_nginx(measured, application):
    before = measured.figures()
    assert ask(measured, "GET", f"/port/{application.port}/")[0] == 200
    measured.moves(before, "nginx_port_uses", uses(http=1))
    measured.back("nginx", measured.kill_daemon("nginx"))
    measured.moves(before, "nginx_port_uses", uses(http=1))


def test_many_uses_take_no_space(measured):
    """The size of a file that counts stays, and its blocks go."""
    path = measured.run_dir / "nginx/count-http"
    before = measured.figures()
    with path.open("ab") as file:
        file.write(b"\n" * 4 * SPACE_MOST)
    wait_until(lambda: os.stat(path).st_blocks * 512 < SPACE_MOST, "the space to be given back")
    measured.moves(before, "nginx_port_uses", uses(http=4 * SPACE_MOST))


def test_nothing_is_counted_for_nobody(make_server):
    server = make_server()
    assert not list((server.run_dir / "nginx").glob("count-*"))
