"""How processes with a terminal end, what is kept of their output, what they live through, and where there is none."""

import os
import pathlib
import re
import signal
import time

import pytest

from sandbox import DEADLINE, Server, alive, in_threads, mounting_is_allowed, proc_stat, wait_until, with_a_small_disk
from terminals import Terminal, foreground

pytestmark = pytest.mark.host  # the byte log is read on the disk

LEFT = {"success": True, "message": "Process killed successfully"}


# ---- the end ----


def test_what_is_written_last_arrives(sandbox):
    """More than the kernel holds of it, right before the end."""
    terminal = Terminal(sandbox, "stty -opost; exec seq 60000")
    assert terminal.end()["exit_code"] == 0
    assert terminal.output() == "".join(f"{number}\n" for number in range(1, 60001)).encode()


def test_hangup_of_the_foreground(sandbox, marker):
    """What the leader leaves in the foreground gets SIGHUP; what has a session or a group of its own lives."""
    script = (f"setsid {marker.sleep} & set -m; {marker.sleep} & set +m; "
              "(trap 'echo hung up; exit' HUP; echo ready; while :; do sleep 0.01; done) & sleep 1000 & read line")
    terminal = Terminal(sandbox, script)
    terminal.shows(b"ready")
    marker.sleeping(sandbox, 2)
    terminal.types("\r")
    end = terminal.end()
    assert end["status"] == "completed" and b"hung up" in terminal.output()
    assert {left["command"] for left in end["left"]} == {"sleep"} and {left["pid"] for left in end["left"]} == set(marker.sleeping(sandbox, 2))
    assert sandbox.post("/kill_process", id=terminal.id, left=True).json() == LEFT
    marker.gone(sandbox)


def test_a_child_that_writes_without_end(sandbox):
    """It does not keep the process from ending, and is left."""
    terminal = Terminal(sandbox, "setsid sh -c 'while echo more; do :; done; exec sleep 1000' & read line")
    terminal.shows(b"more")
    terminal.types("\r")
    end = terminal.end()
    assert end["exit_code"] == 0 and len(end["left"]) == 1 and b"more" in terminal.output()
    assert end["pty"]["next_offset"] == len(terminal.output())
    assert sandbox.post("/kill_process", id=terminal.id, left=True).json() == LEFT


def test_wait_tree(sandbox):
    terminal = Terminal(sandbox, "stty -echo; setsid sh -c 'echo ready; sleep 0.5; echo late' & read line; exit 3", wait_tree=True)
    terminal.shows(b"ready")
    terminal.types("\r")
    end = terminal.end()
    assert end["exit_code"] == 3 and terminal.output().endswith(b"late\r\n") and end["left"] == []


def test_a_leader_without_its_terminal(sandbox):
    """It closes it and opens it again; that is no end, and costs no time of a processor."""
    terminal = Terminal(sandbox, "name=$(tty); exec <&- >&- 2>&-; sleep 2; exec >$name; echo again; exit 5")
    runner = proc_stat(terminal.pid)[1]
    end = terminal.end()
    assert end["exit_code"] == 5 and terminal.output() == b"again\r\n"
    fields = pathlib.Path(f"/proc/{runner}/stat").read_text().rpartition(")")[2].split()
    assert (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") < 1


def test_timeout(sandbox, marker):
    terminal = Terminal(sandbox, f"setsid {marker.sleep} & {marker.sleep}", timeout_ms=300, kill_grace_ms=0)
    end = terminal.end()
    assert (end["status"], end["reason"]) == ("failed", "timeout") and not marker.pids(sandbox)


def test_grace(sandbox):
    """A signal with a grace is an order to end: the whole tree is killed when it is over."""
    terminal = Terminal(sandbox, "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    terminal.shows(b"ready")
    assert sandbox.post("/kill_process", id=terminal.id, grace_ms=100).json() == LEFT
    assert terminal.end()["status"] == "killed"


def test_delete(sandbox):
    terminal = Terminal(sandbox, "true")
    terminal.end()
    assert sandbox.post("/delete_process", id=terminal.id).status_code == 200
    assert not terminal.directory.exists()


# ---- what is kept ----


def test_the_newest_bytes_are_kept(make_server):
    server = make_server({"SANDBOX_LOG_MAX": "1m"})
    terminal = Terminal(server, "stty -opost; exec seq 1000000")
    end = terminal.end()
    whole = "".join(f"{number}\n" for number in range(1, 1000001)).encode()
    first, following = end["pty"]["first_offset"], end["pty"]["next_offset"]
    assert following == len(whole) and terminal.output() == whole[first:]
    assert (1 << 20) * 3 // 4 <= following - first <= 1 << 20


@pytest.mark.skipif(not mounting_is_allowed(), reason="no mount is allowed here")
def test_a_full_disk_is_a_gap(tmp_path):
    """The terminal goes on, what was lost is counted, and what comes later has its right offset."""
    os.chmod(tmp_path, 0o755)
    with Server(prefix=with_a_small_disk(str(tmp_path), "16m"), run_dir=tmp_path / "run") as server:
        terminal = Terminal(server, "stty -opost -echo; echo ready; read line; seq -w 100000; read line; exec seq -w 1000")
        terminal.directory = pathlib.Path(f"/proc/{server.daemon('procd')}/root{terminal.directory}")  # in its own mounts
        terminal.shows(b"ready\n")
        server.run(f"cat /dev/zero >{server.run_dir}/filler; cat /dev/zero >>{server.run_dir}/filler")
        terminal.types("\n")
        wait_until(lambda: terminal.described()["pty"]["next_offset"] == 6 + 700000, "all to be written, or lost")
        assert server.post("/delete_file", path=f"{server.run_dir}/filler").status_code == 200
        time.sleep(0.2)  # a disk that was full is not asked for a while
        terminal.types("\n")
        end = terminal.end()
        assert end["exit_code"] == 0 and end["pty"]["next_offset"] == 6 + 700000 + 5000
        parts = {int(path.name.removeprefix("bytes.")): path.read_bytes() for path in terminal.directory.glob("bytes.*")}
        whole = "ready\n" + "".join(f"{number:06}\n" for number in range(1, 100001)) + "".join(f"{number:04}\n" for number in range(1, 1001))
        assert all(part == whole[at:at + len(part)].encode() for at, part in parts.items())
        assert parts[6 + 700000] == whole[6 + 700000:].encode() and sum(map(len, parts.values())) < len(whole)


# ---- many ----


def test_too_many_terminals(make_server):
    server = make_server({"SANDBOX_MAX_TERMINALS": "2"})
    first, second = Terminal(server, "read line"), Terminal(server, "read line")
    answer = server.post("/start_process", cmd="true", pty={})
    assert answer.status_code == 429 and answer.json()["error_code"] == "too_many" and "SANDBOX_MAX_TERMINALS" in answer.json()["error"]
    assert answer.headers["Retry-After"]
    server.start("true")  # without a terminal
    first.types("\r")
    first.end()
    Terminal(server, "true").end()
    server.kill_daemon("procd")  # the next one counts them, too
    server.healthy()
    third = Terminal(server, "read line")
    assert server.post("/start_process", cmd="true", pty={}).status_code == 429
    second.types("\r")
    third.types("\r")
    assert second.end()["exit_code"] == third.end()["exit_code"] == 0


def test_many_at_once(sandbox):
    """Each has its own, whatever the others do."""
    def drive(number):
        terminal = Terminal(sandbox, "read line; echo \"<$line $(stty size)>\"", {"cols": 100 + number})
        terminal.types(f"{number}\r")
        assert terminal.end()["exit_code"] == 0
        assert b"<%d 24 %d>" % (number, 100 + number) in terminal.output()

    in_threads(20, drive)


# ---- deaths ----

COUNT = "python3 -Ic 'import time; [(print(number, flush=True), time.sleep(0.0005)) for number in range(1, 3001)]'"


def numbers(output):
    return [int(line) for line in output.split(b"\r\n")[:-1] if line]


@pytest.mark.parametrize("name", ["procd", "fcgi-app", "nginx"])
def test_a_daemon_dies(server, name):
    """Nothing is lost or doubled; the terminal takes input, a size and signals from the next one."""
    terminal = Terminal(server, f"read line; {COUNT}; read line; stty size; trap 'echo caught; exit 7' INT; echo waiting; while :; do sleep 0.01; done")
    terminal.types("\r")
    for _ in range(2):
        wait_until(lambda before=terminal.output(): len(terminal.output()) > len(before), "more output")
        server.kill_daemon(name)
        server.healthy()
    terminal.shows(b"\n3000\r\n")
    assert terminal.resize(99, 33).status_code == 200
    terminal.types("\r")
    terminal.shows(b"waiting")
    terminal.signal("INT")
    assert terminal.end()["exit_code"] == 7
    output = terminal.output()
    head, _, tail = output.partition(b"\r\n33 99\r\n")
    assert numbers(head.removeprefix(b"\r\n").removesuffix(b"\r\n") + b"\r\n") == list(range(1, 3001)) and b"caught" in tail


def test_its_runner_dies(server):
    """The process ends with it; what it had put out is there, and has its bounds."""
    terminal = Terminal(server, f"{COUNT}; exec sleep 1000")
    terminal.shows(b"\n3000\r\n")
    os.kill(proc_stat(terminal.pid)[1], signal.SIGKILL)
    end = terminal.end()
    assert (end["status"], end["reason"]) == ("failed", "lost")
    wait_until(lambda: not alive(terminal.pid), "the end of its command")
    assert numbers(terminal.output()) == list(range(1, 3001))
    assert end["pty"] == {"cols": 80, "rows": 24, "first_offset": 0, "next_offset": len(terminal.output())}
    server.kill_daemon("procd")
    server.healthy()
    assert terminal.described()["pty"] == end["pty"]


def test_a_timeout_hangs_up(sandbox):
    """An interactive shell ignores SIGTERM."""
    terminal = Terminal(sandbox, "exec bash --norc --noprofile -i", timeout_ms=1000, kill_grace_ms=600_000)
    end = terminal.end()
    assert (end["reason"], end["signal"]) == ("timeout", "SIGHUP")


def test_a_stop_hangs_up(make_server):
    """So it does not take the grace."""
    server = make_server({"SANDBOX_STOP_GRACE": "600"})
    terminal = Terminal(server, env={"HOME": "/nonexistent"})  # not what the user has it do at its start
    terminal.types("sleep 1000\r")
    wait_until(lambda: foreground(terminal.pid) != terminal.pid, "a job in the foreground")
    child = foreground(terminal.pid)
    server.stop(deadline=3 * DEADLINE)
    assert not alive(terminal.pid) and not alive(child)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run commands as another user")
def test_another_user(make_server):
    """The terminal is the user's, so its programs can open it again by its name."""
    server = make_server({"SANDBOX_USER": "games"})
    terminal = Terminal(server, "stat -c '%U %a' $(tty); echo by name >$(tty); echo by device >/dev/tty; id -un; ps -o tty= $$")
    assert terminal.end()["exit_code"] == 0
    lines = terminal.output().decode().split("\r\n")
    assert lines[:4] == ["games 600", "by name", "by device", "games"] and re.fullmatch(r"pts/\d+", lines[4].strip())
    shell = Terminal(server)  # that of games is none
    shell.types("id -un; exit\r")
    shell.end()
    assert b"games\r\n" in shell.output()


# ---- a machine without enough ----


def with_devpts(options):
    """A prefix for a server that has a devpts of its own, mounted with these options; or none."""
    mount = f"mount -t devpts -o newinstance,mode=0620,ptmxmode=0666,{options} devpts /dev/pts" if options else "mount -t tmpfs none /dev/pts"
    return ("unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh")


@pytest.mark.skipif(os.geteuid() != 0 or not mounting_is_allowed(), reason="only root can mount a devpts here")
def test_no_terminal_left():
    with Server(prefix=with_devpts("max=2")) as server:
        first, second = Terminal(server, "read line; tty"), Terminal(server, "read line")
        answer = server.post("/start_process", cmd="true", pty={})
        assert answer.status_code == 503 and answer.json()["error_code"] == "unavailable" and "kernel.pty.max" in answer.json()["error"]
        assert len(server.processes()) == 2
        second.types("\r")
        second.end()
        Terminal(server, "true").end()
        first.types("\r")
        assert first.end()["exit_code"] == 0 and re.search(rb"\r\n/dev/pts/\d+\r\n", first.output())


@pytest.mark.skipif(os.geteuid() != 0 or not mounting_is_allowed(), reason="only root can mount a devpts here")
def test_no_devpts():
    with Server(prefix=with_devpts("")) as server:
        answer = server.post("/start_process", cmd="true", pty={})
        assert answer.status_code == 500 and answer.json()["error_code"] == "cannot_start"
        assert re.match(r"Cannot open a terminal \(/dev/ptmx\): No such", answer.json()["error"])
        assert server.run("echo fine")["stdout"] == "fine\n" and server.processes() == []
