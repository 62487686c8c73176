"""GET /list_runs and POST /kill_run: the commands that clients wait for, those that have ended, and how."""

import json
import os
import signal
import threading
import uuid

import pytest

from sandbox import BIG_TIMEOUT, RawConnection, http_request, in_threads, wait_until

MEMBERS = ["id", "pid", "status", "endpoint", "request_id", "command", "started_at", "ended_at", "reason", "exit_code", "signal", "duration_ms", "cpu_user_ms",
           "cpu_system_ms", "max_rss_kb"]


def listed(server):
    answer = server.get("/list_runs")
    assert answer.status_code == 200, answer.text
    runs = answer.json()["runs"]
    assert all(list(run) == MEMBERS for run in runs)
    assert all((run["status"] == "running") == (run["reason"] is None) == (run["ended_at"] is None) for run in runs)
    return runs


def find(server, request_id):
    found = [run for run in listed(server) if run["request_id"] == request_id]
    return found[0] if found else None


class Run(threading.Thread):
    """A request in a thread of its own; its answer, or what became of it."""

    def __init__(self, server, path="/run", **fields):
        super().__init__(daemon=True)
        self.server, self.path, self.fields = server, path, fields
        self.request_id = uuid.uuid4().hex
        self.answer = self.error = None
        self.start()

    def run(self):
        try:
            self.answer = self.server.call("POST", self.path, self.fields, headers={"X-Request-ID": self.request_id}, timeout=BIG_TIMEOUT)
        except Exception as error:
            self.error = error

    def entry(self):
        return find(self.server, self.request_id)

    def running(self):
        """Waits until the list has it, and returns its entry."""
        entry = wait_until(self.entry, "the run to be listed")
        assert entry["status"] == "running", entry
        return entry

    def end(self):
        self.join(BIG_TIMEOUT)
        assert not self.is_alive() and self.error is None, self.error
        return self.answer


def kill(server, identifier):
    return server.post("/kill_run", id=identifier)


@pytest.mark.parametrize("path", ["/run", "/run_streaming"])
def test_a_run(sandbox, marker, path):
    run = Run(sandbox, path, cmd=f"echo x; exec {marker.sleep}")
    entry = run.running()
    assert entry["endpoint"] == path and entry["command"] == f"echo x; exec {marker.sleep}"
    assert marker.sleeping(sandbox) == [entry["pid"]]
    assert all(entry[name] is None for name in MEMBERS[7:])
    answer = kill(sandbox, entry["id"])
    assert answer.status_code == 200 and answer.json() == {"success": True, "message": "Run killed successfully"}
    assert not marker.pids(sandbox)
    answer = run.end()
    assert answer.status_code == 200 and "SIGKILL" in answer.text and '"reason":"killed"' in answer.text
    if path == "/run":
        assert answer.json()["stdout"] == "x\n" and answer.json()["code"] == -1
    after = run.entry()
    assert after["id"] == entry["id"] and (after["reason"], after["exit_code"], after["signal"]) == ("killed", -1, "SIGKILL")
    again = kill(sandbox, entry["id"])
    assert again.status_code == 409
    assert again.json() == {"success": False, "error": "run is not running (killed)", "error_code": "not_running"}


def test_the_record_of_the_end(sandbox):
    for cmd, reason, code, name in (("exit 3", "exit", 3, None), ("kill -TERM $$", "signal", -1, "SIGTERM"), ("sleep 60", "timeout", -1, "SIGTERM")):
        run = Run(sandbox, cmd=cmd, timeout_ms=300)
        answer = run.end().json()
        entry = run.entry()
        assert (entry["reason"], entry["exit_code"], entry["signal"]) == (reason, code, name)
        assert all(entry[member] == answer[member] for member in ("reason", "duration_ms", "max_rss_kb"))
        assert entry["started_at"] <= entry["ended_at"] and entry["status"] == "ended"


def test_all_that_it_started_dies(sandbox, marker):
    run = Run(sandbox, cmd=f"setsid {marker.sleep} & (trap '' TERM; {marker.sleep}) & echo up; {marker.sleep}")
    entry = run.running()
    marker.sleeping(sandbox, 3)
    assert kill(sandbox, entry["id"]).status_code == 200
    marker.gone(sandbox)
    assert run.end().json()["stdout"] == "up\n"


def test_output_of_a_killed_run_is_whole(sandbox):
    """All that was written before the end is in the answer."""
    run = Run(sandbox, cmd="seq 100000; echo e >&2; exec sleep 86400")
    entry = run.running()
    wait_until(lambda: sandbox.shell(f"cat /proc/{entry['pid']}/comm") == "sleep\n", "seq to end")
    assert kill(sandbox, entry["id"]).status_code == 200
    answer = run.end().json()
    assert answer["stdout"] == "".join(f"{number}\n" for number in range(1, 100_001)) and answer["stderr"] == "e\n"


def test_a_slow_reader_is_killed_all_the_same(sandbox, marker):
    body = json.dumps({"cmd": f"yes; {marker.sleep}"}).encode()
    request_id = uuid.uuid4().hex
    with RawConnection(sandbox.host, sandbox.port) as connection:
        headers = [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(body))), ("X-Request-ID", request_id)]
        connection.send(http_request("POST", f"{sandbox.path}/run", headers, body))
        entry = wait_until(lambda: find(sandbox, request_id), "the run to be listed")
        assert kill(sandbox, entry["id"]).status_code == 200
    wait_until(lambda: find(sandbox, request_id)["status"] == "ended", "its end")


def test_a_client_that_hangs_up(sandbox, marker):
    request_id = uuid.uuid4().hex
    body = json.dumps({"cmd": marker.sleep}).encode()
    with RawConnection(sandbox.host, sandbox.port) as connection:
        headers = [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(body))), ("X-Request-ID", request_id)]
        connection.send(http_request("POST", f"{sandbox.path}/run", headers, body))
        entry = wait_until(lambda: find(sandbox, request_id), "the run to be listed")
        assert entry["status"] == "running"
    wait_until(lambda: find(sandbox, request_id)["status"] == "ended", "its end")
    entry = find(sandbox, request_id)
    assert (entry["reason"], entry["exit_code"], entry["signal"]) == ("cancelled", -1, "SIGKILL")
    assert kill(sandbox, entry["id"]).json()["error"] == "run is not running (cancelled)"


def test_what_is_shown_of_a_command(sandbox):
    for fields, shown in (({"cmd": ""}, ""), ({"argv": ["echo", "a b", "it's"]}, "echo 'a b' 'it'\\''s'"), ({"cmd": "true \x01\u2028ü"}, "true \x01\u2028ü")):
        run = Run(sandbox, **fields)
        run.end()
        assert run.entry()["command"] == shown
    for fields in ({"cmd": ": " + "ü" * 1000}, {"cmd": ": x" + "ü" * 1000}, {"argv": ["true", "ü" * 1000]}):
        run = Run(sandbox, **fields)
        run.end()
        shown = run.entry()["command"]
        assert shown.endswith("ü…") and 500 <= len(shown.encode()) < 512


def test_what_is_no_run(sandbox):
    for identifier in ("x", "0", "-1", "00000000-1", "ffffffff-99999999999999999999", "../x", "x" * 10_000, "%08x-1"):
        answer = kill(sandbox, identifier)
        assert answer.status_code == 404 and answer.json()["error_code"] == "not_found", identifier
    assert sandbox.post("/kill_run").status_code == 400
    assert sandbox.post("/kill_run", id=1).status_code == 400
    # Neither a job nor the server's own tar is one.
    job = sandbox.start("true")
    sandbox.ended(job["id"])
    assert not [run for run in listed(sandbox) if run["pid"] == job["pid"] and run["command"] == "true" and run["id"] == job["id"]]


def test_of_several_kills_one_has_done_it(sandbox, marker):
    run = Run(sandbox, cmd=marker.sleep)
    entry = run.running()
    answers = in_threads(8, lambda _: kill(sandbox, entry["id"]).status_code)
    assert sorted(answers) == [200] + [409] * 7
    assert run.end().json()["reason"] == "killed"


def test_a_kill_meets_no_other_command(server):
    """The runner of a command that has ended takes the next one: a late order must not end that."""
    def one(number):
        for _ in range(15):
            run = Run(server, cmd=f"echo {number}; sleep 0.0{number % 3}")
            entry = run.entry()
            killed = kill(server, entry["id"]).status_code if entry is not None and number % 2 else None
            answer = run.end().json()
            assert (answer["reason"], answer["code"]) in (("exit", 0), ("killed", -1))
            if answer["reason"] == "killed":
                assert killed == 200
            elif killed is not None:
                assert killed == 409
            assert number % 2 or answer["reason"] == "exit"
        return True

    assert all(in_threads(6, one))


def test_the_last_are_kept(server):
    ids = []
    for number in range(230):
        server.call("POST", "/run", {"argv": ["true", str(number)]}, headers={"X-Request-ID": f"r{number}"})
        ids.append(f"r{number}")
    runs = listed(server)
    assert [run["request_id"] for run in runs] == ids[-200:]
    assert len({run["id"] for run in runs}) == 200


def test_what_runs_is_listed_however_many_have_ended(server, marker):
    run = Run(server, cmd=marker.sleep)
    first = run.running()
    for _ in range(205):
        server.run("true")
    runs = listed(server)
    assert len(runs) == 201 and runs[0] == first
    assert kill(server, first["id"]).status_code == 200
    assert run.end().json()["reason"] == "killed"
    assert listed(server)[0]["reason"] == "killed" and len(listed(server)) == 200


def test_more_than_the_table_has(make_server):
    server = make_server({"SANDBOX_MAX_RUNS": "3"})
    runs = [Run(server, cmd="exec sleep 86400") for _ in range(3)]
    entries = [run.running() for run in runs]
    assert server.post("/run", cmd="true").status_code == 429
    assert kill(server, entries[1]["id"]).status_code == 200
    assert runs[1].end().json()["reason"] == "killed"
    assert wait_until(lambda: server.post("/run", cmd="true").status_code == 200, "a place")
    assert {run["id"] for run in listed(server) if run["status"] == "running"} == {entries[0]["id"], entries[2]["id"]}
    for entry in (entries[0], entries[2]):
        assert kill(server, entry["id"]).status_code == 200


def test_fcgi_app_dies(server, marker):
    ended = Run(server, cmd="exit 4")
    ended.end()
    before = ended.entry()
    run = Run(server, cmd=marker.sleep)
    entry = run.running()
    old = server.kill_daemon("fcgi-app")
    server.back("fcgi-app", old)
    marker.gone(server)
    after = run.entry()
    assert after["id"] == entry["id"] and after["reason"] == "lost" and after["exit_code"] is None and after["ended_at"] >= entry["started_at"]
    assert ended.entry() == before
    assert kill(server, entry["id"]).json()["error"] == "run is not running (lost)"
    more = Run(server, cmd="true")
    more.end()
    runs = listed(server)
    assert [run["request_id"] for run in runs] == [ended.request_id, run.request_id, more.request_id]
    assert len({run["id"] for run in runs}) == 3


def test_procd_dies(server, marker):
    run = Run(server, cmd=marker.sleep)
    entry = run.running()
    old = server.kill_daemon("procd")
    server.back("procd", old)
    assert run.entry() == entry
    assert kill(server, entry["id"]).status_code == 200
    assert run.end().json()["reason"] == "killed"


def test_a_runner_dies(server, marker):
    run = Run(server, cmd=f"echo x; exec {marker.sleep}")
    entry = run.running()
    (pid,) = marker.sleeping(server)
    parent = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
    os.kill(parent, signal.SIGKILL)
    run.join(BIG_TIMEOUT)
    wait_until(lambda: run.entry()["status"] == "ended", "its end")
    after = run.entry()
    assert after["id"] == entry["id"] and after["reason"] == "lost" and after["exit_code"] is None


def test_a_stop_of_fcgi_app(server, marker):
    run = Run(server, cmd=marker.sleep)
    run.running()
    server.supervise("fcgi-app", "d")
    server.supervise("fcgi-app", "u")
    server.healthy()
    assert run.entry()["reason"] in ("stopping", "lost")


def test_a_table_that_is_nonsense(server):
    """Any command may write to it, and a full disk may have left a part."""
    server.run("true")
    path = server.run_dir / "runs"
    size = path.stat().st_size
    for content in (os.urandom(size), path.read_bytes()[:64] + os.urandom(size - 64), b"", path.read_bytes()[:100]):
        server.supervise("fcgi-app", "d")
        path.write_bytes(content)
        server.supervise("fcgi-app", "u")
        server.healthy()
        answer = server.get("/list_runs")
        assert answer.status_code == 200 and isinstance(answer.json()["runs"], list)
        run = Run(server, cmd="true")
        run.end()
        assert run.entry()["reason"] == "exit"


def test_without_a_file(server):
    server.run("true")
    path = server.run_dir / "runs"
    server.supervise("fcgi-app", "d")
    path.unlink()
    path.mkdir()
    server.supervise("fcgi-app", "u")
    server.healthy()
    run = Run(server, cmd="true")
    run.end()
    assert [entry["request_id"] for entry in listed(server)] == [run.request_id]
    path.rmdir()
