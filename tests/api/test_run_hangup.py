"""A client that hangs up ends its command and the whole tree of it, and nothing else."""

import concurrent.futures
import json
import os
import signal

import pytest

from sandbox import SANITIZED, EventStream, descriptors, http_request, in_threads, proc_file, wait_until
from trees import TREES, plant


def call(sandbox, path, fields):
    """A request whose answer is not read: the raw connection."""
    raw = sandbox.raw()
    body = json.dumps(fields).encode()
    raw.send(http_request("POST", path, [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(body)))], body))
    return raw


def hang_up(raw, reset=False):
    if reset:
        raw.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: on, 0 s: close() sends RST
    raw.socket.close()


@pytest.mark.parametrize("path", ["/run", "/run_streaming"])
@pytest.mark.parametrize("kind", TREES)
def test_the_whole_tree_dies(sandbox, marker, path, kind):
    fields, count = plant(kind, marker)
    raw = call(sandbox, path, fields)
    marker.sleeping(sandbox, count)
    hang_up(raw)
    marker.gone(sandbox)


@pytest.mark.parametrize("path", ["/run", "/run_streaming"])
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("phase", ["silent", "after a line", "half-way through reading", "while the pipes are full"])
def test_at_each_phase(sandbox, marker, path, reset, phase):
    write = {
        "silent": "",
        "after a line": "echo line;",
        "half-way through reading": "head -c 3000000 /dev/zero | tr '\\0' x;",
        "while the pipes are full": f"(yes; : {marker.text}) & (yes >&2; : {marker.text}) &",
    }[phase]
    raw = call(sandbox, path, {"cmd": f"{write} {marker.sleep} & setsid {marker.sleep}"})
    marker.sleeping(sandbox, 2)
    if phase == "half-way through reading" and path == "/run_streaming":
        raw.socket.recv(1000)  # the line is not complete yet, but the head of the answer is there
    if phase == "half-way through reading" and path == "/run":
        for _ in range(100):
            raw.socket.recv(1000)
    hang_up(raw, reset)
    marker.gone(sandbox)


@pytest.mark.parametrize("path", ["/run", "/run_streaming"])
def test_while_it_is_being_started(sandbox, make_marker, path):
    """At no moment between the request and the running command does a hang-up leave one behind."""
    markers = [make_marker() for _ in range(60)]

    def one(number):
        hang_up(call(sandbox, path, {"cmd": f"setsid {markers[number].sleep} & {markers[number].sleep}"}))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(len(markers))))
    sandbox.shell("true")
    for marker in markers:
        marker.gone(sandbox)


def test_half_a_request_starts_nothing(sandbox, marker):
    body = json.dumps({"cmd": marker.sleep}).encode()
    raw = sandbox.raw()
    raw.send(http_request("POST", "/run", [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(body)))], body[:-1]))
    sandbox.shell("true")
    hang_up(raw)
    sandbox.shell("true")
    assert not marker.pids(sandbox)


@pytest.mark.parametrize("path", ["/run", "/run_streaming"])
def test_only_the_right_one_dies(sandbox, make_marker, workdir, path):
    gone, kept = make_marker(), make_marker()
    left = call(sandbox, path, {"cmd": f"{gone.sleep} & setsid {gone.sleep}"})
    waiting = f"setsid {kept.sleep} & while [ ! -e {workdir}/go ]; do sleep 0.02; done; echo finished"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(sandbox.run, waiting)
        gone.sleeping(sandbox, 2)
        kept.sleeping(sandbox)
        job = sandbox.start(f"while [ ! -e {workdir}/go ]; do sleep 0.02; done; echo job")
        with sandbox.stream(waiting.replace("setsid " + kept.sleep, "true")) as stream:
            hang_up(left)
            gone.gone(sandbox)
            assert kept.sleeping(sandbox)
            sandbox.shell(f"touch {workdir}/go")
            assert answer.result()["stdout"] == "finished\n"
            assert [event.name for event in stream] == ["output", "complete"]
        assert sandbox.lines(job["id"]) == ["job"]


def test_an_earlier_runs_leftovers_are_not_of_this_tree(sandbox, make_marker):
    earlier, later = make_marker(), make_marker()
    for _ in range(5):
        sandbox.run(f"{earlier.sleep} &")
    raw = call(sandbox, "/run", {"cmd": later.sleep})
    later.sleeping(sandbox)
    hang_up(raw)
    later.gone(sandbox)
    earlier.sleeping(sandbox, 5)


def test_a_finished_stream_that_is_closed_kills_nothing(sandbox, marker):
    with sandbox.stream(f"{marker.sleep} & echo x") as stream:
        assert stream.events()[-1].name == "complete"
    sandbox.shell("true")
    assert marker.sleeping(sandbox)


def test_background_processes_survive_their_clients(sandbox, marker):
    raw = call(sandbox, "/start_process", {"cmd": marker.sleep})
    marker.sleeping(sandbox)
    hang_up(raw)
    identifier = sandbox.processes()[-1]["id"]
    for _ in range(5):
        with sandbox.logs(identifier):
            pass
    sandbox.shell("true")
    assert marker.sleeping(sandbox)
    sandbox.kill(identifier)


# Takes a lock. On SIGTERM it fills its pipe with a last message and gives the lock back.
LOCKED = "trap 'yes | head -c 300000; echo over; rm lock; exit' TERM; touch lock; echo locked; {sleep} & while :; do wait; done"


def entries(sandbox, workdir):
    return sandbox.post("/list_dir", path=str(workdir)).json()["entries"]


@pytest.mark.parametrize("path", ["/run", "/run_streaming"])
def test_a_grace_is_granted(sandbox, marker, workdir, path):
    """With kill_grace_ms a hang-up is SIGTERM first: a command that removes its lock file then has the time for it."""
    fields = {"cmd": LOCKED.format(sleep=marker.sleep), "cwd": str(workdir), "kill_grace_ms": 600_000}
    raw = call(sandbox, path, fields)
    marker.sleeping(sandbox)
    hang_up(raw)
    marker.gone(sandbox)
    wait_until(lambda: entries(sandbox, workdir) == [], "the removal of the lock file")


@pytest.mark.parametrize("grace", [{}, {"kill_grace_ms": 0}, {"kill_grace_ms": None}], ids=str)
def test_no_grace_is_granted_unasked(sandbox, marker, workdir, grace):
    """Without it a hang-up is SIGKILL at once, though a timeout has a grace of its own."""
    raw = call(sandbox, "/run", {"cmd": LOCKED.format(sleep=marker.sleep), "cwd": str(workdir), "timeout_ms": 600_000, **grace})
    marker.sleeping(sandbox)
    hang_up(raw)
    marker.gone(sandbox)
    assert entries(sandbox, workdir) == ["lock"]


@pytest.mark.parametrize("path", ["/run", "/run_streaming"])
@pytest.mark.parametrize("kind", TREES)
def test_a_grace_ends(sandbox, marker, path, kind):
    """What ignores SIGTERM is killed when the grace is over, all of the tree."""
    fields, count = plant(kind, marker)
    raw = call(sandbox, path, {**fields, "kill_grace_ms": 300})
    marker.sleeping(sandbox, count)
    hang_up(raw)
    marker.gone(sandbox)


def test_a_hang_up_in_the_grace_of_a_timeout(sandbox, marker, workdir):
    """It makes the grace no longer, and SIGTERM comes once."""
    cmd = f"trap 'echo >> {workdir}/terms' TERM; {marker.sleep} & {marker.sleep} & while :; do wait; sleep 0.02; done"
    raw = call(sandbox, "/run", {"cmd": cmd, "timeout_ms": 500, "kill_grace_ms": 1500})
    wait_until(lambda: "terms" in entries(sandbox, workdir), "SIGTERM")
    hang_up(raw)
    wait_until(lambda: not sandbox.find(f"{workdir}/terms"), "the end of the command")
    assert sandbox.shell(f"wc -l < {workdir}/terms").strip() == "1"


def marker_pids(marker):
    """As marker.pids(), without a command of the server's."""
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and marker.text.encode() in proc_file(int(pid), "cmdline")]


@pytest.mark.host
def test_a_place_is_free_when_the_tree_is_gone(make_server, make_marker):
    """As long as something of a command that was hung up on runs in its grace, its place is taken, and no longer."""
    server, marker = make_server({"SANDBOX_MAX_RUNS": "1"}), make_marker()
    raw = call(server, "/run_streaming", {"cmd": f"trap '' TERM; {marker.sleep}", "kill_grace_ms": 600_000})
    pids = wait_until(lambda: len(found := marker_pids(marker)) == 2 and found, "the command")
    hang_up(raw)
    for _ in range(20):
        assert server.call("POST", "/run", {"cmd": "true"}).status_code == 429
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: server.call("POST", "/run", {"cmd": "true"}).status_code == 200, "the place")


@pytest.mark.host
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_end_of_fcgi_app_is_a_hang_up(server, marker, tmp_path, number):
    """The daemon dies or is stopped: its commands have their grace all the same, and the stop does not wait for it."""
    raw = call(server, "/run", {"cmd": LOCKED.format(sleep=marker.sleep), "cwd": str(tmp_path), "kill_grace_ms": 600_000})
    stubborn = call(server, "/run", {"cmd": f"trap '' TERM; touch stubborn; {marker.sleep}; touch late",
                                     "cwd": str(tmp_path), "kill_grace_ms": 600_000})
    marker.sleeping(server, 2)
    server.kill_daemon("fcgi-app", number)
    wait_until(lambda: sorted(os.listdir(tmp_path)) == ["stubborn"], "the removal of the lock file")
    server.healthy()
    assert len(marker.sleeping(server)) == 1
    hang_up(raw)
    hang_up(stubborn)


def test_a_command_that_reads_its_own_output(sandbox, marker):
    """It takes what was reported to the server, which does not wait for it then: a hang-up is noticed, in a stream and in an
    answer, and a job can be killed."""
    own = f"exec 3</proc/self/fd/1; : {marker.text}; while :; do echo x; read -r line <&3; done"
    for path in ("/run", "/run_streaming"):
        raw = call(sandbox, path, {"cmd": own})
        wait_until(lambda: marker.pids(sandbox), "the command")
        hang_up(raw)
        marker.gone(sandbox)
    job = sandbox.start(own)["id"]
    assert sandbox.kill(job).status_code == 200
    assert sandbox.status(job) == "killed"


def blocks(pid, number):
    flags = next(line for line in proc_file(pid, f"fdinfo/{number}").splitlines() if line.startswith(b"flags:"))
    return not int(flags.split()[1], 8) & os.O_NONBLOCK


@pytest.mark.host
def test_no_pipe_of_a_command_can_block_the_server(server, make_marker):
    """A command may open its own pipe for reading and take what poll(2) has reported to the server. So all read ends of the server are
    non-blocking, of runs, streams, jobs and what these leave running; what the command itself has blocks, as it expects."""
    markers = [make_marker() for _ in range(5)]
    raws = [call(server, path, {"cmd": f"exec {marker.sleep}"}) for path, marker in zip(("/run", "/run_streaming"), markers)]
    server.start(f"exec {markers[2].sleep}")
    assert server.run(f"{markers[3].sleep} &")["code"] == 0
    assert server.lines(server.start(f"{markers[4].sleep} &")["id"]) == []
    for marker in markers:
        pid, = marker.sleeping(server)
        for number in (1, 2):
            pipe = os.readlink(f"/proc/{pid}/fd/{number}")
            assert pipe.startswith("pipe:") and blocks(pid, number)
            ends = [(other, end) for other in server.launch.tree() if other != pid
                    for end in os.listdir(f"/proc/{other}/fd") if os.path.realpath(f"/proc/{other}/fd/{end}").endswith(pipe)]
            assert ends and not any(blocks(*end) for end in ends), (marker.sleep, ends)
    for raw in raws:
        hang_up(raw)


@pytest.mark.parametrize("path", ["/run", "/run_streaming"])
def test_half_closing(sandbox, marker, path):
    """A client that shuts down its sending side has left, or is answered; either way its connection ends."""
    raw = call(sandbox, path, {"cmd": f"{marker.sleep} & sleep 2; echo done"})
    marker.sleeping(sandbox)
    if b"done" not in raw.drain():
        wait_until(lambda: not marker.pids(sandbox), "the end of the command")


def test_a_hung_up_reader_of_much_output(sandbox, marker):
    """100 clients at once leave in the middle of an endless answer."""
    def one(_):
        with EventStream(sandbox, "POST", "/run_streaming", {"cmd": f"yes {marker.text}"}) as stream:
            stream.next()

    in_threads(20, one)
    marker.gone(sandbox)


@pytest.mark.host
@pytest.mark.slow
def test_hundreds_of_hangups_leave_nothing(server, make_marker):
    def hangups(count):
        marker = make_marker()

        def one(number):
            path = ("/run", "/run_streaming")[number % 2]
            fields = {"cmd": f"echo x; echo y >&2; {marker.sleep} & setsid {marker.sleep}"}
            raw = call(server, path, fields)
            if number % 3:
                raw.socket.recv(1) if path == "/run_streaming" else wait_until(lambda: marker.pids(server), "the command")
            hang_up(raw, reset=number % 5 == 0)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(one, range(count)))
        marker.gone(server)

    def usage():
        server.shell("true")
        pids = server.launch.tree()
        return len(pids), sum(len(descriptors(pid)) for pid in pids)

    def memory():
        fields = dict(line.split(":", 1) for line in proc_file(server.daemon("fcgi-app"), "status").decode().splitlines())
        return int(fields["RssAnon"].split()[0])

    hangups(100)  # pools and caches are warm after that
    processes, files = usage()
    used = memory()
    hangups(500)
    wait_until(lambda: usage()[0] <= processes + 2, f"no more than {processes} processes", 2 * 5)
    wait_until(lambda: usage()[1] <= files + 20, f"no more than {files} descriptors", 2 * 5)
    assert SANITIZED or memory() <= used + 8192, "KiB of anonymous memory"


def test_a_half_closed_connection_is_a_hang_up(sandbox, marker):
    """The end of what a client sends is the end of the client to nginx: no answer, and the command ends. docs/api.md says so."""
    with sandbox.raw() as raw:
        body = json.dumps({"cmd": marker.sleep}).encode()
        headers = [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(body)))]
        raw.send(http_request("POST", "/run", headers, body))
        marker.sleeping(sandbox)
        assert raw.drain() == b""
    marker.gone(sandbox)


@pytest.mark.parametrize("method, path, body", [
    ("GET", "/health", None), ("GET", "/list_processes", None), ("POST", "/list_dir", {"path": "/"}), ("POST", "/stat_file", {"path": "/"}),
    ("POST", "/write_file", {"path": "half-closed", "content": "x" * 100_000}), ("POST", "/start_process", {"cmd": "true"}),
], ids=lambda value: value if isinstance(value, str) and value.startswith("/") else "")
def test_a_half_closed_connection_is_answered(sandbox, workdir, method, path, body):
    """A client that says no more waits for its answer all the same, where no command would go on for nobody."""
    if body and not body.get("path", "/").startswith("/"):
        body["path"] = f"{workdir}/{body['path']}"
    data = b"" if body is None else json.dumps(body).encode()
    with sandbox.raw() as raw:
        raw.send(http_request(method, path, [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(data)))], data))
        assert raw.drain().startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 201 "))
