"""A client that hangs up ends its command and the whole tree of it, and nothing else."""

import concurrent.futures
import json

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
