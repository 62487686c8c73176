"""POST /create_ticket: WebSockets for clients that cannot send the token with them, as browsers cannot."""

import contextlib
import select
import time

import pytest

from sandbox import BIG_TIMEOUT, Port, Server, wait_until
from terminals import Terminal
from test_attach import Attached
from test_tcp_ws import Listener
from web_socket import PROTOCOL, Refused, WebSocket

pytestmark = pytest.mark.host


def ticket(sandbox, path, **fields):
    answer = sandbox.post("/create_ticket", path=path, **fields)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found.keys() == {"ticket", "protocol", "expires_at"} and found["protocol"] == f"nginx-sandbox.ticket.{found['ticket']}"
    return found["protocol"]


def connect(sandbox, path, *protocols, **options):
    return WebSocket(sandbox, path, protocols=(PROTOCOL, *protocols), token=False, **options)


def refusal(sandbox, path, *protocols, **options):
    with pytest.raises(Refused) as refused:
        connect(sandbox, path, *protocols, **options)
    assert ("ticket" in refused.value.json()["error"]) == (refused.value.status == 401)
    return refused.value.status, refused.value.json()["error_code"]


@pytest.fixture
def listener():
    with Listener() as listener:
        yield listener


def test_to_a_port(sandbox, listener):
    found = ticket(sandbox, listener.path)
    for protocols in ((found,), ("other", found), (found, "other")):
        with connect(sandbox, listener.path, *protocols) as client, listener.accept() as port:
            assert client.protocol == PROTOCOL
            client.write(b"in")
            assert port.recv(2) == b"in"


def test_to_a_terminal(sandbox):
    terminal = Terminal(sandbox, "echo hello; sleep 60")
    path = f"/attach?id={terminal.id}&offset=0"
    with connect(sandbox, path, ticket(sandbox, path)) as client:
        assert client.event()["type"] == "ready"


def test_it_is_for_one_path_and_its_whole_query(sandbox, listener):
    terminal = Terminal(sandbox, "sleep 60")
    path = f"/attach?id={terminal.id}&mode=view"
    found = ticket(sandbox, path)
    for other in (f"/attach?id={terminal.id}", f"/attach?mode=view&id={terminal.id}", path + "&mode=", f"{path}&", f"/attach?id={terminal.id}&mode=%76iew", "/attach", listener.path):
        assert refusal(sandbox, other, found) == (401, "unauthorized"), other
    with connect(sandbox, path, found) as client:
        client.event()


def test_what_is_no_ticket(sandbox, listener):
    found = ticket(sandbox, listener.path)
    head, _, signature = found.rpartition(".")
    wrong = ["", "nginx-sandbox.ticket.", "nginx-sandbox.ticket.x", head, f"{head}.{signature[:-1]}", f"{head}.{signature[:-1]}{'A' if signature[-1] != 'A' else 'B'}", f"{head}1.{signature}", found.upper()]
    for one in wrong:
        assert refusal(sandbox, listener.path, *([one] if one else [])) == (401, "unauthorized"), one
    answer = sandbox.call("GET", f"{listener.path}", token=False, headers={"Sec-WebSocket-Protocol": found})
    assert answer.status_code == 401  # no WebSocket
    assert sandbox.call("GET", f"{listener.path}?{found}", token=False).status_code == 401
    assert sandbox.call("GET", "/list_processes", token=False, headers={"Sec-WebSocket-Protocol": found}).status_code == 401


def test_it_expires(sandbox, listener):
    found = ticket(sandbox, listener.path, expires_in_ms=1)
    wait_until(lambda: time.time_ns() // 1_000_000 > int(found.split(".")[2]), "the end of the ticket")
    assert refusal(sandbox, listener.path, found) == (401, "expired")


def test_by_default_it_lives_for_a_minute(sandbox, listener):
    before = time.time() * 1000
    expires = int(ticket(sandbox, listener.path).split(".")[2])
    assert before + 59_000 <= expires <= time.time() * 1000 + 61_000


@pytest.mark.parametrize("path", ["", None, "/run", "/files/x", "/attached", "/attach/x", "/tcp", "/tcp/", "/tcp/x", "/tcp/1/2", "attach?id=x", "/attach?id=\"", "/attach?id=x y", "/attach?a#b",
                                  "/attach?\u00e4", "/attach?" + "x" * 8000, "//attach"])
def test_paths_that_get_none(sandbox, path):
    answer = sandbox.post("/create_ticket", path=path)
    assert answer.status_code == 400 and answer.json()["error_code"] == "invalid_request"


@pytest.mark.parametrize("expires", [0, -1, 1 << 60, "60"])
def test_lifetimes_that_are_refused(sandbox, expires):
    assert sandbox.post("/create_ticket", path="/tcp/1", expires_in_ms=expires).status_code == 400


def test_only_with_the_token(sandbox):
    assert sandbox.call("POST", "/create_ticket", {"path": "/tcp/1"}, token=False).status_code == 401


def test_none_are_made(listener):
    with Server({"SANDBOX_MAX_LINK_LIFETIME": "0"}) as server:
        answer = server.post("/create_ticket", path=listener.path)
        assert (answer.status_code, answer.json()["error_code"]) == (403, "unsupported")
        assert refusal(server, listener.path, "nginx-sandbox.ticket.1." + "A" * 43) == (401, "unauthorized")
        with WebSocket(server, listener.path), listener.accept():
            pass


def test_web_pages(listener):
    """One of an origin in the list opens a WebSocket with a ticket; one of another does not, with the same ticket."""
    with Server({"SANDBOX_CORS_ORIGINS": "https://console.example"}) as server:
        found = ticket(server, listener.path)
        with connect(server, listener.path, found, headers={"Origin": "https://console.example"}), listener.accept():
            pass
        assert refusal(server, listener.path, found, headers={"Origin": "https://other.example"}) == (403, "forbidden")
        assert refusal(server, listener.path, headers={"Origin": "https://console.example"}) == (401, "unauthorized")


def test_failures_are_counted(listener):
    with Server({"SANDBOX_MAX_FAILED_AUTH": "3"}) as server:
        statuses = [refusal(server, listener.path, "nginx-sandbox.ticket.1." + "A" * 43)[0] for _ in range(8)]
        assert statuses[0] == 401 and statuses[-1] == 429
        found = ticket(server, listener.path)
        with connect(server, listener.path, found), listener.accept():
            pass


def test_no_log_has_it(listener):
    with Server({"LOG_LEVEL": "debug"}) as server:
        found = ticket(server, listener.path)
        with connect(server, listener.path, found) as client, listener.accept():
            client.close()
        assert refusal(server, listener.path, found[:-1] + "_-")[0] == 401
        secret = found.rpartition(".")[2]
        log = wait_until(lambda: b"/tcp" in (text := server.whole_access_log()) and text, "the log")
        assert secret.encode() not in log and secret not in server.launch.output()


def test_a_restart_of_the_daemons_keeps_it(server, listener):
    found = ticket(server, listener.path)
    for name in ("fcgi-app", "terminal", "nginx"):
        server.back(name, server.kill_daemon(name))
    with connect(server, listener.path, found), listener.accept():
        pass


def test_a_viewer_by_ticket(sandbox):
    terminal = Terminal(sandbox, "exec bash --norc --noprofile -i", env={"PS1": "> "})
    path = "&mode=view"
    protocol = ticket(sandbox, f"/attach?id={terminal.id}{path}")
    with Attached(sandbox, terminal.id, path, protocols=(PROTOCOL, protocol), token=False) as viewer, Attached(sandbox, terminal.id) as client:
        viewer.write(b"echo no\r")
        client.write(b"echo y''es\r")
        viewer.shows(b"\ryes")
        assert b"no" not in viewer.data


def test_those_that_wait_by_a_ticket_leave_half_of_the_places(make_server):
    server = make_server({"SANDBOX_MAX_HELD": "2", "SANDBOX_PORT_WAIT": "1h"})
    port = Port()
    path = f"/tcp/{port.number}"
    request = (f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: {ticket(server, path)}\r\n\r\n").encode()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.raw(BIG_TIMEOUT)) for _ in range(3)]
        for client in clients:
            client.send(request)
        refused = []
        while len(refused) < 2:
            ready, _, _ = select.select([client.socket for client in clients if client.socket not in refused], [], [], BIG_TIMEOUT)
            assert ready
            refused += ready
        assert all(client.response()[0] == 503 for client in clients if client.socket in refused)
        with pytest.raises(Refused) as answer:  # there is room for the token
            WebSocket(server, path, headers={"X-Sandbox-Wait-Ms": "50"})
        assert (answer.value.status, answer.value.json()["error_code"]) == (504, "not_listening")


@pytest.mark.parametrize("query", ["Mode=view", "mod%65=view", "mode=vie%77", "mode", "view", "&mode=view", "mode=view&"])
def test_a_view_that_is_misspelt(sandbox, query):
    """It would be a ticket to type."""
    answer = sandbox.post("/create_ticket", path=f"/attach?id=x&{query}")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid_request")
