"""How background processes end, and the reports of it: signals, grace, timeouts, waiting, forgetting, retention."""

import concurrent.futures
import datetime
import re
import time

import pytest

from sandbox import DEADLINE, TIMEOUT, alive, descriptors, in_threads, wait_until
from trees import TREES, plant

KILLED = {"success": True, "message": "Process killed successfully"}
SIGNALLED = {"success": True, "message": "Signal sent"}
UNKNOWN = "550e8400-e29b-41d4-a716-446655440000"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
END = ("ended_at", "exit_code", "signal", "reason", "cpu_user_ms", "cpu_system_ms", "max_rss_kb")


def get(sandbox, identifier):
    answer = sandbox.get(f"/get_process?id={identifier}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait(sandbox, identifier, **fields):
    answer = sandbox.call("POST", "/wait_process", {"id": identifier, **fields}, timeout=6 * TIMEOUT)
    assert answer.status_code == 200, answer.text
    return answer.json()


def end(process):
    return process["status"], process["exit_code"], process["signal"], process["reason"]


def moment(text):
    assert TIME.fullmatch(text), text
    return datetime.datetime.fromisoformat(text[:26] + "+00:00")


# ---- the reports ----


def test_a_running_process(sandbox):
    identifier = sandbox.start("sleep 86400", cwd="/usr/bin")["id"]
    process = get(sandbox, identifier)
    assert list(process) == ["id", "pid", "status", "command", "cwd", "started_at", *END, "log_first_id", "log_next_id", "lines_dropped", "left"]
    assert (process["id"], process["status"], process["command"], process["cwd"]) == (identifier, "running", "sleep 86400", "/usr/bin")
    assert alive(process["pid"]) or not sandbox.local
    assert all(process[name] is None for name in END)
    now = datetime.datetime.now(datetime.timezone.utc)
    assert abs(moment(process["started_at"]) - now) < datetime.timedelta(hours=1)


@pytest.mark.parametrize("command, expected", [
    ("true", ("completed", 0, None, "exit")), ("exit 3", ("failed", 3, None, "exit")), ("exit 255", ("failed", 255, None, "exit")),
    ("kill -SEGV $$", ("failed", -1, "SIGSEGV", "signal")), ("kill -KILL $$", ("failed", -1, "SIGKILL", "signal")),
    ("kill -TERM $$", ("failed", -1, "SIGTERM", "signal")),
])
def test_an_end(sandbox, command, expected):
    process = wait(sandbox, sandbox.start(command)["id"])
    assert end(process) == expected
    assert moment(process["ended_at"]) >= moment(process["started_at"])
    assert all(type(process[name]) is int and process[name] >= 0 for name in ("cpu_user_ms", "cpu_system_ms", "max_rss_kb"))
    assert process["max_rss_kb"] > 100


def test_the_full_list_says_the_same(sandbox):
    identifiers = [sandbox.start(command)["id"] for command in ("true", "exit 1", "sleep 86400")]
    for identifier in identifiers[:2]:
        wait(sandbox, identifier)
    listed = {process["id"]: process for process in sandbox.processes(full=True)}
    for identifier in identifiers:
        assert listed[identifier] == get(sandbox, identifier)


def test_cpu_and_memory_are_those_of_the_command(sandbox):
    busy = wait(sandbox, sandbox.start("i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done")["id"])
    assert busy["cpu_user_ms"] + busy["cpu_system_ms"] > 50
    large = wait(sandbox, sandbox.start("exec python3 -c 'x = bytearray(100_000_000)'")["id"])
    assert large["max_rss_kb"] > 90_000


@pytest.mark.parametrize("cwd, told", [("/tmp", "/tmp"), (None, None), ("/", "/"), ("/usr/../usr/bin", "/usr/../usr/bin")])
def test_cwd(sandbox, cwd, told):
    process = wait(sandbox, sandbox.start("pwd", cwd=cwd)["id"])
    assert process["cwd"] == (told or sandbox.shell("pwd").strip())


def test_a_relative_cwd_is_told_in_full(sandbox, workdir):
    start = sandbox.shell("pwd").strip()
    relative = "../" * start.count("/") + workdir.lstrip("/")
    process = wait(sandbox, sandbox.start("pwd", cwd=relative)["id"])
    assert process["cwd"] == f"{start}/{relative}" and sandbox.lines(process["id"]) == [workdir]


@pytest.mark.parametrize("query, status", [("", 400), ("?id=", 400), (f"?id={UNKNOWN}", 404), ("?id=nonsense", 404), ("?id=..%2f..", 404)])
def test_get_of_what_is_not_there(sandbox, query, status):
    answer = sandbox.get("/get_process" + query)
    assert answer.status_code == status and answer.json()["error"]


def test_head_of_get(sandbox):
    identifier = sandbox.start("true")["id"]
    answer = sandbox.call("HEAD", f"/get_process?id={identifier}")
    assert answer.status_code == 200 and answer.content == b""


# ---- waiting ----


def test_wait_answers_when_it_ends(sandbox, workdir):
    identifier = sandbox.start(f"while [ ! -e {workdir}/go ]; do sleep 0.01; done; exit 5")["id"]
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(wait, sandbox, identifier, timeout_ms=600_000) for _ in range(5)]
        wait_until(lambda: all(future.running() for future in waiting), "the waiting")
        assert get(sandbox, identifier)["status"] == "running"
        sandbox.shell(f"touch {workdir}/go")
        ends = [future.result(TIMEOUT) for future in waiting]
    assert [end(process) for process in ends] == [("failed", 5, None, "exit")] * 5
    assert wait(sandbox, identifier) == ends[0]


def test_wait_that_is_over_before(sandbox):
    identifier = sandbox.start("sleep 86400")["id"]
    for timeout in (0, 50):
        assert wait(sandbox, identifier, timeout_ms=timeout)["status"] == "running"


def test_wait_for_what_is_not_there(sandbox):
    assert sandbox.post("/wait_process", id=UNKNOWN).status_code == 404
    assert sandbox.post("/wait_process").status_code == 400
    for value in ("1", -1, 1.5, True, [], 1e3):
        answer = sandbox.post("/wait_process", id=UNKNOWN, timeout_ms=value)
        assert answer.status_code == 400 and "timeout_ms" in answer.json()["error"]


@pytest.mark.host
def test_wait_outlives_procd(server, tmp_path):
    identifier = server.start(f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; exit 6")["id"]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait, server, identifier)
        wait_until(waiting.running, "the waiting")
        server.back("procd", server.kill_daemon("procd"))
        (tmp_path / "go").touch()
        assert end(waiting.result(TIMEOUT)) == ("failed", 6, None, "exit")


@pytest.mark.host
def test_a_waiter_that_leaves_is_forgotten(server):
    """Neither fcgi-app nor procd keeps anything of it."""
    identifier = server.start("sleep 86400")["id"]
    for _ in range(30):
        with server.raw() as raw:
            body = b'{"id": "%s"}' % identifier.encode()
            raw.send(b"POST /wait_process HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s" % (server.authorization, len(body), body))
    procd = server.daemon("procd")
    wait_until(lambda: sum("socket:" in link for link in descriptors(procd)) < 25, "the connections of the waiters to go")
    assert server.kill(identifier).json() == KILLED




# ---- signals ----


@pytest.mark.parametrize("signal", ["TERM", "SIGTERM", "term", 15, "15"])
def test_a_signal_that_ends_it(sandbox, signal):
    identifier = sandbox.start("sleep 86400")["id"]
    answer = sandbox.post("/kill_process", id=identifier, signal=signal)
    assert (answer.status_code, answer.json()) == (200, SIGNALLED)
    assert end(wait(sandbox, identifier)) == ("killed", -1, "SIGTERM", "killed")


def test_a_signal_that_does_not_end_it(sandbox, workdir):
    script = f"trap 'echo usr1' USR1; trap 'echo hup' HUP; touch {workdir}/ready; while [ ! -e {workdir}/end ]; do sleep 0.01; done; exit 4"
    identifier = sandbox.start(script)["id"]
    wait_until(lambda: sandbox.run(f"test -e {workdir}/ready")["code"] == 0, "the traps")
    with sandbox.logs(identifier) as stream:
        for signal in ("USR1", "HUP", "USR1"):
            assert sandbox.post("/kill_process", id=identifier, signal=signal).json() == SIGNALLED
            # (The shell tells on stderr what has become of its sleep, which is in the group as well.)
            assert next(event for event in stream if event.data["stream"] == "stdout").data["data"] == signal.lower()
        assert sandbox.status(identifier) == "running"
        sandbox.shell(f"touch {workdir}/end")
    assert end(wait(sandbox, identifier)) == ("failed", 4, None, "exit")


def test_a_signal_goes_to_the_whole_group(sandbox, marker):
    identifier = sandbox.start(f"{marker.sleep} & {marker.sleep} & wait")["id"]
    marker.sleeping(sandbox, 2)
    assert sandbox.post("/kill_process", id=identifier, signal="TERM").json() == SIGNALLED
    assert wait(sandbox, identifier)["status"] == "killed"
    marker.gone(sandbox)


def test_kill_is_the_default(sandbox, marker):
    for fields in ({}, {"signal": "KILL"}, {"signal": 9}, {"signal": "KILL", "grace_ms": 600_000}):
        identifier = sandbox.start(f"trap '' TERM; {marker.sleep} & setsid {marker.sleep}")["id"]
        marker.sleeping(sandbox, 2)
        answer = sandbox.post("/kill_process", id=identifier, **fields)
        assert (answer.status_code, answer.json()) == (200, KILLED)
        assert not marker.pids(sandbox)
        assert end(get(sandbox, identifier)) == ("killed", -1, "SIGKILL", "killed")


@pytest.mark.parametrize("kind", TREES)
def test_grace_takes_the_whole_tree(sandbox, marker, kind):
    """TERM to the group, KILL to the tree after it; whatever gets away from the first does not from the second."""
    fields, count = plant(kind, marker)
    identifier = sandbox.start(fields.pop("cmd"), **fields)["id"]
    marker.sleeping(sandbox, count)
    answer = sandbox.post("/kill_process", id=identifier, grace_ms=100)
    assert (answer.status_code, answer.json()) == (200, KILLED)
    assert not marker.pids(sandbox)
    assert get(sandbox, identifier)["reason"] == "killed" and sandbox.status(identifier) == "killed"


def test_grace_lets_it_end_well(sandbox, workdir):
    """It answers when the process has ended, long before the time of grace is over."""
    script = f"trap 'echo bye; exit 7' TERM; touch {workdir}/ready; while :; do sleep 0.01; done"
    identifier = sandbox.start(script)["id"]
    wait_until(lambda: sandbox.run(f"test -e {workdir}/ready")["code"] == 0, "the trap")
    answer = sandbox.post("/kill_process", id=identifier, signal="TERM", grace_ms=600_000)
    assert (answer.status_code, answer.json()) == (200, KILLED)
    assert end(get(sandbox, identifier)) == ("killed", 7, None, "killed")
    assert "bye" in sandbox.lines(identifier)


def test_a_hard_kill_cuts_the_grace_short(sandbox, marker):
    identifier = sandbox.start(f"trap '' TERM; {marker.sleep}")["id"]
    marker.sleeping(sandbox)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        gentle = pool.submit(sandbox.post, "/kill_process", id=identifier, grace_ms=600_000)
        wait_until(gentle.running, "the gentle kill")
        hard = sandbox.kill(identifier)
        answers = sorted([gentle.result(TIMEOUT).status_code, hard.status_code])
    assert answers == [200, 400]
    assert not marker.pids(sandbox)


@pytest.mark.parametrize("fields", [{"signal": "NONSENSE"}, {"signal": "0"}, {"signal": 0}, {"signal": 65}, {"signal": "9x"}, {"signal": -9}, {"signal": True},
                                    {"signal": []}, {"grace_ms": -1}, {"grace_ms": "5"}, {"grace_ms": 600_001}, {"grace_ms": 1.5}])
def test_orders_that_make_no_sense(sandbox, fields):
    identifier = sandbox.start("sleep 86400")["id"]
    answer = sandbox.post("/kill_process", id=identifier, **fields)
    assert answer.status_code == 400 and answer.json()["success"] is False and next(iter(fields)) in answer.json()["error"]
    assert sandbox.status(identifier) == "running"


def test_a_signal_to_what_has_ended(sandbox):
    identifier = sandbox.start("exit 3")["id"]
    wait(sandbox, identifier)
    for fields in ({"signal": "TERM"}, {"grace_ms": 100}):
        answer = sandbox.post("/kill_process", id=identifier, **fields)
        assert (answer.status_code, answer.json()["error"]) == (400, "process is not running (status: failed)")


# ---- timeouts ----


def test_a_timeout_keeps_all_output(sandbox, marker):
    answer, facts = sandbox.run_with_facts(f"echo out; echo err >&2; printf tail; {marker.sleep} & {marker.sleep}", timeout_ms=2000)
    assert answer == {"stdout": "out\ntail", "stderr": "err\n", "code": -1, "error": "Non-zero exit code", "signal": "SIGTERM"}
    assert facts["reason"] == "timeout" and facts["duration_ms"] > 1000  # the timeout counts from the request on
    assert not marker.pids(sandbox)


def test_a_timeout_kills_what_is_deaf(sandbox, marker):
    answer, facts = sandbox.run_with_facts(f"trap '' TERM; echo x; {marker.sleep} & setsid {marker.sleep}", timeout_ms=1000, kill_grace_ms=100)
    assert (answer["stdout"], answer["signal"], facts["reason"]) == ("x\n", "SIGKILL", "timeout")
    assert not marker.pids(sandbox)


def test_a_timeout_that_is_obeyed(sandbox):
    answer, facts = sandbox.run_with_facts("trap 'echo bye; exit 3' TERM; while :; do sleep 0.01; done", timeout_ms=1000, kill_grace_ms=600_000)
    assert (answer["stdout"], answer["code"], facts["reason"]) == ("bye\n", 3, "timeout") and "signal" not in answer


def test_a_timeout_that_is_not_reached(sandbox):
    answer, facts = sandbox.run_with_facts("echo x; exit 2", timeout_ms=3_600_000)
    assert (answer["code"], facts["reason"]) == (2, "exit")


def test_what_is_left_running_has_no_timeout(sandbox, marker):
    """The command is its shell: what it leaves behind on purpose lives on."""
    sandbox.run(f"{marker.sleep} >/dev/null 2>&1 &", timeout_ms=200)
    sandbox.run("sleep 0.3")
    assert marker.sleeping(sandbox)


def test_a_stream_with_a_timeout(sandbox, marker):
    with sandbox.stream(f"echo first; printf half; {marker.sleep}", timeout_ms=2000) as stream:
        events = stream.events()
    assert [event.data.get("data") for event in events] == ["first", "half", None]
    assert events[-1].name == "complete" and events[-1].facts["reason"] == "timeout" and events[-1].data["signal"] == "SIGTERM"
    assert not marker.pids(sandbox)


@pytest.mark.parametrize("kind", ["setsid", "double fork and setsid", "deaf to SIGTERM", "a daemon deaf to SIGTERM", "stopped"])
def test_a_process_with_a_timeout(sandbox, marker, kind):
    fields, _ = plant(kind, marker)
    command = fields.pop("cmd")
    identifier = sandbox.start(f"echo first; {command}", timeout_ms=1500, kill_grace_ms=100, **fields)["id"]
    process = wait(sandbox, identifier)
    assert (process["status"], process["reason"]) == ("failed", "timeout")
    assert not marker.pids(sandbox)
    assert sandbox.lines(identifier)[0] == "first"


@pytest.mark.host
def test_a_timeout_outlives_procd(server, marker):
    identifier = server.start(marker.sleep, timeout_ms=3000)["id"]
    server.back("procd", server.kill_daemon("procd"))
    assert (wait(server, identifier)["reason"], marker.pids(server)) == ("timeout", [])


@pytest.mark.parametrize("path", ["/run", "/run_streaming", "/start_process"])
def test_timeouts_that_make_no_sense(sandbox, workdir, path):
    for name in ("timeout_ms", "kill_grace_ms"):
        for value in ("5", -1, 1.5, True, [5], 2**53):
            answer = sandbox.post(path, cmd=f"touch {workdir}/ran", **{name: value})
            assert answer.status_code == 400 and name in answer.json()["error"], (name, value)
    assert sandbox.post(path, cmd=f"touch {workdir}/ran", kill_grace_ms=600_001).status_code == 400
    assert sandbox.run(f"test -e {workdir}/ran")["code"] == 1


@pytest.mark.host
def test_the_operators_limit(make_server):
    """It holds for larger timeouts, and for who asks for none."""
    server = make_server({"SANDBOX_MAX_TIMEOUT": "1500ms"})
    for fields in ({}, {"timeout_ms": 3_600_000}, {"timeout_ms": 0}):
        assert server.run_with_facts("sleep 86400", **fields)[1]["reason"] == "timeout"
    assert server.run_with_facts("sleep 86400", timeout_ms=100)[1]["duration_ms"] < 1500
    assert wait(server, server.start("sleep 86400")["id"])["reason"] == "timeout"


# ---- forgetting ----


def test_delete(sandbox):
    identifier = sandbox.start("echo x")["id"]
    wait(sandbox, identifier)
    answer = sandbox.post("/delete_process", id=identifier)
    assert (answer.status_code, answer.json()) == (200, {"success": True, "message": "Process deleted"})
    assert identifier not in [process["id"] for process in sandbox.processes()]
    assert sandbox.get(f"/get_process?id={identifier}").status_code == 404
    assert sandbox.post("/delete_process", id=identifier).status_code == 404
    with sandbox.logs(identifier) as stream:
        assert stream.events() == [("error", {"error": f"process not found: {identifier}", "error_code": "not_found"})]


def test_delete_of_what_runs(sandbox):
    identifier = sandbox.start("sleep 86400")["id"]
    answer = sandbox.post("/delete_process", id=identifier)
    assert (answer.status_code, answer.json()) == (400, {"success": False, "error": "process is running", "error_code": "running"})
    assert sandbox.status(identifier) == "running"


@pytest.mark.host
def test_delete_takes_the_files(server):
    identifier = server.start("seq 1000")["id"]
    wait(server, identifier)
    assert (server.run_dir / "state/jobs" / identifier).is_dir()
    with server.logs(identifier) as stream:
        stream.next()
        assert server.post("/delete_process", id=identifier).status_code == 200
        assert not (server.run_dir / "state/jobs" / identifier).exists()
        assert stream.events()[-1].name == "complete"
    server.back("procd", server.kill_daemon("procd"))
    assert server.processes() == []


@pytest.mark.host
def test_finished_ones_leave_by_number(make_server):
    server = make_server({"SANDBOX_KEEP_FINISHED": "3"})
    running = server.start("sleep 86400")["id"]
    finished = []
    for number in range(5):
        finished.append(server.start(f"exit {number}")["id"])
        wait(server, finished[-1])
    assert [process["id"] for process in server.processes()] == [running, *finished[2:]]
    assert sorted(path.name for path in (server.run_dir / "state/jobs").iterdir()) == sorted([running, *finished[2:]])


@pytest.mark.host
def test_finished_ones_leave_by_age(make_server):
    server = make_server({"SANDBOX_KEEP_FINISHED_FOR": "1s"})
    running, finished = server.start("sleep 86400")["id"], server.start("true")["id"]
    wait(server, finished)
    wait_until(lambda: [process["id"] for process in server.processes()] == [running], "the finished one to go")
    finished = server.start("true")["id"]
    wait(server, finished)
    server.back("procd", server.kill_daemon("procd"))  # the next procd knows as well
    wait_until(lambda: [process["id"] for process in server.processes()] == [running], "the finished one to go")


@pytest.mark.host
def test_none_is_kept(make_server):
    server = make_server({"SANDBOX_KEEP_FINISHED": "0"})
    identifier = server.start("echo x; sleep 0.2")["id"]
    assert server.lines(identifier) == ["x"]
    wait_until(lambda: server.processes() == [], "the finished one to go")


# ---- input ----


@pytest.mark.parametrize("text", ["", "x", "line\n", "ü€😀\n", "\0\1\n", "a" * 300_000])
def test_input_of_a_run(sandbox, text):
    assert sandbox.run("cat", stdin=text)["stdout"] == text
    with sandbox.stream("od -An -v -tx1 | tr -d ' \\n'", stdin=text) as stream:
        events = stream.events()
    assert "".join(event.data["data"] for event in events[:-1]) == text.encode().hex()


@pytest.mark.slow
def test_much_input(sandbox):
    """More than any pipe holds, to a command that reads late, writes meanwhile, or does not read at all."""
    text = "0123456789abcdef" * 2_000_000
    assert sandbox.run("head -c 1000000 /dev/zero; wc -c", stdin=text, timeout=60)["stdout"].endswith("32000000\n")
    assert sandbox.run("exit 3", stdin=text, timeout=60)["code"] == 3
    assert sandbox.run("cat", stdin=text, timeout=60)["stdout"] == text


def test_input_ends(sandbox):
    assert sandbox.shell("read a; read b; echo \"$a-$b\"; read c || echo end", stdin="1\n2\n") == "1-2\nend\n"


@pytest.mark.parametrize("value", [1, True, [], {}])
def test_input_that_is_no_text(sandbox, value):
    assert sandbox.post("/run", cmd="true", stdin=value).status_code == 400


def write(sandbox, identifier, **fields):
    answer = sandbox.post("/write_stdin", id=identifier, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_input_of_a_process(sandbox):
    identifier = sandbox.start("cat", stdin=True)["id"]
    with sandbox.logs(identifier) as stream:
        for text in ("one", "zwei ü€", "\0"):
            assert write(sandbox, identifier, data=text + "\n") == {"success": True, "written": len(text.encode()) + 1, "full": False}
            assert stream.next().data["data"] == text
        assert write(sandbox, identifier, data="last", eof=True) == {"success": True, "written": 4, "full": False}
        assert [event.data.get("data") for event in stream] == ["last", None]
    assert end(wait(sandbox, identifier)) == ("completed", 0, None, "exit")


def test_input_is_closed_alone(sandbox):
    identifier = sandbox.start("wc -c", stdin=True)["id"]
    write(sandbox, identifier, data="12345")
    assert write(sandbox, identifier, eof=True) == {"success": True, "written": 0, "full": False}
    assert sandbox.lines(identifier) == ["5"]


def test_a_full_pipe_is_told_and_blocks_nobody(sandbox, workdir):
    identifier = sandbox.start(f"while [ ! -e {workdir}/go ]; do sleep 0.01; done; wc -c", stdin=True)["id"]
    text = "ü€x" * 100_000
    data, sent = text.encode(), 0
    first = write(sandbox, identifier, data=text, eof=True)
    assert first["full"] and 0 < first["written"] < len(data)
    sent += first["written"]
    assert write(sandbox, identifier, data=data[sent:].decode()) == {"success": True, "written": 0, "full": True}  # cut between characters
    assert sandbox.shell("echo meanwhile") == "meanwhile\n"
    sandbox.shell(f"touch {workdir}/go")
    deadline = time.monotonic() + 4 * DEADLINE
    while sent < len(data):
        sent += write(sandbox, identifier, data=data[sent:].decode())["written"]
        assert time.monotonic() < deadline
    write(sandbox, identifier, eof=True)
    assert sandbox.lines(identifier) == [str(len(data))]


def test_writes_of_many_clients_stay_whole(sandbox):
    identifier = sandbox.start("cat", stdin=True)["id"]
    lines = [f"{number}-" + "x" * 500 for number in range(16)]
    in_threads(16, lambda number: write(sandbox, identifier, data=lines[number] + "\n"))
    write(sandbox, identifier, eof=True)
    assert sorted(sandbox.lines(identifier)) == sorted(lines)


def test_input_that_nobody_takes(sandbox):
    plain = sandbox.start("cat; sleep 86400")["id"]
    closed = sandbox.start("cat; sleep 86400", stdin=True)["id"]
    write(sandbox, closed, data="x", eof=True)
    deaf = sandbox.start("exec 0<&-; echo closed; exec sleep 86400", stdin=True)["id"]
    with sandbox.logs(deaf) as stream:
        assert stream.next().data["data"] == "closed"
    for identifier in (plain, closed, deaf):
        answer = sandbox.post("/write_stdin", id=identifier, data="x")
        assert answer.status_code == 400 and answer.json() == {"success": False, "error": f"process has no open stdin: {identifier}", "error_code": "no_stdin"}
    ended = sandbox.start("true", stdin=True)["id"]
    wait(sandbox, ended)
    answer = sandbox.post("/write_stdin", id=ended, data="x")
    assert (answer.status_code, answer.json()["error"]) == (400, "process is not running (status: completed)")
    assert sandbox.post("/write_stdin", id=UNKNOWN, data="x").status_code == 404


@pytest.mark.parametrize("fields", [{}, {"eof": False}, {"data": None}, {"data": 5}, {"data": "x", "eof": "yes"}, {"data": "x", "eof": 1}])
def test_writes_that_make_no_sense(sandbox, fields):
    identifier = sandbox.start("cat", stdin=True)["id"]
    assert sandbox.post("/write_stdin", id=identifier, **fields).status_code == 400
    assert sandbox.status(identifier) == "running"


@pytest.mark.parametrize("value", ["text", 1, [], "true"])
def test_a_process_takes_no_text_as_input(sandbox, value):
    answer = sandbox.post("/start_process", cmd="cat", stdin=value)
    assert answer.status_code == 400 and "stdin" in answer.json()["error"]


@pytest.mark.host
def test_input_outlives_procd(server):
    identifier = server.start("cat", stdin=True)["id"]
    write(server, identifier, data="before\n")
    server.back("procd", server.kill_daemon("procd"))
    write(server, identifier, data="after\n", eof=True)
    assert server.lines(identifier) == ["before", "after"]
