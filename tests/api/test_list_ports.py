"""/list_ports, /ports_streaming, /wait_port, and wait_port of /start_process."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import threading

import pytest
import requests

from sandbox import BIG_TIMEOUT, TIMEOUT, EventStream, Port, check_framing, has_ipv6, in_threads, wait_until

LISTEN = """
import os, socket, sys, time
address, child = sys.argv[1], sys.argv[2:] == ["child"]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
listener = socket.socket(family)
if family == socket.AF_INET6 and address == "::":
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
listener.bind((address, 0))
listener.listen()
parent = os.getpid()
if child and os.fork() != 0:
    os._exit(0)
while child and os.getppid() == parent:  # until it is alone
    time.sleep(0.01)
print(listener.getsockname()[1], os.getpid(), flush=True)
time.sleep(86400)
"""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
LONG = int(1000 * BIG_TIMEOUT)
MEMBERS = ["port", "address", "loopback", "pid", "command", "id", "since_at", "shared"]


def command(address="127.0.0.1", *more):
    return shlex.join(["exec", "python3", "-c", LISTEN, address, *more])


def said(sandbox, identifier):
    """The port and the pid that the process says."""
    with sandbox.logs(identifier) as stream:
        event = stream.next()
        assert event.name == "log" and event.data["stream"] == "stdout", event
        return tuple(map(int, event.data["data"].split()))


class Job:
    """A background process that listens."""

    def __init__(self, sandbox, address="127.0.0.1", *more, **members):
        self.sandbox = sandbox
        self.id = sandbox.start(command(address, *more), **members)["id"]
        self.port, self.pid = said(sandbox, self.id)

    def end(self):
        assert self.sandbox.kill(self.id).status_code == 200


def ports(sandbox):
    answer = sandbox.get("/list_ports")
    assert answer.status_code == 200 and list(answer.json()) == ["ports"]
    return answer.json()["ports"]


def entry(sandbox, port):
    """The only one of the port; None where it has none."""
    found = [row for row in ports(sandbox) if row["port"] == port]
    assert len(found) <= 1, found
    return found[0] if found else None


@pytest.fixture
def listen(sandbox):
    """Starts a job that listens."""
    return lambda *arguments, **members: Job(sandbox, *arguments, **members)


@pytest.fixture
def port():
    """One on which nobody listens. The kernel could give that of a job which has ended to another test."""
    port = Port()
    yield port.number
    port.free()


# ---- the list ----


@pytest.mark.parametrize("address, loopback", [("127.0.0.1", True), ("0.0.0.0", False), ("127.0.0.9", True), ("::1", True), ("::", False)])
def test_what_listens(sandbox, listen, address, loopback):
    if ":" in address and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    job = listen(address)
    row = entry(sandbox, job.port)
    assert list(row) == MEMBERS and TIME.fullmatch(row["since_at"])
    assert {**row, "since_at": None} == {"port": job.port, "address": address, "loopback": loopback, "pid": job.pid, "command": "python3",
                                         "id": job.id, "since_at": None, "shared": False}
    assert entry(sandbox, job.port) == row
    job.end()
    assert entry(sandbox, job.port) is None


def test_a_child_that_listens_alone(sandbox, listen):
    """The process that called listen(2) has ended, and another one, which has its socket, is named."""
    job = listen("127.0.0.1", "child", wait_tree=True)
    row = entry(sandbox, job.port)
    assert (row["pid"], row["id"]) == (job.pid, job.id)


def test_what_a_job_has_left(sandbox, listen):
    job = listen("127.0.0.1", "child")
    assert sandbox.ended(job.id) == "completed"
    row = entry(sandbox, job.port)
    assert (row["pid"], row["id"]) == (job.pid, job.id)
    assert sandbox.post("/kill_process", id=job.id, left=True).status_code == 200
    assert entry(sandbox, job.port) is None


def test_a_command_that_listens(sandbox):
    with sandbox.stream(command()) as stream:
        port, pid = map(int, next(event.data["data"] for event in stream if event.name == "output").split())
        row = entry(sandbox, port)
        assert (row["pid"], row["command"], row["id"]) == (pid, "python3", None)
    wait_until(lambda: entry(sandbox, port) is None, "the end of the command")


def test_two_processes_with_one_socket(sandbox):
    """The one above the other is named, and when it ends the other."""
    script = LISTEN.replace("os._exit(0)", "time.sleep(86400)").replace("while child", "while False")
    process = sandbox.start(shlex.join(["exec", "python3", "-c", script, "127.0.0.1", "child"]), wait_tree=True)
    port, child = said(sandbox, process["id"])
    row = entry(sandbox, port)
    assert row["pid"] == process["pid"] != child
    sandbox.shell(f"kill -9 {process['pid']}")
    wait_until(lambda: entry(sandbox, port)["pid"] == child, "the other process")
    assert entry(sandbox, port)["since_at"] == row["since_at"]


def test_one_port_on_two_addresses(sandbox, listen):
    first = listen("127.0.0.1")
    second = sandbox.start(command("127.0.0.2").replace("(address, 0)", f"(address, {first.port})"))
    wait_until(lambda: len([row for row in ports(sandbox) if row["port"] == first.port]) == 2, "the second")
    rows = [row for row in ports(sandbox) if row["port"] == first.port]
    assert [(row["address"], row["id"]) for row in rows] == [("127.0.0.1", first.id), ("127.0.0.2", second["id"])]


def test_sockets_that_share_a_port(sandbox):
    """SO_REUSEPORT: one entry for all."""
    script = LISTEN.replace("listener.bind", "listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); listener.bind")
    script = script.replace("print(", "more = socket.create_server(listener.getsockname(), reuse_port=True); print(")
    process = sandbox.start(shlex.join(["exec", "python3", "-c", script, "127.0.0.1"]))
    port, _ = said(sandbox, process["id"])
    assert entry(sandbox, port)["id"] == process["id"]


def test_names_that_need_escapes(sandbox):
    script = LISTEN.replace("print(", "open('/proc/self/comm', 'wb').write(b'a\"\\\\\\xff b'); print(")
    process = sandbox.start(shlex.join(["exec", "python3", "-c", script, "127.0.0.1"]))
    port, _ = said(sandbox, process["id"])
    assert entry(sandbox, port)["command"] == "a\"\\\ufffd b"


@pytest.mark.host
def test_what_is_no_command_s(sandbox):
    """It is listed, and nobody is named."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        row = entry(sandbox, port)
        assert (row["pid"], row["command"], row["id"]) == (None, None, None)
    assert entry(sandbox, port) is None


def test_the_server_s_own_ports_are_not_listed(sandbox):
    listed = {row["port"] for row in ports(sandbox)}
    assert not listed & {sandbox.port, sandbox.proxy_port} or not sandbox.local


def test_the_methods(sandbox):
    assert sandbox.call("HEAD", "/list_ports").status_code == 200
    assert sandbox.post("/list_ports").status_code == 405
    assert sandbox.call("GET", "/list_ports", token=False).status_code == 401
    assert sandbox.call("HEAD", "/ports_streaming").status_code == 200
    assert sandbox.get("/wait_port").status_code == 405


@pytest.mark.host
def test_another_procd_names_the_same_process(server):
    job = Job(server)
    row = entry(server, job.port)
    server.back("procd", server.kill_daemon("procd"))
    wait_until(lambda: entry(server, job.port) == row, "the same entry")


@pytest.mark.host
def test_many_processes(server):
    """The one of many that listens is found; one that never is does not hold up the others."""
    server.start("for i in $(seq 300); do sleep 86400 & done; wait", wait_tree=True)
    job = Job(server)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert entry(server, job.port)["pid"] == job.pid
        assert entry(server, listener.getsockname()[1])["pid"] is None
        assert server.shell("echo fine") == "fine\n"


@pytest.mark.host
def test_two_sandboxes(make_server):
    """Of one network: each lists all, and names its own commands only."""
    one, two = make_server(), make_server()
    job = Job(one)
    assert entry(one, job.port)["pid"] == job.pid
    row = entry(two, job.port)
    assert (row["pid"], row["command"], row["id"]) == (None, None, None)


@pytest.mark.host
def test_a_port_that_is_shared(server):
    job = Job(server)
    assert server.call("POST", "/share_port", {"port": job.port}, headers={"Host": f"localhost:{server.port}"}).status_code == 200
    assert entry(server, job.port)["shared"] is True
    with EventStream(server, "GET", "/ports_streaming") as stream:
        assert entry(server, job.port) in stream.next().data["ports"]
    assert server.call("POST", "/unshare_port", {"port": job.port}).status_code == 200
    assert entry(server, job.port)["shared"] is False


@pytest.mark.host
def test_the_listener_for_metrics_is_the_servers(make_server):
    metrics = Port()
    server = make_server({"SANDBOX_METRICS_LISTEN": f"127.0.0.1:{metrics.number}"})
    assert requests.get(f"http://127.0.0.1:{metrics.number}/metrics", timeout=TIMEOUT).status_code == 200
    assert entry(server, metrics.number) is None
    assert server.post("/wait_port", port=metrics.number).status_code == 400
    metrics.free()


@pytest.mark.host
def test_own_ports_alone(make_server):
    """SANDBOX_PORTS=own: what else the machine listens on is not there, and nobody waits for it."""
    server = make_server({"SANDBOX_PORTS": "own"})
    job = Job(server)
    with socket.create_server(("127.0.0.1", 0)) as listener, EventStream(server, "GET", "/ports_streaming") as stream:
        assert [(row["port"], row["id"]) for row in ports(server)] == [(job.port, job.id)]
        assert [row["port"] for row in stream.next().data["ports"]] == [job.port]
        for port, listens in ((job.port, True), (listener.getsockname()[1], False)):
            assert server.post("/wait_port", port=port, timeout_ms=30).json() == {"listening": listens}
        later = Job(server)
        event = stream.next()
        assert (event.name, event.data["port"]) == ("opened", later.port)


@pytest.mark.host
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run commands as another user")
@pytest.mark.parametrize("prefix", [[], ["setpriv", "--bounding-set=-sys_ptrace"]], ids=["", "without CAP_SYS_PTRACE, as in containers"])
def test_commands_of_another_user(make_server, prefix):
    server = make_server({"SANDBOX_USER": "games", "PATH": "/usr/local/bin:/usr/bin:/bin"}, prefix=prefix)
    job = Job(server)
    row = entry(server, job.port)
    assert (row["pid"], row["id"]) == (job.pid, job.id)
    assert server.post("/wait_port", port=job.port).json() == {"listening": True}


# ---- the stream ----


def of_port(events, port):
    """The next event about the port; the others, which are about other programs of the machine, are skipped."""
    return next((event for event in events if event.name in ("opened", "closed") and event.data["port"] == port), None)


def test_what_opens_and_closes(sandbox, listen):
    before = listen()
    with EventStream(sandbox, "GET", "/ports_streaming") as stream:
        assert (stream.status, stream.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        events = iter(stream)
        state = next(events)
        assert state.name == "state" and state.id is None
        assert entry(sandbox, before.port) in state.data["ports"]
        job = listen()
        opened = of_port(events, job.port)
        assert (opened.name, opened.id) == ("opened", None) and opened.data == entry(sandbox, job.port)
        job.end()
        assert of_port(events, job.port) == ("closed", opened.data)
        before.end()
        assert of_port(events, before.port).name == "closed"
        stream.close()
    check_framing(bytes(stream.raw[:stream.raw.rfind(b"\n\n") + 2]))


def test_all_followers_are_told(sandbox, listen):
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(EventStream(sandbox, "GET", "/ports_streaming")) for _ in range(20)]
        events = [iter(stream) for stream in streams]
        assert {next(each).name for each in events} == {"state"}
        job = listen()
        assert {of_port(each, job.port).data["pid"] for each in events} == {job.pid}
        job.end()
        assert {of_port(each, job.port).name for each in events} == {"closed"}


def test_a_stream_that_comes_back(sandbox, listen):
    """It gets all again, whatever it says that it has."""
    job = listen()
    for headers in ({}, {"Last-Event-ID": "12"}):
        with EventStream(sandbox, "GET", "/ports_streaming", headers=headers) as stream:
            assert entry(sandbox, job.port) in stream.next().data["ports"]


@pytest.mark.host
def test_many_ports_in_one_event(server):
    """More than the first event of other streams holds."""
    script = "import socket, time\nall = [socket.create_server(('127.0.0.1', 0)) for _ in range(800)]\nprint('ready', flush=True)\ntime.sleep(86400)"
    with EventStream(server, "GET", "/ports_streaming") as stream:
        events = iter(stream)
        assert next(events).name == "state"
        server.start(shlex.join(["exec", "python3", "-c", script]))
        seen = {event.data["port"] for _, event in zip(range(800), (event for event in events if event.name == "opened" and event.data["command"] == "python3"))}
        assert len(seen) == 800
        with EventStream(server, "GET", "/ports_streaming") as other:
            assert seen <= {row["port"] for row in other.next().data["ports"]}
        assert seen <= {row["port"] for row in ports(server)}


@pytest.mark.host
def test_the_streams_are_counted(make_server):
    """The stream is silent: ports of other tests, which run beside this one, are not `own`."""
    server = make_server({"SANDBOX_MAX_STREAMS": "1", "SANDBOX_STREAM_KEEPALIVE": "1s", "SANDBOX_PORTS": "own"})
    with EventStream(server, "GET", "/ports_streaming") as stream:
        assert stream.next().name == "state"
        answer = server.get("/ports_streaming")
        assert (answer.status_code, answer.json()["error_code"]) == (429, "too_many")
        wait_until(lambda: stream.read_some() and b":keepalive\n" in stream.raw, "a sign of life")
    wait_until(lambda: EventStream(server, "GET", "/ports_streaming").status == 200, "the place")


@pytest.mark.host
def test_a_stream_ends_with_the_server(server):
    with EventStream(server, "GET", "/ports_streaming") as stream:
        assert stream.next().name == "state"
        server.stop()
        assert stream.events()[-1].data["error_code"] == "stopping"


@pytest.mark.host
def test_a_stream_lives_without_procd(server):
    job = Job(server)
    with EventStream(server, "GET", "/ports_streaming") as stream:
        events = iter(stream)
        assert next(events).name == "state"
        old = server.kill_daemon("procd")
        os.kill(job.pid, signal.SIGKILL)
        server.back("procd", old)
        assert of_port(events, job.port).name == "closed"
        later = Job(server)
        assert of_port(events, later.port).data["id"] == later.id


# ---- waiting ----


def test_waiting(sandbox, listen):
    job = listen()
    assert sandbox.post("/wait_port", port=job.port).json() == {"listening": True}
    assert sandbox.post("/wait_port", port=str(job.port), timeout_ms=0).json() == {"listening": True}
    job.end()
    for timeout in (0, 1, 50):
        answer = sandbox.post("/wait_port", port=job.port, timeout_ms=timeout)
        assert (answer.status_code, answer.json()) == (200, {"listening": False})


def test_waiting_for_what_comes(sandbox, port):
    waits = []
    threads = [threading.Thread(target=lambda: waits.append(sandbox.post("/wait_port", port=port, timeout_ms=LONG).json()))
               for _ in range(10)]
    for thread in threads:
        thread.start()
    sandbox.start(command().replace("(address, 0)", f"(address, {port})"))
    for thread in threads:
        thread.join()
    assert waits == [{"listening": True}] * 10


@pytest.mark.parametrize("port", [0, "0", 65536, "08080", "+80", "::1", "80 ", [], True, None, ""])
def test_what_is_no_port(sandbox, port):
    for path, members in (("/wait_port", {"port": port}), ("/start_process", {"cmd": "true", "wait_port": port})):
        if port in (None, "") and path == "/start_process":
            continue
        answer = sandbox.post(path, **members)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid_request")


def test_the_server_s_own_port(sandbox):
    if sandbox.local:
        for port in (sandbox.port, sandbox.proxy_port):
            assert sandbox.post("/wait_port", port=port).status_code == 400
            assert sandbox.post("/start_process", cmd="true", wait_port=port).status_code == 400


@pytest.mark.host
def test_a_client_that_goes(server):
    connection = server.connection(TIMEOUT)
    connection.request("POST", "/wait_port", json.dumps({"port": 1, "timeout_ms": 10 ** 9}), {"Authorization": server.authorization})
    wait_until(lambda: server.get("/health?full=1").json()["queue"]["requests"] >= 2, "the wait")
    connection.close()
    wait_until(lambda: server.get("/health?full=1").json()["queue"]["requests"] == 1, "its end")


@pytest.mark.host
def test_waits_end_with_the_server(server):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.post("/wait_port", port=1, timeout_ms=10 ** 9)))
    thread.start()
    wait_until(lambda: server.get("/health?full=1").json()["queue"]["requests"] >= 2, "the wait")
    server.stop()
    thread.join()
    assert (answers[0].status_code, answers[0].json()["error_code"]) == (503, "stopping")


# ---- starting ----


def started(sandbox, cmd, **members):
    answer = sandbox.post("/start_process", cmd=cmd, **members)
    assert answer.status_code == 201, answer.text
    sandbox.started.append(answer.json()["id"])
    return answer.json()


def test_starting_a_server(sandbox, port):
    answer = started(sandbox, command().replace("(address, 0)", f"(address, {port})"), wait_port=port, wait_timeout_ms=LONG)
    assert list(answer) == ["id", "pid", "status", "listening"] and (answer["status"], answer["listening"]) == ("running", True)
    assert entry(sandbox, port)["id"] == answer["id"]


def test_starting_what_does_not_listen_in_time(sandbox, port):
    answer = started(sandbox, "exec sleep 86400", wait_port=port, wait_timeout_ms=50)
    assert (answer["status"], answer["listening"]) == ("running", False)
    assert sandbox.status(answer["id"]) == "running"


@pytest.mark.parametrize("cmd, end", [("exit 7", {"status": "failed", "exit_code": 7, "reason": "exit"}),
                                      ("true", {"status": "completed", "exit_code": 0, "reason": "exit"}),
                                      ("kill -9 $$", {"status": "failed", "exit_code": -1, "signal": "SIGKILL", "reason": "signal"})])
def test_starting_what_ends(sandbox, port, cmd, end):
    answer = started(sandbox, cmd, wait_port=port, wait_timeout_ms=LONG)
    assert TIME.fullmatch(answer.pop("ended_at")) and isinstance(answer.pop("pid"), int)
    assert answer == {"id": answer["id"], "listening": False, **end}


def test_another_server_that_listens_already_does_not_count(sandbox, listen):
    job = listen()
    answer = started(sandbox, command().replace("(address, 0)", f"(address, {job.port})"), wait_port=job.port, wait_timeout_ms=LONG)
    assert (answer["status"], answer["listening"], answer["exit_code"]) == ("failed", False, 1)


def test_a_time_to_wait_without_a_port(sandbox):
    answer = sandbox.post("/start_process", cmd="true", wait_timeout_ms=5)
    assert (answer.status_code, answer.json()["error"]) == (400, "wait_timeout_ms goes with wait_port")


@pytest.mark.host
def test_a_start_that_waits_is_answered_by_a_server_that_stops(server):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.post("/start_process", cmd="exec sleep 86400", wait_port=1, wait_timeout_ms=10 ** 9)))
    thread.start()
    wait_until(lambda: server.processes(), "the process")
    server.stop()
    thread.join()
    assert answers[0].status_code == 201 and answers[0].json()["listening"] is False


@pytest.mark.host
def test_waits_leave_the_workers_free(server):
    """More of them than there are threads for short requests."""
    def wait(number):
        return server.post("/start_process", cmd="exec sleep 86400", wait_port=1, wait_timeout_ms=3000).json()["listening"]

    results = []
    thread = threading.Thread(target=lambda: results.extend(in_threads(20, wait)))
    thread.start()
    wait_until(lambda: len(server.processes()) == 20, "all of them")
    assert server.shell("echo fine") == "fine\n"
    thread.join()
    assert results == [False] * 20
