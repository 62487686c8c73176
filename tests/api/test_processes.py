"""Background processes: start, list, kill."""

import json
import re

import pytest

from sandbox import alive, in_threads, proc_stat, wait_until
from trees import TREES, plant

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
KILLED = {"success": True, "message": "Process killed successfully"}


def not_running(status):
    return {"success": False, "error": f"process is not running (status: {status})", "error_code": "not_running"}


def find(sandbox, identifier):
    (process,) = [process for process in sandbox.processes() if process["id"] == identifier]
    return process


def test_start(sandbox, marker):
    answer = sandbox.post("/start_process", cmd=f"exec {marker.sleep}", cwd="/", env={"PORT": "8080"})
    assert answer.status_code == 201
    process = answer.json()
    assert UUID.fullmatch(process["id"]) and process["status"] == "running" and isinstance(process["pid"], int)
    assert marker.sleeping(sandbox) == [process["pid"]]
    sandbox.started.append(process["id"])


def test_start_without_a_command(sandbox):
    before = len(sandbox.processes())
    for fields in ({}, {"cmd": ""}, {"cmd": None}, {"command": "true"}):
        answer = sandbox.post("/start_process", **fields)
        assert answer.status_code == 400 and "Command is required" in answer.json()["error"]
    if sandbox.local:
        assert len(sandbox.processes()) == before


def test_cwd_and_env_and_stdin(sandbox):
    identifier = sandbox.start("pwd; echo $X; cat; echo $0", cwd="/usr/bin", env={"X": "ü", "Y": ""})["id"]
    assert sandbox.lines(identifier)[:2] == ["/usr/bin", "ü"]
    assert sandbox.status(identifier) == "completed"


def test_a_long_command(sandbox):
    command = f": {'x' * 300_000}; echo long"
    identifier = sandbox.start(command)["id"]
    assert sandbox.lines(identifier) == ["long"]
    assert find(sandbox, identifier)["command"][:60_000] == command[:60_000]  # the list may cut what is very long


@pytest.mark.parametrize("command, status", [
    ("true", "completed"), ("exit 0", "completed"), ("false", "failed"), ("exit 3", "failed"), ("exit 255", "failed"),
    ("kill -KILL $$", "failed"), ("kill -TERM $$", "failed"), ("no-such-command-anywhere", "failed"),
])
def test_status_of_the_end(sandbox, command, status):
    process = sandbox.start(command)
    assert sandbox.ended(process["id"]) == status
    assert find(sandbox, process["id"])["pid"] == process["pid"]


def test_list(sandbox, workdir):
    """All four, oldest first, each with its command as it was given."""
    commands = ["sleep 86400", "echo 'quotes \" and ü'\n", "exit 7", "sleep 86401"]
    started = [sandbox.start(command) for command in commands]
    assert sandbox.kill(started[3]["id"]).json() == KILLED
    wait_until(lambda: sandbox.status(started[1]["id"]) == "completed" and sandbox.status(started[2]["id"]) == "failed", "the ends")
    identifiers = [process["id"] for process in started]
    listed = [process for process in sandbox.processes() if process["id"] in identifiers]
    assert [process["id"] for process in listed] == identifiers
    assert [process["command"] for process in listed] == commands
    assert [process["status"] for process in listed] == ["running", "completed", "failed", "killed"]
    assert [process["pid"] for process in listed] == [process["pid"] for process in started]


@pytest.mark.host
def test_an_empty_list(server):
    assert server.get("/list_processes").json() == {"processes": []}


def test_100_at_once(sandbox):
    started = in_threads(50, lambda number: [sandbox.start(f"echo {number} {turn}") for turn in range(2)])
    started = [(f"{number} {turn}", process) for number, pair in enumerate(started) for turn, process in enumerate(pair)]
    identifiers = {process["id"]: text for text, process in started}
    assert len(identifiers) == 100
    for identifier, text in identifiers.items():
        assert sandbox.lines(identifier) == [text]
    listed = {process["id"]: process for process in sandbox.processes()}
    assert all(listed[identifier]["status"] == "completed" for identifier in identifiers)
    assert all(listed[process["id"]]["pid"] == process["pid"] for _, process in started)


@pytest.mark.parametrize("kind", TREES)
def test_kill_takes_the_whole_tree(sandbox, marker, kind):
    fields, count = plant(kind, marker)
    identifier = sandbox.start(fields.pop("cmd"), **fields)["id"]
    marker.sleeping(sandbox, count)
    answer = sandbox.kill(identifier)
    assert (answer.status_code, answer.json()) == (200, KILLED)
    assert not marker.pids(sandbox)  # it is dead when the answer comes
    assert sandbox.status(identifier) == "killed"


def test_kill_takes_only_its_own(sandbox, make_marker):
    one, other = make_marker(), make_marker()
    first, second = sandbox.start(f"setsid {one.sleep} & {one.sleep}"), sandbox.start(f"setsid {other.sleep} & {other.sleep}")
    sandbox.run(f"{other.sleep} &")
    one.sleeping(sandbox, 2)
    other.sleeping(sandbox, 3)
    assert sandbox.kill(first["id"]).json() == KILLED
    other.sleeping(sandbox, 3)
    assert (sandbox.status(first["id"]), sandbox.status(second["id"])) == ("killed", "running")


@pytest.mark.parametrize("identifier", ["550e8400-e29b-41d4-a716-446655440000", "nonsense", "../../etc", "x" * 5000, "ü\n\"", " ", "."])
def test_kill_of_what_is_not_there(sandbox, identifier):
    answer = sandbox.kill(identifier)
    assert (answer.status_code, answer.json()) == (400, {"success": False, "error": f"process not found: {identifier}", "error_code": "not_found"})


def test_kill_of_what_has_ended(sandbox):
    for command, status in (("true", "completed"), ("exit 1", "failed")):
        identifier = sandbox.start(command)["id"]
        sandbox.ended(identifier)
        for _ in range(2):
            answer = sandbox.kill(identifier)
            assert (answer.status_code, answer.json()) == (400, not_running(status))
        assert sandbox.status(identifier) == status
    identifier = sandbox.start("sleep 86400")["id"]
    assert sandbox.kill(identifier).json() == KILLED
    answer = sandbox.kill(identifier)
    assert (answer.status_code, answer.json()) == (400, not_running("killed"))


def test_kill_without_an_id(sandbox):
    for fields in ({}, {"id": ""}, {"id": None}):
        answer = sandbox.post("/kill_process", **fields)
        assert answer.status_code == 400 and answer.json()["error"]


def test_of_many_kills_one_succeeds(sandbox):
    for _ in range(5):
        identifier = sandbox.start("sleep 86400 & sleep 86400")["id"]
        answers = in_threads(10, lambda _, identifier=identifier: sandbox.kill(identifier))
        assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9
        for answer in answers:
            assert answer.json() in (KILLED, not_running("killed"))


def test_kill_against_the_end(sandbox):
    """A process that ends just now is either killed or ended, and answer and status agree."""
    for _ in range(30):
        identifier = sandbox.start("exit 0")["id"]
        answer = sandbox.kill(identifier)
        status = sandbox.ended(identifier)
        if answer.status_code == 200:
            assert answer.json() == KILLED and status == "killed"
        else:
            assert answer.json() == not_running(status) and status in ("completed", "killed")


def test_a_process_that_is_stopped_can_be_killed(sandbox, marker):
    process = sandbox.start(f"kill -STOP $$; {marker.sleep}")
    assert sandbox.kill(process["id"]).json() == KILLED
    assert sandbox.status(process["id"]) == "killed"


def test_the_shells_exit_is_the_end(sandbox, marker):
    """...though a child still holds the pipes."""
    identifier = sandbox.start(f"echo before; {marker.sleep} & exit 0")["id"]
    assert sandbox.ended(identifier) == "completed"
    assert sandbox.lines(identifier) == ["before"]


def test_it_outlives_its_request(sandbox, marker):
    process = sandbox.call("POST", "/start_process", {"cmd": f"exec {marker.sleep}"}, headers={"Connection": "close"}).json()
    sandbox.started.append(process["id"])
    for _ in range(10):
        sandbox.shell("true")
    assert marker.sleeping(sandbox) == [process["pid"]]


@pytest.mark.host
def test_zombies_are_reaped(sandbox):
    identifiers = [sandbox.start("(sleep 0.01 &) & setsid sleep 0.02 & (exec true) & sleep 86400")["id"] for _ in range(5)]

    def zombies():
        return [pid for pid in sandbox.launch.tree() if (stat := proc_stat(pid)) and stat[0] == "Z" and stat[1] not in shells]

    shells = {find(sandbox, identifier)["pid"] for identifier in identifiers}
    wait_until(lambda: not zombies(), "no zombie that its own shell did not make")
    for identifier in identifiers:
        pid = find(sandbox, identifier)["pid"]
        sandbox.kill(identifier)
        assert not alive(pid)


RUNNING = ["id", "pid", "status", "command", "started_at"]
ENDED = [*RUNNING, "exit_code", "completed_at"]


def test_the_members_of_an_entry(sandbox):
    """Published clients make an object of each entry and take no member that they do not know; the rest is asked for by full."""
    ended, running = sandbox.start("exit 3", cwd="/")["id"], sandbox.start("sleep 86400")["id"]
    assert sandbox.ended(ended) == "failed"
    assert list(find(sandbox, running)) == RUNNING and list(find(sandbox, ended)) == ENDED
    whole = sandbox.get(f"/get_process?id={ended}").json()
    assert find(sandbox, ended) == {"completed_at": whole["ended_at"], **{name: whole[name] for name in [*RUNNING, "exit_code"]}}
    for value, names in (("1", whole), ("true", whole), ("0", ENDED), ("false", ENDED), ("", ENDED)):
        entries = sandbox.get(f"/list_processes?full={value}").json()["processes"]
        assert [list(entry) for entry in entries if entry["id"] == ended] == [list(names)], value
    for value in ("2", "True", "TRUE", "yes", "1%00", "01", "truefalse", "%31x"):
        answer = sandbox.get(f"/list_processes?full={value}")
        assert (answer.status_code, answer.json()) == (400, {"error": "Invalid full: it must be true, false, 1 or 0", "error_code": "invalid_request"}), value
    json.loads(answer.content.decode("utf-8", "strict"))
