"""Caps: beyond each of them a client gets an error, with nothing done, and everything else goes on."""

import contextlib
import json

import pytest

from sandbox import BIG_TIMEOUT, SANITIZED, TIMEOUT, EventStream, in_threads, wait_until
from test_limits import at_once


def assert_refused(answer, variable, status=429):
    """`answer` is of requests."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Retry-After"] == "1" and answer.headers["Content-Type"] == "application/json"
    assert variable in answer.json()["error"]


def status_of(server, cmd, path="/run"):
    return server.call("POST", path, {"cmd": cmd}, timeout=BIG_TIMEOUT).status_code


# ---- foreground commands ----


@pytest.mark.host
def test_runs(make_server, make_marker):
    """Two commands run: there is no third by either endpoint, and everything else is served."""
    server, marker = make_server({"SANDBOX_MAX_RUNS": "2"}), make_marker()
    with server.stream(marker.sleep) as first, server.stream(marker.sleep):
        marker.sleeping(server, 2)
        for path in ("/run", "/run_streaming"):
            assert_refused(server.call("POST", path, {"cmd": "true"}), "SANDBOX_MAX_RUNS")
        assert server.call("POST", "/run", {}).status_code == 400
        job = server.start("echo started")
        assert server.lines(job["id"]) == ["started"]
        assert server.post("/list_dir", path="/").status_code == 200
        server.healthy()
        first.close()
        wait_until(lambda: status_of(server, "true") == 200, "a place")
    assert server.post("/delete_process", id=job["id"]).status_code == 200


@pytest.mark.host
def test_no_run_is_counted_twice_or_forgotten(make_server):
    """However commands end or fail to begin, all places are there afterwards."""
    server = make_server({"SANDBOX_MAX_RUNS": "4"})

    def use(number):
        for body in ({"cmd": "true"}, {"cmd": "exit 3"}, {"cmd": "kill -9 $$"}, {"cmd": "true", "cwd": "/none"}, {"cmd": 1}):
            server.call("POST", "/run" if number % 2 else "/run_streaming", body)
        with server.stream("echo x; sleep 86400") as stream:
            if stream.status == 200:
                stream.next()

    in_threads(8, use)
    wait_until(lambda: set(in_threads(4, lambda _: status_of(server, "sleep 0.2"))) == {200}, "all places")
    assert 429 in in_threads(8, lambda _: status_of(server, "sleep 0.5"))


def check_a_thousand(server, least):
    body = json.dumps({"cmd": "sleep 1"}).encode()
    answers = at_once(server, [("POST", "/run", body)] * 1000, BIG_TIMEOUT)
    statuses = [status for status, _, _ in answers]
    assert set(statuses) <= {200, 429}, {status: statuses.count(status) for status in set(statuses)}
    assert statuses.count(200) >= least
    for status, headers, content in answers:
        if status == 200:
            assert json.loads(content)["code"] == 0
        else:
            assert "\r\nretry-after: 1" in headers and "SANDBOX_MAX_RUNS" in json.loads(content)["error"]
    server.healthy()
    assert server.shell("echo fine") == "fine\n"
    assert server.get("/health?full=1").json()["queue"]["runs"] == 0
    return statuses


@pytest.mark.slow
@pytest.mark.host
@pytest.mark.skipif(SANITIZED, reason="1,000 runners take a thousandfold of the sanitizer's memory")
def test_1000_runs_at_once(server):
    """At default settings there is a place for all of them."""
    assert set(check_a_thousand(server, 1000)) == {200}


@pytest.mark.slow
@pytest.mark.host
def test_1000_runs_at_once_where_50_may(make_server):
    server = make_server({"SANDBOX_MAX_RUNS": "50"})
    assert 429 in check_a_thousand(server, 50)


@pytest.mark.host
def test_a_connection_that_was_refused_serves_on(make_server, make_marker):
    """The body of a refused request, large or in chunks, is not taken for what comes after it."""
    server, marker = make_server({"SANDBOX_MAX_RUNS": "1"}), make_marker()
    with server.stream(marker.sleep):
        marker.sleeping(server)
        for size in (10, 100_000, 3_000_000):
            for body in (json.dumps({"cmd": "true", "stdin": "x" * size}).encode(), iter([b'{"cmd":"true","stdin":"', b"x" * size, b'"}'])):
                assert_refused(server.call("POST", "/run", body, timeout=BIG_TIMEOUT), "SANDBOX_MAX_RUNS")
                assert server.get("/list_processes").json() == {"processes": []}


# ---- background processes ----


def start(server, cmd="sleep 86400", **fields):
    answer = server.call("POST", "/start_process", {"cmd": cmd, **fields}, timeout=BIG_TIMEOUT)
    if answer.status_code == 201:
        return answer.json()["id"]
    assert_refused(answer, "SANDBOX_MAX_JOBS")
    return None


def running(server):
    return [process["id"] for process in server.processes() if process["status"] == "running"]


@pytest.mark.host
def test_jobs(make_server):
    """Of twenty at once five start, and a place is free as soon as one has ended."""
    server = make_server({"SANDBOX_MAX_JOBS": "5"})
    started = [identifier for identifier in in_threads(20, lambda _: start(server)) if identifier]
    assert len(started) == 5 and sorted(running(server)) == sorted(started)
    assert start(server) is None
    assert server.kill(started[0]).status_code == 200
    last = start(server, "cat", stdin=True)
    assert last and start(server) is None
    assert server.post("/write_stdin", id=last, eof=True).status_code == 200
    assert server.post("/wait_process", id=last, timeout_ms=int(TIMEOUT * 1000)).json()["status"] == "completed"
    assert start(server) and start(server) is None
    assert server.call("POST", "/start_process", {"cmd": "true", "cwd": "/none"}).status_code == 429
    assert server.shell("echo runs all the same") == "runs all the same\n"


@pytest.mark.host
def test_a_job_that_fails_to_start_takes_no_place(make_server):
    server = make_server({"SANDBOX_MAX_JOBS": "2"})
    for _ in range(5):
        assert server.call("POST", "/start_process", {"cmd": "true", "cwd": "/none"}).status_code == 400
    assert start(server) and start(server) and start(server) is None


@pytest.mark.host
def test_jobs_are_counted_over_the_death_of_procd(make_server):
    """Also those that were being started when it died."""
    server = make_server({"SANDBOX_MAX_JOBS": "6"})
    assert start(server) and start(server)

    def begin(number):
        if number == 0:
            return server.kill_daemon("procd")
        return server.call("POST", "/start_process", {"cmd": "sleep 86400"}, timeout=BIG_TIMEOUT).status_code

    for _ in range(3):
        old, *statuses = in_threads(9, begin)
        assert set(statuses) <= {201, 409, 429, 503}, statuses
        server.back("procd", old)
        more = [start(server) for _ in range(6)]
        assert len(running(server)) == 6, (statuses, more)
        for identifier in running(server)[2:]:
            server.kill(identifier)
    assert len(running(server)) == 2


# ---- log streams ----


@pytest.mark.host
def test_streams(make_server):
    server = make_server({"SANDBOX_MAX_STREAMS": "3"})
    job = server.start("echo line; sleep 86400")
    path = f"/process_logs_streaming?id={job['id']}"
    streams = [server.logs(job["id"]) for _ in range(3)]
    assert [stream.next().data["data"] for stream in streams] == ["line"] * 3
    assert_refused(server.get(path), "SANDBOX_MAX_STREAMS")
    assert_refused(server.get(path + "&follow=0"), "SANDBOX_MAX_STREAMS")
    assert server.shell("echo fine") == "fine\n"
    streams[0].close()
    wait_until(lambda: server.get(path + "&follow=0").status_code == 200, "a place")
    for _ in range(5):  # these leave at once
        assert server.get(path + "&tail=x").status_code == 400
        assert server.call("HEAD", path).status_code == 200
        assert b"not found" in server.get("/process_logs_streaming?id=none").content
    with server.logs(job["id"]) as stream:
        assert stream.next().data["data"] == "line"
        assert_refused(server.get(path), "SANDBOX_MAX_STREAMS")
    for stream in streams:
        stream.close()


@pytest.mark.host
def test_a_place_is_free_once_the_end_is_told(make_server):
    server = make_server({"SANDBOX_MAX_RUNS": "1", "SANDBOX_MAX_STREAMS": "1"})
    job = server.start("echo line")
    server.ended(job["id"])
    for _ in range(50):
        for stream in (server.stream("true"), server.logs(job["id"])):
            with stream:
                assert stream.status == 200 and stream.events()[-1].name == "complete"


# ---- requests ----


@pytest.mark.host
def test_what_lasts_leaves_room_for_what_does_not(make_server):
    """Streams, commands and waits cannot take all of SANDBOX_MAX_CONNECTIONS."""
    server = make_server({"SANDBOX_MAX_CONNECTIONS": "16"})
    job = server.start("echo x; sleep 86400")
    path = f"/process_logs_streaming?id={job['id']}"
    streams = []
    while (stream := EventStream(server, "GET", path, timeout=TIMEOUT)).status == 200:
        streams.append(stream)
    assert stream.status == 503 and len(streams) == 14
    body = {"cmd": "true", "stdin": "x" * 500_000}
    for _ in range(3):
        assert_refused(server.get(path), "SANDBOX_MAX_CONNECTIONS", 503)
        assert_refused(server.call("POST", "/run", body), "SANDBOX_MAX_CONNECTIONS", 503)
        assert_refused(server.call("POST", "/run_streaming", body), "SANDBOX_MAX_CONNECTIONS", 503)
        assert_refused(server.call("POST", "/wait_process", {"id": job["id"]}), "SANDBOX_MAX_CONNECTIONS", 503)
        assert server.get("/health", token=False).json() == {"status": "ok"}
        assert running(server) == [job["id"]]
        assert server.post("/list_dir", path="/").status_code == 200
    assert server.kill(job["id"]).status_code == 200  # which ends the streams
    for stream in streams:
        assert stream.events()[-1].name == "complete"
    assert server.shell("echo room") == "room\n"


def test_slow_clients_do_not_make_it_look_dead(make_server, tmp_path):
    """Requests that should be short and are not take all places, but those for the health."""
    server = make_server({"SANDBOX_MAX_CONNECTIONS": "16"})
    head = b"POST /write_file HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: 1000\r\n\r\n{" % server.authorization
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(server.raw()).send(head)
        wait_until(lambda: server.get("/health?full=1").json()["queue"]["requests"] >= 17, "all places to be taken")
        for _ in range(5):
            assert_refused(server.get("/list_processes"), "SANDBOX_MAX_CONNECTIONS", 503)
            assert server.get("/health", token=False).json() == {"status": "ok"}
            assert server.get("/health?full=1").json()["queue"]["requests"] in (17, 18)  # this one, and perhaps guard's
    wait_until(lambda: server.get("/list_processes").status_code == 200, "room again")


# ---- output ----


@pytest.mark.host
def test_output(make_server, tmp_path):
    """Three quarters of it are standard output's, what is left standard error's; the command runs to its end."""
    server = make_server({"SANDBOX_MAX_OUTPUT": "1000"})

    def run(cmd, **fields):
        answer = server.run(cmd, **fields)
        return len(answer["stdout"].encode()), len(answer["stderr"].encode()), answer.get("truncated"), answer["code"]

    assert run("printf %0750d 0; printf %0250d 0 >&2") == (750, 250, None, 0)
    assert run("printf %01000d 0 >&2") == (0, 1000, None, 0)
    assert run("printf %01001d 0 >&2; exit 3") == (0, 1000, True, 3)
    assert run("printf %0751d 0") == (750, 0, True, 0)
    assert run("printf %0751d 0; printf %0251d 0 >&2; exit 4") == (750, 250, True, 4)
    assert run("printf %0900d 0 >&2; printf %0600d 0") == (600, 400, True, 0)
    assert run("kill -9 $$") == (0, 0, None, -1)
    assert run(f"yes | head -c 50000000; yes | head -c 5000000 >&2; touch {tmp_path}/end", timeout=BIG_TIMEOUT)[2:] == (True, 0)
    assert (tmp_path / "end").exists()
    with server.stream("seq 10000") as stream:
        assert len(stream.events()) == 10001


@pytest.mark.host
def test_output_is_not_cut_within_a_character(make_server):
    server = make_server({"SANDBOX_MAX_OUTPUT": "16"})
    for before in range(4):
        answer = server.run(f"printf '{'x' * before}😀😀😀😀😀'; printf '{'x' * before}😀😀😀😀😀' >&2")
        assert answer["stdout"] == "x" * before + "😀" * ((12 - before) // 4)
        assert answer["stderr"] == "x" * before + "😀" * ((4 - before) // 4) and answer["truncated"] is True
    assert server.run(r"printf '\377\377\377'") == {"stdout": "\ufffd" * 3, "stderr": "", "code": 0}
    assert server.run(r"printf '\360\237'") == {"stdout": "\ufffd" * 2, "stderr": "", "code": 0}


def test_output_has_no_cap_by_default(sandbox):
    assert len(sandbox.run("head -c 3000000 /dev/zero | tr '\\0' x", timeout=BIG_TIMEOUT)["stdout"]) == 3_000_000
