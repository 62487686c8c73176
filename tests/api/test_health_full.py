"""GET /health?full=1: what an operator sees of the server, and nobody without the token."""

import json
import os

import pytest

from sandbox import wait_until

pytestmark = pytest.mark.host

DAEMONS = {"nginx", "fcgi-app", "procd", "terminal", "guard"}


def full(server):
    answer = server.get("/health?full=1")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_it_is_for_who_has_the_token(server):
    for method in ("GET", "HEAD"):
        for query in ("full=1", "full=true", "full=2", "FULL=1", "x=1&full=1", "full=1&full=", "full=:1:"):
            assert server.call(method, f"/health?{query}", token=False).status_code == 401, query
    for path in ("/health", "/health?full=", "/health?full", "/health?x=full=1", "/health?full=0", "/health?full=false"):
        assert server.get(path, token=False).text == '{"status":"ok"}', path
    for path in ("/health", "/health?full=", "/health?full=0", "/health?full=false", "/health?full=2"):
        assert server.get(path).text == '{"status":"ok"}', path
    assert server.call("HEAD", "/health?full=1").status_code == 200
    assert server.call("POST", "/health?full=1").status_code == 405


def test_what_it_tells(server, make_marker):
    state = full(server)
    assert set(state) == {"status", "uptime_ms", "daemons", "queue", "disk", "log"}
    assert state["log"] == {"dropped_lines": 0}
    assert state["status"] == "ok" and state["uptime_ms"] > 0
    assert set(state["daemons"]) == DAEMONS
    for name, daemon in state["daemons"].items():
        assert set(daemon) == {"pid", "restarts", "descriptors", "threads", "rss_kb"}
        assert daemon["restarts"] == 0 and daemon["descriptors"] > 2 and daemon["threads"] >= 1 and daemon["rss_kb"] > 100
        if name != "guard":
            assert daemon["pid"] == server.daemon(name)
    assert set(state["queue"]) == {"requests", "runs", "streams", "uploads", "held", "jobs", "terminals", "runners", "idle_runners"}
    assert state["queue"]["requests"] >= 1
    assert (state["queue"]["runs"], state["queue"]["streams"], state["queue"]["jobs"]) == (0, 0, 0)
    room = os.statvfs(server.run_dir)
    assert state["disk"]["total_bytes"] == room.f_blocks * room.f_frsize
    assert 0 < state["disk"]["free_bytes"] <= state["disk"]["total_bytes"] and state["disk"]["log_bytes"] == 0

    marker = make_marker()
    job = server.start(f"echo line; {marker.sleep}")
    with server.stream(marker.sleep), server.logs(job["id"]) as stream:
        stream.next()
        marker.sleeping(server, 2)
        state = full(server)
        assert (state["queue"]["runs"], state["queue"]["streams"], state["queue"]["jobs"]) == (1, 1, 1)
        assert state["queue"]["requests"] >= 3 and state["queue"]["runners"] >= 2
        assert state["disk"]["log_bytes"] > 50
    wait_until(lambda: [full(server)["queue"][name] for name in ("runs", "streams")] == [0, 0], "nothing to last")
    server.kill(job["id"])
    assert full(server)["queue"]["jobs"] == 0


def test_restarts(server):
    """Each daemon that is killed, and no other, is seen to have been started again."""
    job = server.start("sleep 86400")
    expected = dict.fromkeys(DAEMONS, 0)
    for name in ("procd", "fcgi-app", "nginx", "terminal", "procd"):
        server.back(name, server.kill_daemon(name))
        expected[name] += 1
        state = full(server)
        assert {name: daemon["restarts"] for name, daemon in state["daemons"].items()} == expected
        assert state["daemons"][name]["pid"] == server.daemon(name) and state["queue"]["jobs"] == 1
    guard = full(server)["daemons"]["guard"]["pid"]
    os.kill(guard, 9)
    wait_until(lambda: full(server)["daemons"]["guard"]["restarts"] == 1, "guard to be started again")
    wait_until(lambda: full(server)["daemons"]["guard"]["pid"] not in (None, guard), "its pid")
    server.reload_nginx()  # which is no restart
    server.settle(20)
    assert full(server)["daemons"]["nginx"]["restarts"] == 1
    assert server.status(job["id"]) == "running"
    server.stop()
    server.boot()
    assert {daemon["restarts"] for daemon in full(server)["daemons"].values()} == {0}


def test_without_procd(server):
    server.supervise("procd", "d")
    answer = server.get("/health?full=1")
    assert answer.status_code == 503 and answer.json()["status"] == "unavailable"
    server.supervise("procd", "u")
    server.healthy()
    assert full(server)["status"] == "ok"


def test_descriptors_and_threads_are_those_of_now(server):
    job = server.start("echo line; sleep 86400")
    before = full(server)["daemons"]["fcgi-app"]
    streams = [server.logs(job["id"]) for _ in range(20)]
    for stream in streams:
        stream.next()
    assert full(server)["daemons"]["fcgi-app"]["descriptors"] >= before["descriptors"] + 20
    for stream in streams:
        stream.close()
    wait_until(lambda: full(server)["daemons"]["fcgi-app"]["descriptors"] < before["descriptors"] + 15, "them to be closed")
    assert json.dumps(full(server))
