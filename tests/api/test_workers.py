"""The threads of fcgi-app: requests that take long hold no others up, and a connection without a request has no thread."""

import json
import re

from sandbox import BIG_TIMEOUT, REPOSITORY, in_threads, wait_until

# Threads of a fcgi-app without requests: main, streams, the acceptor, the watch on workers, what removes old uploads, what holds
# requests to ports, the watch on ports, and the workers with a turn.
AT_REST = 7 + int(re.search(r"#define TURNS_MOST (\d+)", (REPOSITORY / "fcgi-app/http/workers.c").read_text()).group(1))


def threads(server):
    daemons = server.get("/health?full=1").json()["daemons"]
    return daemons["fcgi-app"]["threads"]


def test_bodies_that_do_not_come_hold_nobody_up(server, tmp_path):
    """Short requests of which each takes a worker, more than take turns."""
    count, connections = 4 * AT_REST, []
    body = json.dumps({"path": str(tmp_path / "file"), "content": "x"}).encode()
    for number in range(count):
        raw = server.raw()
        raw.send(b"POST /write_file HTTP/1.1\r\nHost: x\r\nAuthorization: " + server.authorization
                 + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:10])
        connections.append(raw)
    for _ in range(20):
        assert server.get("/list_processes").status_code == 200
        assert server.shell("echo fine") == "fine\n"
    for raw in connections:
        raw.send(body[10:])
        status, _, answer = raw.response("POST")
        assert (status, json.loads(answer)) == (200, {"success": True})
        raw.socket.close()
    assert (tmp_path / "file").read_text() == "x"


def test_a_connection_without_a_request_has_no_thread(make_server):
    server = make_server()
    count = 60  # fewer than nginx keeps
    assert in_threads(count, lambda _: server.run("sleep 1", timeout=BIG_TIMEOUT)["code"]) == [0] * count
    wait_until(lambda: threads(server) <= AT_REST, "threads have ended")
    assert in_threads(count, lambda _: server.run("true", timeout=BIG_TIMEOUT)["code"]) == [0] * count
