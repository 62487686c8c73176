"""Daemons that die, stop or are away: what is lost, what is not, and what a client gets."""

import concurrent.futures
import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests

from sandbox import BIG_TIMEOUT, DEADLINE, TIMEOUT, EventStream, alive, freeze, in_threads, parse_events, proc_file, proc_stat, split_facts, wait_until

pytestmark = pytest.mark.host


def gate(path, command):
    return f"while [ ! -e {path} ]; do sleep 0.02; done; {command}"


def background(function, *arguments):
    """Runs a call in a thread; its result() is the answer."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    future = pool.submit(function, *arguments)
    pool.shutdown(wait=False)
    return future


def patient_run(server, cmd):
    """A /run that may take long, as the answer itself."""
    return server.call("POST", "/run", {"cmd": cmd}, timeout=6 * TIMEOUT)


def assert_unavailable(answer):
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 0
    assert answer.headers["Content-Type"].startswith("application/json") and answer.json()["error"]


def assert_lost(answer):
    """The backend died with the request in its hands."""
    assert answer.status_code == 409
    assert "Retry-After" not in answer.headers
    assert answer.headers["Content-Type"].startswith("application/json")
    assert re.search("may have", answer.json()["error"]) and answer.json()["may_have_run"] is True


# ---- procd dies ----


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_procds_death_touches_no_command(server, marker, tmp_path, number):
    ended = server.start("echo ended; exit 3")
    server.ended(ended["id"])
    killed = server.start("sleep 86400")
    server.kill(killed["id"])
    job = server.start(gate(tmp_path / "job", f"echo after; {marker.sleep}").replace("while", "echo before; while", 1))
    late = server.start(gate(tmp_path / "late", "exit 7"))
    watcher = server.logs(job["id"])
    assert watcher.next().data["data"] == "before"
    foreground = background(patient_run, server, gate(tmp_path / "run", "echo whole"))
    with server.stream(gate(tmp_path / "stream", "echo streamed").replace("while", "echo first; while", 1)) as stream:
        assert stream.next().data["data"] == "first"
        wait_until(lambda: server.find(f"{tmp_path}/run"), "the foreground command")

        old = server.kill_daemon("procd", number)
        (tmp_path / "late").touch()  # it ends while procd is away, or nearly so
        server.back("procd", old)

        for name in ("run", "stream", "job"):
            (tmp_path / name).touch()
        assert split_facts(foreground.result(TIMEOUT).json())[0] == {"stdout": "whole\n", "stderr": "", "code": 0}
        assert [event.data.get("data") for event in stream] == ["streamed", None]

    assert server.ended(late["id"]) == "failed"
    listed = {process["id"]: process for process in server.processes()}
    assert [process["id"] for process in server.processes()] == [ended["id"], killed["id"], job["id"], late["id"]]
    assert [listed[process["id"]]["status"] for process in (ended, killed, job, late)] == ["failed", "killed", "running", "failed"]
    assert all(listed[process["id"]]["pid"] == process["pid"] for process in (ended, killed, job, late))
    assert alive(job["pid"])

    assert watcher.next().data["data"] == "after"
    marker.sleeping(server)
    assert server.kill(job["id"]).status_code == 200
    assert not marker.pids(server)
    assert [event.name for event in watcher] == ["complete"]
    watcher.close()
    assert server.lines(job["id"]) == ["before", "after"] and server.lines(ended["id"]) == ["ended"]


def test_procd_killed_again_and_again(server, tmp_path):
    jobs = [server.start(f"i=0; while [ ! -e {tmp_path}/end ]; do i=$((i + 1)); echo $i; sleep 0.01; done") for _ in range(5)]
    for _ in range(5):
        server.back("procd", server.kill_daemon("procd"))
        jobs.append(server.start(f"i=0; while [ ! -e {tmp_path}/end ]; do i=$((i + 1)); echo $i; sleep 0.01; done"))
    assert [process["status"] for process in server.processes()] == ["running"] * 10
    (tmp_path / "end").touch()
    for job in jobs:
        lines = server.lines(job["id"])
        assert lines == [str(number) for number in range(1, len(lines) + 1)]
        assert server.ended(job["id"]) == "completed"


def test_hangup_works_while_procd_is_away(server, marker):
    with server.stream(f"{marker.sleep} & setsid {marker.sleep}"):
        marker.sleeping(server, 2)
        server.supervise("procd", "d")
    marker.gone(server)
    server.supervise("procd", "u")
    server.healthy()


def test_runs_through_deaths_of_procd(server, tmp_path):
    """Every answer is true: 200 ran it, 503 did not, 409 may have."""
    def one(number):
        answer = patient_run(server, f"echo x >>{tmp_path}/{number}; echo {number}")
        ran = (tmp_path / str(number)).read_text() if (tmp_path / str(number)).exists() else ""
        if answer.status_code == 200:
            assert answer.json()["stdout"] == f"{number}\n" and ran == "x\n"
        elif answer.status_code == 503:
            assert_unavailable(answer)
            assert ran == ""
        else:
            assert_lost(answer)
            assert ran in ("", "x\n")
        return answer.status_code

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(one, number) for number in range(200)]
        for _ in range(3):
            server.back("procd", server.kill_daemon("procd"))
        codes = [answer.result() for answer in answers]
    assert codes.count(200) >= 150


def test_starts_through_a_death_of_procd(server, tmp_path):
    """A start that procd took and could not answer is 409; one it never had is 503; one that was answered is on record."""
    procd = server.daemon("procd")
    freeze(procd)
    calls = [background(lambda number=number: server.call("POST", "/start_process", {"cmd": f"echo x >>{tmp_path}/{number}"}, timeout=6 * TIMEOUT))
             for number in range(10)]
    for _ in range(20):
        server.get("/nothing")
    server.kill_daemon("procd")
    answers = [call.result(6 * TIMEOUT) for call in calls]
    server.back("procd", procd)
    listed = {process["id"] for process in server.processes()}
    for number, answer in enumerate(answers):
        assert answer.status_code in (201, 409, 503), answer.text
        if answer.status_code == 201:
            assert answer.json()["id"] in listed
        elif answer.status_code == 503:
            assert_unavailable(answer)
            assert not (tmp_path / str(number)).exists()
        else:
            assert_lost(answer)


# ---- health ----


def test_health_does_not_lie(server):
    server.supervise("procd", "d")
    answer = server.get("/health", token=False)
    assert answer.status_code == 503 and answer.headers["Content-Type"].startswith("application/json")
    assert answer.json().get("status") != "ok"
    server.supervise("procd", "u")
    server.healthy()


def test_health_sees_a_procd_that_hangs(server):
    procd = server.daemon("procd")
    freeze(procd)
    assert server.get("/health", token=False).status_code == 503
    os.kill(procd, signal.SIGCONT)
    server.healthy()


def test_what_needs_procd_while_it_is_away(server, tmp_path):
    """503 and not done, or 409; what needs no procd is served meanwhile."""
    (tmp_path / "file").write_text("x")
    server.supervise("procd", "d")
    requests_ = {"list": ("GET", "/list_processes", None), "kill": ("POST", "/kill_process", {"id": "x"}),
                 "start": ("POST", "/start_process", {"cmd": f"touch {tmp_path}/start"}), "run": ("POST", "/run", {"cmd": f"touch {tmp_path}/run"})}
    calls = {name: background(lambda request=request: server.call(*request, timeout=6 * TIMEOUT)) for name, request in requests_.items()}
    assert server.post("/read_file", path=f"{tmp_path}/file").json() == {"content": "x"}
    answers = {name: call.result(6 * TIMEOUT) for name, call in calls.items()}
    server.supervise("procd", "u")
    server.healthy()
    assert server.shell("echo again") == "again\n"
    for name, answer in answers.items():
        assert answer.json()["error"]
        if answer.status_code == 503:
            assert_unavailable(answer)
            assert not (tmp_path / name).exists()
        else:
            assert_lost(answer)
            assert name not in ("run", "list")  # a runner has it or has it not


# ---- fcgi-app dies ----


def curl(server, *arguments):
    """curl in the background: its exit status is what it makes of the answer."""
    return subprocess.Popen(["curl", "-sSN", "-H", b"Authorization: " + server.authorization, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def test_a_stream_that_fcgi_app_did_not_end_is_cut(server):
    """On the wire, so that each client sees it: an end without the last chunk, which curl calls a partial file."""
    job = server.start("echo first; exec sleep 86400")["id"]
    command = json.dumps({"cmd": "echo first; exec sleep 86400"})
    clients = [curl(server, f"{server.url}/process_logs_streaming?id={job}"), curl(server, "-d", command, f"{server.url}/run_streaming")]
    for client in clients:
        while b"first" not in client.stdout.readline():
            pass
    with server.logs(job) as log, server.stream("echo first; exec sleep 86400") as stream:
        assert log.next().data["data"] == stream.next().data["data"] == "first"
        old = server.kill_daemon("fcgi-app")
        assert [log.events(), stream.events()] == [[], []]
        assert log.cut and stream.cut
    for client in clients:
        client.communicate(timeout=TIMEOUT)
        assert client.returncode == 18
    server.back("fcgi-app", old)


def test_an_answer_that_fcgi_app_did_not_end_is_no_json(server):
    """That of a /run ends on the wire as if it were whole, and lacks its last brace."""
    with curl(server, "-d", json.dumps({"cmd": "head -c 1000000 /dev/zero | tr '\\0' x; exec sleep 86400"}), f"{server.url}/run") as client:
        said = client.stdout.read(1000)
        old = server.kill_daemon("fcgi-app")
        said += client.communicate(timeout=TIMEOUT)[0]
    assert said.startswith(b'{"stdout":"xxx') and not said.endswith(b"}")
    server.back("fcgi-app", old)


def test_fcgi_apps_death_ends_its_foreground_trees(server, make_marker, tmp_path):
    run, stream, job = make_marker(), make_marker(), make_marker()
    tree = "trap '' TERM; {0} & setsid {0} & ( {0} & ) & {0}"
    identifier = server.start(tree.format(job.sleep))["id"]
    silent = background(patient_run, server, tree.format(run.sleep))
    with server.stream("echo first; " + tree.format(stream.sleep)) as events:
        assert events.next().data["data"] == "first"
        for marker in (run, stream, job):
            marker.sleeping(server, 4)
        old = server.kill_daemon("fcgi-app")
        run.gone(server)
        stream.gone(server)
        assert_lost(silent.result(TIMEOUT))
        assert "complete" not in [event.name for event in events]
    server.back("fcgi-app", old)
    job.sleeping(server, 4)
    assert server.status(identifier) == "running"
    assert server.kill(identifier).status_code == 200
    assert not job.pids(server)


def test_a_cut_answer_does_not_look_whole(server, marker):
    """The answer of /run has begun, and fcgi-app dies: no closing brace."""
    with server.raw() as raw:
        body = json.dumps({"cmd": f"head -c 3000000 /dev/zero | tr '\\0' x; {marker.sleep}"}).encode()
        raw.send(b"POST /run HTTP/1.0\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s" % (server.authorization, len(body), body))
        marker.sleeping(server)
        answer = raw.socket.recv(100_000)
        assert b" 200 " in answer.split(b"\r\n")[0]
        old = server.kill_daemon("fcgi-app")
        try:
            while piece := raw.socket.recv(100_000):
                answer += piece
        except ConnectionResetError:
            pass
    assert not answer.rstrip().endswith(b"}")
    with pytest.raises(ValueError):
        json.loads(answer.split(b"\r\n\r\n", 1)[1])
    server.back("fcgi-app", old)


def test_a_cut_log_stream_can_be_resumed(server, tmp_path):
    identifier = server.start(f"seq 100; {gate(tmp_path / 'go', 'seq 101 200')}")["id"]
    with server.logs(identifier) as stream:
        got = [stream.next() for _ in range(100)]
        old = server.kill_daemon("fcgi-app")
        assert stream.events() == []
    server.back("fcgi-app", old)
    (tmp_path / "go").touch()
    with server.logs(identifier, headers={"Last-Event-ID": got[-1].id}) as stream:
        got += stream.events()
    assert [event.data["data"] for event in got[:-1]] == [str(number) for number in range(1, 201)]


def test_fcgi_app_is_told_to_stop(server, marker):
    """SIGTERM: streams end with an error event, foreground commands end, background ones live on."""
    job = server.start("echo x; sleep 86400")
    with server.logs(job["id"]) as log, server.stream(f"echo x; {marker.sleep}") as stream:
        assert log.next().data["data"] == stream.next().data["data"] == "x"
        marker.sleeping(server)
        old = server.kill_daemon("fcgi-app", signal.SIGTERM)
        for events in (log, stream):
            rest = events.events()
            assert [event.name for event in rest] == ["error"] and rest[0].data["error"]
        assert rest[0].id == "1"
    marker.gone(server)
    server.back("fcgi-app", old)
    assert server.status(job["id"]) == "running"


def test_requests_wait_for_a_backend_that_starts_again(server):
    """The listening socket is never closed: nothing fails, it only takes a moment longer."""
    server.supervise("fcgi-app", "d")
    calls = [background(patient_run, server, f"echo {number}") for number in range(10)]
    for call in calls:
        assert not call.done()
    server.supervise("fcgi-app", "u")
    for number, call in enumerate(calls):
        answer = call.result(TIMEOUT)
        assert (answer.status_code, answer.json()["stdout"]) == (200, f"{number}\n")


def test_a_request_that_could_not_be_delivered_is_503(server, tmp_path):
    """Nothing listens: certainly not delivered, so a client may repeat it. (A kept connection may still serve some.)"""
    requests_ = [("POST", "/run", {"cmd": f"touch {tmp_path}/ran"}), ("GET", "/list_processes", None), ("GET", "/health", None),
                 ("POST", "/write_file", {"path": f"{tmp_path}/written", "content": "x"}), ("POST", "/run_streaming", {"cmd": f"touch {tmp_path}/ran"})]
    server.kill_daemon("fcgi-app")  # with it went the kept connections
    os.rename(server.run_dir / "fcgi-app.sock", server.run_dir / "away")

    def answers(request):
        """Other than 409, which nginx says when it has yet to learn that the connection it kept is dead."""
        answer = server.call(*request)
        return [answer] if answer.status_code != 409 else None

    for request in requests_:
        assert_unavailable(wait_until(lambda request=request: answers(request), "an answer of nginx alone")[0])
    os.rename(server.run_dir / "away", server.run_dir / "fcgi-app.sock")
    server.healthy()
    assert not list(tmp_path.iterdir())
    for request in requests_:
        assert server.call(*request).status_code == 200


def test_a_crash_leaves_no_half_a_file(server, tmp_path):
    """fcgi-app dies again and again while files are written: each is the old or the new, whole."""
    path = tmp_path / "file"
    path.write_text("a" * 3_000_000)

    def write(number):
        with contextlib.suppress(requests.RequestException):
            server.call("POST", "/write_file", {"path": str(path), "content": "ab"[number % 2] * 3_000_000}, timeout=6 * TIMEOUT)
        content = path.read_text()
        return len(content), len(set(content))

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(write, number) for number in range(30)]
        for _ in range(3):
            server.back("fcgi-app", server.kill_daemon("fcgi-app"))
        assert {answer.result() for answer in answers} == {(3_000_000, 1)}


def test_requests_through_deaths_of_fcgi_app(server, tmp_path):
    """Never a 502, never a 503 for what ran, and every body is JSON."""
    def one(number):
        try:
            answer = patient_run(server, f"echo x >>{tmp_path}/{number}; echo {number}")
        except requests.exceptions.ChunkedEncodingError:
            return "cut"
        ran = (tmp_path / str(number)).exists()
        if answer.status_code == 200:
            try:
                whole = answer.json()
            except ValueError:
                return "cut"
            assert whole["stdout"] == f"{number}\n" and ran
        elif answer.status_code == 503:
            assert_unavailable(answer)
            assert not ran
        else:
            assert_lost(answer)
        return answer.status_code

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(one, number) for number in range(300)]
        for _ in range(3):
            server.back("fcgi-app", server.kill_daemon("fcgi-app"))
        codes = [answer.result() for answer in answers]
    assert codes.count(200) >= 200
    for path in tmp_path.iterdir():
        assert path.read_text() in ("", "x\n"), "a command ran twice"  # "": it was killed just before it wrote


# ---- fcgi-app stays away, or hangs ----

# guard/main.c: it is asked every 4 s, is away when it has not answered for 5 s, and hangs when it has not for 30 s.
AWAY, HUNG = 9, 35


@pytest.mark.slow
def test_an_fcgi_app_that_stays_away(server, tmp_path):
    """A waiting client gets a 503, and it is true: nothing was done, and nothing is done later."""
    requests_ = [("POST", "/run", {"cmd": f"touch {tmp_path}/run"}), ("GET", "/list_processes", None),
                 ("POST", "/run_streaming", {"cmd": f"touch {tmp_path}/stream"}),
                 ("POST", "/start_process", {"cmd": f"touch {tmp_path}/job"}),
                 ("POST", "/write_file", {"path": f"{tmp_path}/file", "content": "x"}),
                 ("POST", "/write_file", {"path": f"{tmp_path}/large", "content": "x" * 10_000_000}),
                 ("GET", "/process_logs_streaming?id=x", None)]
    server.supervise("fcgi-app", "d")
    begin = time.monotonic()
    for answer in in_threads(len(requests_), lambda number: server.call(*requests_[number], timeout=AWAY + TIMEOUT)):
        assert_unavailable(answer)
    assert time.monotonic() - begin < AWAY + DEADLINE
    answers = in_threads(100, lambda number: server.call(*requests_[number % 5]))
    assert time.monotonic() - begin < AWAY + 2 * DEADLINE  # a later client gets it at once
    for answer in answers:
        assert_unavailable(answer)
    assert server.get("/health", token=False).status_code == 503
    server.supervise("fcgi-app", "u")
    server.healthy()
    assert server.shell("echo again") == "again\n" and server.processes() == []
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_fcgi_app_that_hangs(server, tmp_path):
    """It is ended: what it had in its hands is lost, what it did not take is for the next one."""
    started = tmp_path / "started"
    held = background(patient_run, server, f"touch {started}; sleep 86400")
    wait_until(started.exists, "the command")
    job = server.start("sleep 86400")["id"]
    old = server.daemon("fcgi-app")
    freeze(old)
    waiting = [background(lambda number=number: server.call("POST", "/run", {"cmd": f"echo x >>{tmp_path}/{number}"}, timeout=HUNG + TIMEOUT))
               for number in range(8)]
    assert_lost(held.result(HUNG + TIMEOUT))
    for number, call in enumerate(waiting):
        answer = call.result(TIMEOUT)
        if answer.status_code == 200:
            assert (tmp_path / str(number)).read_text() == "x\n"
        else:
            assert_lost(answer)  # it was on a kept connection
            assert not (tmp_path / str(number)).exists()
    assert 200 in [call.result().status_code for call in waiting]
    server.back("fcgi-app", old)
    assert server.status(job) == "running"


@pytest.mark.slow
def test_a_procd_that_hangs(server, tmp_path):
    """It is ended, too, which no command notices."""
    commands = [gate(tmp_path / "go", f"echo {word}") for word in ("last", "whole")]
    job = server.start(commands[0])["id"]
    foreground = background(patient_run, server, commands[1])
    wait_until(lambda: all(map(server.find, commands)), "the commands")
    old = server.daemon("procd")
    freeze(old)
    assert server.get("/health", token=False).status_code == 503
    wait_until(lambda: server.daemon("procd") not in (None, old), "another procd", HUNG + DEADLINE)
    server.healthy()
    assert server.status(job) == "running"
    (tmp_path / "go").touch()
    assert foreground.result(TIMEOUT).json()["stdout"] == "whole\n" and server.lines(job) == ["last"]


@pytest.mark.slow
def test_quiet_requests_are_no_hang(make_server):
    """Longer than an fcgi-app that hangs is left alone: a command, a stream of one, and a log that say nothing, with comments or without."""
    server = make_server({"SANDBOX_STREAM_KEEPALIVE": "10s"})
    quiet = f"sleep {HUNG + 5}; echo done"
    job = server.start(quiet)["id"]
    pids = server.daemon("fcgi-app"), server.daemon("procd")
    run = background(lambda: server.call("POST", "/run", {"cmd": quiet}, timeout=HUNG + TIMEOUT))
    with server.stream(quiet, timeout=HUNG + TIMEOUT) as stream, server.logs(job, timeout=HUNG + TIMEOUT) as log:
        for events in (stream, log):
            assert [event.data.get("data") for event in events.events()] == ["done", None]
            assert events.raw.count(b":keepalive\n") >= 3
    assert split_facts(run.result(TIMEOUT).json())[0] == {"stdout": "done\n", "stderr": "", "code": 0}
    assert (server.daemon("fcgi-app"), server.daemon("procd")) == pids


def fill_backlog(path, kind):
    """Connections that nobody accepts, until there is no room for more."""
    connections = []
    while len(connections) < 10_000:
        connections.append(socket.socket(socket.AF_UNIX, kind))
        connections[-1].setblocking(False)
        try:
            connections[-1].connect(str(path))
        except BlockingIOError:
            return connections
    raise AssertionError("a backlog without end")


def test_no_connection_is_kept_over_a_body_that_never_came(server):
    """The answer is there before the body: nginx would throw the next request away with the rest of this one."""
    head = b"POST /run HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: 5\r\n\r\n" % server.authorization
    server.supervise("fcgi-app", "d")

    def guard_answers():
        with server.raw(AWAY + TIMEOUT) as raw:
            status, headers, _ = raw.exchange(head)
        assert (headers["Connection"], headers["Content-Type"]) == ("close", "application/json") and status in (409, 503)
        return status == 503  # nginx may not have seen yet that a kept connection is gone: then it is lost with this request

    wait_until(guard_answers, "an answer of guard's", 4 * TIMEOUT)
    connections = fill_backlog(server.run_dir / "fcgi-app.sock", socket.SOCK_STREAM)
    with server.raw() as raw:  # nginx does
        status, headers, _ = raw.exchange(head)
        assert (status, headers["Connection"], headers["Content-Type"]) == (503, "close", "application/json")
    for connection in connections:
        connection.close()
    server.supervise("fcgi-app", "u")
    server.healthy()


def test_a_full_backlog_of_fcgi_app(server, tmp_path):
    """503 at once, not 502; and when room is made everything goes on."""
    server.supervise("fcgi-app", "d")  # with it went the kept connections
    connections = fill_backlog(server.run_dir / "fcgi-app.sock", socket.SOCK_STREAM)
    begin = time.monotonic()
    for _ in range(3):
        assert_unavailable(server.call("POST", "/run", {"cmd": f"touch {tmp_path}/ran"}))
    assert time.monotonic() - begin < DEADLINE
    for connection in connections:
        connection.close()
    server.supervise("fcgi-app", "u")
    server.healthy()
    assert server.shell("echo again") == "again\n" and not (tmp_path / "ran").exists()


def test_a_full_backlog_of_procd(server, tmp_path):
    server.supervise("procd", "d")
    connections = fill_backlog(server.run_dir / "procd.sock", socket.SOCK_SEQPACKET)
    requests_ = [("POST", "/run", {"cmd": f"touch {tmp_path}/ran"}), ("POST", "/start_process", {"cmd": f"touch {tmp_path}/ran"}), ("GET", "/list_processes", None)]
    for answer in in_threads(3, lambda number: server.call(*requests_[number], timeout=6 * TIMEOUT)):
        assert_unavailable(answer)
    for connection in connections:
        connection.close()
    server.supervise("procd", "u")
    server.healthy()
    assert server.shell("echo again") == "again\n" and not (tmp_path / "ran").exists()


def test_a_client_that_gave_up_in_the_backlog(server, tmp_path):
    """Its request is not begun: it may have been repeated elsewhere."""
    server.supervise("fcgi-app", "d")
    body = json.dumps({"path": f"{tmp_path}/file", "content": "x"}).encode()
    with server.raw() as raw:
        raw.send(b"POST /write_file HTTP/1.0\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s" % (server.authorization, len(body), body))
        wait_until(lambda: server.waiting() == 1, "the request in the backlog")
    wait_until(lambda: server.answered("/write_file") == 1, "nginx to know that the client has gone")
    server.supervise("fcgi-app", "u")
    server.healthy()
    assert server.shell("echo again") == "again\n" and not (tmp_path / "file").exists()


def test_no_descriptors_left(server, tmp_path):
    """Who comes is refused at once, whatever the others still do, and they are not disturbed."""
    pid = server.daemon("fcgi-app")
    job = server.start(gate(tmp_path / "go", "echo last").replace("while", "echo first; while", 1))["id"]
    for worker in set(server.nginx_pids()) - {server.daemon("nginx")}:
        os.kill(worker, signal.SIGKILL)  # with them go the kept connections
    with server.logs(job) as watcher, contextlib.ExitStack() as stack:
        assert watcher.next().data["data"] == "first"
        limit = len(os.listdir(f"/proc/{pid}/fd")) + 10
        subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={limit}:"], check=True)
        while len(os.listdir(f"/proc/{pid}/fd")) < limit:
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(server.run_dir / "fcgi-app.sock"))
            wait_until(lambda: server.waiting() == 0, "the connection to be accepted")
        begin = time.monotonic()
        for _ in range(10):
            assert_unavailable(server.get("/list_processes"))
        assert time.monotonic() - begin < DEADLINE
        (tmp_path / "go").touch()
        assert [event.data.get("data") for event in watcher.events()] == ["last", None]
    subprocess.run(["prlimit", f"--pid={pid}", "--nofile=1000:"], check=True)
    server.healthy()
    assert server.shell("echo again") == "again\n" and server.daemon("fcgi-app") == pid


def test_no_descriptors_left_in_procd(server):
    """It sleeps and tries again, instead of waking again and again for a client that waits."""
    pid = server.daemon("procd")

    def rested():
        return int(re.search(rb"^voluntary_ctxt_switches:\s*(\d+)", proc_file(pid, "status"), re.M)[1])

    said = server.launch.stderr.text.count("procd: cannot accept")
    lowest_free = next(number for number in itertools.count() if not os.path.lexists(f"/proc/{pid}/fd/{number}"))
    subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={lowest_free}:"], check=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(server.run_dir / "procd.sock"))
        wait_until(lambda: server.launch.stderr.text.count("procd: cannot accept") > said, "procd to meet the limit")
        before = rested()
        wait_until(lambda: rested() >= before + 5, "procd to rest")
        subprocess.run(["prlimit", f"--pid={pid}", "--nofile=4096:"], check=True)
        client.settimeout(TIMEOUT)
        assert client.recv(1000), "it greets whom it accepts"
    server.healthy()
    assert server.shell("echo again") == "again\n" and server.daemon("procd") == pid
    assert server.launch.stderr.text.count("procd: cannot accept") == said + 1


# ---- nginx dies ----


def test_a_killed_nginx_master(server, marker):
    """Its workers still hold the ports; a new master must get them, and jobs and binding live on."""
    job = server.start(marker.sleep)
    marker.sleeping(server)
    with socket.create_server(("127.0.0.1", 0)) as target:
        server.post("/bind_port", port=str(target.getsockname()[1]))
        workers = [pid for pid in server.nginx_pids() if pid != server.daemon("nginx")]
        old = server.kill_daemon("nginx")
        server.back("nginx", old)
        wait_until(lambda: not any(map(alive, workers)), "the old workers to end")
        with socket.create_connection((server.proxy_host, server.proxy_port), timeout=TIMEOUT):
            target.settimeout(TIMEOUT)
            target.accept()[0].close()
    assert server.status(job["id"]) == "running" and marker.sleeping(server)


def test_a_killed_nginx_worker(server):
    (worker, *_) = [pid for pid in server.nginx_pids() if pid != server.daemon("nginx")]
    os.kill(worker, signal.SIGKILL)
    server.healthy()
    assert server.shell("echo fine") == "fine\n"


def test_hangups_by_a_dying_nginx_end_their_commands(server, marker):
    with server.stream(f"{marker.sleep} & setsid {marker.sleep}"):
        marker.sleeping(server, 2)
        old = server.daemon("nginx")
        for pid in server.nginx_pids():
            with contextlib.suppress(ProcessLookupError):  # workers may follow their master at once
                os.kill(pid, signal.SIGKILL)
        marker.gone(server)
    server.back("nginx", old)


def test_a_reload_after_the_death_of_the_master(server):
    old = server.kill_daemon("nginx")
    server.back("nginx", old)
    master = server.daemon("nginx")
    workers = set(server.nginx_pids()) - {master}
    subprocess.run(["s6-svc", "-h", str(server.run_dir / "service/nginx")], check=True)
    wait_until(lambda: not any(map(alive, workers)), "the old workers to end")
    wait_until(lambda: server.daemon("nginx") == master, "the same master")  # (a new worker is called master at first)
    assert set(server.nginx_pids()) - {master}
    assert [server.shell(f"echo {number}") for number in range(20)] == [f"{number}\n" for number in range(20)]


def test_a_reload_with_200_streams_and_a_stop(make_server, tmp_path):
    """The old workers keep them to their end; and a stop, which ends the old workers too, is as soon as ever."""
    server = make_server()

    def follow(count, command):
        job = server.start(command)["id"]
        streams = in_threads(count, lambda _: EventStream(server, "GET", f"/process_logs_streaming?id={job}", timeout=BIG_TIMEOUT, answer_timeout=BIG_TIMEOUT))
        assert [stream.next().data["data"] for stream in streams] == ["first"] * count
        return streams

    streams = follow(200, gate(tmp_path / "go", "echo last").replace("while", "echo first; while", 1))
    old = server.reload_nginx()
    assert server.shell("echo new") == "new\n"
    (tmp_path / "go").touch()
    for stream in streams:
        assert [event.data.get("data") for event in stream.events()] == ["last", None] and not stream.cut
        stream.close()
    wait_until(lambda: not any(map(alive, old)), "the old workers to end")

    streams = follow(200, "echo first; sleep 86400")
    server.reload_nginx()
    server.stop()
    for stream in streams:
        assert [event.name for event in stream.events() if event.name != "log"] == ["complete"]  # SIGTERM ended it
        stream.close()


# ---- all die ----


class Crowd:
    """Clients that work on while everything dies under them, and their answers."""

    ACCEPTED = {"/run": {200, 409, 503}, "/start_process": {201, 409, 503}}

    def __init__(self, server, tmp_path):
        self.server, self.tmp_path = server, tmp_path
        self.over = threading.Event()
        self.jobs, self.codes = [], []

    def ask(self, path, body):
        """The answer, or None when the killed nginx gave none."""
        try:
            answer = self.server.call("POST", path, body, timeout=6 * TIMEOUT)
            text = answer.json()
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            return None
        except ValueError:
            assert answer.status_code == 200  # cut after it had begun
            return None
        assert answer.status_code in self.ACCEPTED[path], answer.text
        assert answer.status_code in (200, 201) or text["error"]
        self.codes.append(answer.status_code)
        return answer

    def run_commands(self):
        number = 0
        while not self.over.wait(0.005):
            number += 1
            answer = self.ask("/run", {"cmd": f"echo {number}"})
            if answer is not None and answer.status_code == 200:
                assert answer.json()["stdout"] == f"{number}\n"

    def start_jobs(self):
        while not self.over.wait(0.1):
            answer = self.ask("/start_process", {"cmd": "for i in $(seq 100); do echo $i; sleep 0.01; done"})
            if answer is not None and answer.status_code == 201:
                self.jobs.append(answer.json()["id"])

    def follow(self, identifier):
        """The lines of a log, put together from as many streams as it takes."""
        lines, last = [], None
        while True:
            with contextlib.suppress(OSError, requests.RequestException, http.client.HTTPException):
                with self.server.logs(identifier, headers={"Last-Event-ID": last} if last else {}) as stream:
                    for event in stream:
                        if event.name == "log":
                            lines.append(event.data["data"])
                            last = event.id
                        elif event.name == "complete":
                            return lines
            time.sleep(0.02)


def test_all_die_at_once_again_and_again(server, tmp_path):
    """Whatever was answered is true, no line of a job is lost, and the API answers again each time."""
    crowd = Crowd(server, tmp_path)
    long = server.start(f"i=0; while [ ! -e {tmp_path}/end ]; do i=$((i + 1)); echo $i; sleep 0.002; done; echo end")["id"]
    calls = [background(crowd.run_commands) for _ in range(3)] + [background(crowd.start_jobs)]
    followers = [background(crowd.follow, long) for _ in range(2)]
    for _ in range(4):
        done = crowd.codes.count(200)
        wait_until(lambda done=done: crowd.codes.count(200) > done + 20, "the crowd to be at work", 4 * DEADLINE)
        pids = {name: wait_until(lambda name=name: server.daemon(name), name) for name in ("nginx", "fcgi-app", "procd")}
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        for name, pid in pids.items():
            server.back(name, pid)
    done = crowd.codes.count(200)
    wait_until(lambda: crowd.codes.count(200) > done + 20, "the crowd to be at work", 4 * DEADLINE)
    crowd.over.set()
    (tmp_path / "end").touch()
    for call in calls:
        call.result(6 * TIMEOUT)
    assert crowd.jobs and crowd.codes.count(200) > 50
    listed = {process["id"] for process in server.processes()}
    assert set(crowd.jobs) <= listed
    for identifier in crowd.jobs:
        assert server.lines(identifier) == [str(number) for number in range(1, 101)]
    for follower in followers:
        lines = follower.result(BIG_TIMEOUT)
        assert lines == [str(number) for number in range(1, len(lines))] + ["end"]


# ---- runners die ----


def test_a_killed_runner_of_a_foreground_command(server, marker):
    call = background(patient_run, server, f"exec {marker.sleep}")
    (pid,) = marker.sleeping(server)
    os.kill(proc_stat(pid)[1], signal.SIGKILL)
    answer = call.result(TIMEOUT)
    assert_lost(answer)
    assert server.shell("echo fine") == "fine\n"


def test_a_killed_runner_of_a_background_process(server, marker):
    """The list does not say that it runs for ever, and its log ends."""
    job = server.start(f"echo before; exec {marker.sleep}")
    (pid,) = marker.sleeping(server)
    with server.logs(job["id"]) as live:
        assert live.next().data["data"] == "before"
        os.kill(proc_stat(pid)[1], signal.SIGKILL)
        assert server.ended(job["id"]) in ("failed", "killed")
        assert [event.name for event in live] in (["complete"], ["error"])
    with server.logs(job["id"]) as stream:
        events = stream.events()
    assert events[0].data["data"] == "before" and [event.name for event in events[1:]] in (["complete"], ["error"])


# ---- the binding ----


def test_the_binding_outlives_every_daemon(server):
    with socket.create_server(("127.0.0.1", 0)) as target:
        port = str(target.getsockname()[1])
        target.settimeout(TIMEOUT)
        server.post("/bind_port", port=port)
        for name in ("fcgi-app", "procd", "nginx"):
            server.back(name, server.kill_daemon(name))
            with socket.create_connection((server.proxy_host, server.proxy_port), timeout=TIMEOUT):
                target.accept()[0].close()
            answer = server.post("/bind_port", port="9")
            assert (answer.status_code, answer.json()["current_port"]) == (409, port)
    assert server.post("/unbind_port").status_code == 200


def test_a_new_start_begins_empty(make_server):
    server = make_server()
    job = server.start("sleep 86400")
    server.post("/bind_port", port="8080")
    server.stop()
    assert not alive(job["pid"])
    server.boot()
    assert server.processes() == []
    answer = server.post("/bind_port", port="9090")
    assert (answer.status_code, answer.json()["port"]) == (200, "9090")


# ---- the end of the whole ----


@pytest.mark.parametrize("number, group", [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGTERM, True), (signal.SIGINT, True)],
                         ids=["TERM", "INT", "TERM to the group", "INT to the group"])
def test_stopping_with_everything_open(make_server, make_marker, number, group):
    """Background jobs, foreground trees, streams, half requests, proxied connections: nothing stays."""
    server, marker = make_server(), make_marker()
    tree = f"trap '' TERM INT HUP; echo x; {marker.sleep} & setsid {marker.sleep} & ( env -i setsid {marker.sleep} & ) & {marker.sleep}"
    job = server.start(tree)
    server.run(f"trap '' TERM INT HUP; setsid {marker.sleep} &")
    server.start(f"{marker.sleep} & exit 0")
    silent = background(lambda: in_threads(2, lambda _: patient_run(server, tree)))
    log, stream = server.logs(job["id"]), server.stream(tree)
    half, idle = server.raw(), server.raw()
    half.send(b"POST /run HTTP/1.1\r\nHost: x\r\nAuthorization: " + server.authorization + b"\r\nContent-Length: 100\r\n\r\n{")
    with socket.create_server(("127.0.0.1", 0)) as target:
        server.post("/bind_port", port=str(target.getsockname()[1]))
        proxied = socket.create_connection((server.proxy_host, server.proxy_port), timeout=TIMEOUT)
        marker.sleeping(server, 4 * 4 + 2)
        assert log.next().data["data"] == stream.next().data["data"] == "x"
        server.stop(number, group)
    assert not marker.pids(server)
    for events in (log, stream):
        assert [event.name for event in events] == ["error"]
        events.close()
    silent.exception(TIMEOUT)
    for connection in (half.socket, idle.socket, proxied):
        connection.close()


def test_stopping_at_once(make_server):
    """A signal straight after the start, and straight after the ready line."""
    server = make_server()
    server.stop()
    server.boot()
    server.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_second_signal_does_no_harm(make_server, marker, number):
    """It comes while the server is stopping, and must not cut that short."""
    server = make_server()
    server.start(f"trap '' TERM; {marker.sleep}")
    marker.sleeping(server)
    with server.logs(server.processes()[0]["id"]):
        os.kill(server.launch.pid, signal.SIGTERM)
        wait_until(lambda: os.path.islink(server.run_dir / "stopping") or not alive(server.launch.pid), "the stop")
        server.stop(number)
    assert not marker.pids(server)


def test_a_stream_that_ends_says_why(server):
    """Every event stream ends with `complete` or `error`, also in a stop."""
    job = server.start("sleep 86400")
    streams = [server.logs(job["id"]) for _ in range(20)]
    old = server.kill_daemon("fcgi-app", signal.SIGTERM)
    for stream in streams:
        raw = stream.read_all()
        assert [event.name for event in parse_events(raw)] == ["error"]
        stream.close()
    server.back("fcgi-app", old)
    with EventStream(server, "GET", f"/process_logs_streaming?id={job['id']}", timeout=DEADLINE) as stream:
        assert stream.status == 200
