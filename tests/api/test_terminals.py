"""Background processes with a terminal: what a command finds there, its size, what is typed, and signals."""

import hashlib
import os
import re

import pytest

from sandbox import DEADLINE, TEST_USER, make_directory, user_ids, wait_until
from terminals import Terminal, foreground

pytestmark = pytest.mark.host  # the byte log is read on the disk

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def test_what_a_command_finds(sandbox):
    terminal = Terminal(sandbox, "tty; stty size; echo $TERM; ps -o sid=,pgid=,tpgid=,tty= -p $$; echo $$; stat -c '%u %a' $(tty)", {"cols": 120, "rows": 40})
    end = terminal.end()
    assert (end["status"], end["exit_code"], end["reason"]) == ("completed", 0, "exit")
    tty, size, term, ids, pid, owner = terminal.output().decode().split("\r\n")[:6]
    assert re.fullmatch(r"/dev/pts/\d+", tty) and size == "40 120" and term == "xterm-256color" and int(pid) == terminal.pid
    assert ids.split() == [pid, pid, pid, tty.removeprefix("/dev/")]
    assert owner == f"{user_ids(TEST_USER)[0] if TEST_USER else os.geteuid()} 600"
    assert end["pty"] == {"cols": 120, "rows": 40, "first_offset": 0, "next_offset": len(terminal.output())}
    assert end["log_first_id"] is end["log_next_id"] is end["lines_dropped"] is None


@pytest.mark.parametrize("pty, env, found", [
    ({}, {}, "24 80 xterm-256color"), ({"cols": 1, "rows": 65535, "term": "dumb"}, {}, "65535 1 dumb"), ({"term": "vt100"}, {"TERM": "linux"}, "24 80 linux"),
])
def test_size_and_type(sandbox, pty, env, found):
    terminal = Terminal(sandbox, "echo $(stty size) $TERM", pty, env=env)
    terminal.end()
    assert terminal.output().decode() == found + "\r\n"


@pytest.mark.parametrize("pty", [
    {"cols": 0}, {"rows": 0}, {"cols": 65536}, {"rows": 1 << 40}, {"cols": -1}, {"cols": "80"}, {"cols": 1.5}, {"term": "a b"}, {"term": "x" * 100}, {"term": 1}, [], True,
    "x", 1,
])
def test_what_is_no_terminal(sandbox, pty):
    answer = sandbox.post("/start_process", cmd="true", pty=pty)
    assert answer.status_code == 400 and answer.json()["error_code"] == "invalid_request" and "pty" in answer.json()["error"]


def test_a_shell_without_a_command(sandbox):
    terminal = Terminal(sandbox, env={"HOME": "/nonexistent"})  # not what the user has it do at its start
    terminal.types("echo $((6 * 7))$-; stty size\r")
    terminal.shows(b"\r42")
    terminal.shows(b"\r\n24 80\r\n")
    assert re.search(rb"\r42\w*i", terminal.output())  # it is interactive
    terminal.types("exit 3\r")
    end = terminal.end()
    assert end["exit_code"] == 3 and end["status"] == "failed" and end["command"].startswith("/")


def test_only_the_full_list_says_it(sandbox):
    """Published clients take no members but those they know."""
    terminal, plain = Terminal(sandbox, "sleep 60"), sandbox.start("sleep 60")["id"]
    assert "pty" not in next(process for process in sandbox.processes() if process["id"] == terminal.id)
    full = {process["id"]: process for process in sandbox.processes(full=True)}
    assert full[terminal.id]["pty"] == {"cols": 80, "rows": 24, "first_offset": 0, "next_offset": 0} and "pty" not in full[plain]


def test_resize(sandbox):
    terminal = Terminal(sandbox, "trap 'stty size; kill -9 $$' WINCH; echo ready; while :; do sleep 0.01; done")
    terminal.shows(b"ready")
    assert terminal.resize(132, 43).json() == {"success": True}
    terminal.shows(b"43 132")
    assert terminal.end()["pty"]["cols"] == 132
    assert terminal.resize(1, 1).json()["error_code"] == "not_running"


def test_256_resizes(sandbox):
    """Each is in force when it is answered; at the end it is the last."""
    terminal = Terminal(sandbox, "read line; stty size")
    tty = os.readlink(f"/proc/{terminal.pid}/fd/0")
    with open(tty, "rb", buffering=0, opener=lambda path, flags: os.open(path, flags | os.O_NOCTTY)) as slave:
        for number in range(256):
            assert terminal.resize(80 + number, 24 + number % 7).status_code == 200
            assert os.get_terminal_size(slave.fileno()) == (80 + number, 24 + number % 7)
    assert terminal.described()["pty"]["cols"] == 335
    terminal.types("\r")
    terminal.end()
    assert terminal.output().endswith(b"27 335\r\n")


def test_resizes_that_are_refused(sandbox):
    terminal, plain = Terminal(sandbox, "sleep 60"), sandbox.start("sleep 60")["id"]
    for cols, rows in ((0, 1), (1, 0), (65536, 1), (1, 1 << 33)):
        assert terminal.resize(cols, rows).json()["error_code"] == "invalid_request"
    assert sandbox.post("/resize_terminal", id=terminal.id, cols=80).json()["error"] == "cols and rows are required"
    answer = sandbox.post("/resize_terminal", id=plain, cols=80, rows=24)
    assert answer.status_code == 400 and answer.json()["error_code"] == "unsupported"
    assert sandbox.post("/resize_terminal", id=UNKNOWN, cols=80, rows=24).status_code == 404
    assert terminal.described()["pty"]["cols"] == 80


def test_a_log_stream_names_attach(sandbox):
    terminal = Terminal(sandbox, "echo some; sleep 60")
    with sandbox.logs(terminal.id) as stream:
        (event,) = stream.events()
    assert event.name == "error" and event.data["error_code"] == "unsupported" and "/attach" in event.data["error"]
    assert sandbox.get(f"/process_logs_streaming?id={terminal.id}", headers={"Last-Event-ID": event.id}).status_code == 204


@pytest.mark.parametrize("name", ["INT", "QUIT"])
def test_a_signal_reaches_the_foreground_behind_unread_input(sandbox, name):
    """The command has a job in the foreground that reads nothing, and more input waits than the terminal takes."""
    terminal = Terminal(sandbox, "exec bash --norc --noprofile -i", env={"PS1": "> "})
    terminal.shows(b"> ")
    terminal.types("sleep 1000; echo done $?\r")
    wait_until(lambda: foreground(terminal.pid) != terminal.pid, "a job in the foreground")
    answer = terminal.write("x\n" * 600_000).json()
    assert answer["full"] and 4096 < answer["written"] < 1_200_000
    terminal.signal(name)
    wait_until(lambda: foreground(terminal.pid) == terminal.pid, "the end of the job")
    assert terminal.described()["status"] == "running"


def test_other_signals_reach_the_foreground(sandbox):
    terminal = Terminal(sandbox, "exec bash --norc --noprofile -i", env={"PS1": "> "})
    terminal.shows(b"> ")
    terminal.types("sh -c 'trap \"echo caught; exit\" USR1; echo ready:; while :; do sleep 0.01; done'\r")
    terminal.shows(b"\rready:")
    terminal.signal("USR1")
    terminal.shows(b"\ncaught")
    terminal.types("sh -c 'echo run''ning; exec sleep 1000'\r")  # which has a shell's signals no more
    terminal.shows(b"running")
    terminal.signal("TSTP")
    terminal.shows(b"Stopped")
    wait_until(lambda: foreground(terminal.pid) == terminal.pid, "the shell")
    terminal.types("fg\r")
    wait_until(lambda: foreground(terminal.pid) != terminal.pid, "a job in the foreground again")
    terminal.signal("INT")
    wait_until(lambda: foreground(terminal.pid) == terminal.pid, "the end of the job")
    terminal.types("exit 4\r")
    assert terminal.end()["exit_code"] == 4


def test_a_signal_that_ends_the_command_itself(sandbox):
    terminal = Terminal(sandbox, "exec sleep 60")
    terminal.signal("INT")
    end = terminal.end()
    assert (end["status"], end["signal"], end["reason"]) == ("killed", "SIGINT", "killed")


def test_kill_ends_the_tree(sandbox, marker):
    terminal = Terminal(sandbox, f"setsid {marker.sleep} & {marker.sleep}")
    marker.sleeping(sandbox, 2)
    assert sandbox.kill(terminal.id).json()["success"]
    assert not marker.pids(sandbox) and terminal.end()["status"] == "killed"


# ---- input ----


def type_all(terminal, data):
    """As a client does it: what was not taken is sent again later."""
    def sent():
        nonlocal data
        answer = terminal.write(data).json()
        assert answer["full"] == (answer["written"] < len(data))
        data = data[answer["written"]:]
        return not data

    wait_until(sent, "the terminal to take all of it", 6 * DEADLINE)


def test_a_large_paste_in_raw_mode(sandbox):
    """A megabyte without a newline is read byte for byte, by a program that begins late."""
    terminal = Terminal(sandbox, "stty raw -echo; echo ready; read -r go <fifo; head -c 1048576 | sha256sum", cwd=make_pipe(sandbox))
    terminal.shows(b"ready")
    paste = "".join(chr(33 + (number * number + number // 90) % 90) for number in range(1 << 20))
    first = terminal.write(paste).json()
    assert first["full"] and 4096 <= first["written"] < 1 << 20
    sandbox.shell("echo go >fifo", cwd=terminal.described()["cwd"])
    type_all(terminal, paste[first["written"]:])
    assert terminal.end()["exit_code"] == 0
    assert hashlib.sha256(paste.encode()).hexdigest().encode() in terminal.output()


def make_pipe(sandbox):
    """A new directory with a FIFO `fifo`, for the commands' user."""
    directory = make_directory()
    sandbox.shell("mkfifo fifo", cwd=directory)
    return directory


def test_what_canonical_mode_would_cut_is_refused(sandbox):
    terminal = Terminal(sandbox, "stty -echo; echo ready; while read -r line; do echo ${#line}.; done")
    terminal.shows(b"ready")
    for text in ("x" * 4096 + "\r", "short\r" + "y" * 5000, "é" * 2048 + "\r"):
        answer = terminal.write(text)
        assert answer.status_code == 400 and answer.json()["error_code"] == "too_large" and answer.json()["success"] is False
    terminal.types("x" * 4095 + "\r")
    terminal.shows(b"\n4095.")
    terminal.types("x" * 3000)
    assert terminal.write("y" * 1096).status_code == 400
    terminal.types("y" * 1095 + "\n")
    terminal.shows(b"\n4095.", 2)
    terminal.types("x" * 4000)
    terminal.types("\x15" + "y" * 4000 + "\r")  # Ctrl-U: the line is gone
    terminal.shows(b"\n4000.")
    terminal.types("z" * 4000)
    terminal.types("\x7f" * 100 + "z" * 195 + "\n")  # erased
    terminal.shows(b"\n4095.", 3)
    assert b"\n6." not in terminal.output()


def test_lines_that_nobody_reads_are_held_back(sandbox):
    """Many whole lines, in canonical mode: all arrive, none is cut, however late they are read."""
    terminal = Terminal(sandbox, "stty -echo; echo ready; read -r go <fifo; head -n 5000 | sha256sum", cwd=make_pipe(sandbox))
    terminal.shows(b"ready")
    text = "".join(f"{number} {'x' * (number % 60)}\n" for number in range(5000))
    first = terminal.write(text).json()
    assert first["full"] and 4096 <= first["written"] < len(text)
    sandbox.shell("echo go >fifo", cwd=terminal.described()["cwd"])
    type_all(terminal, text[first["written"]:])
    assert terminal.end()["exit_code"] == 0
    assert hashlib.sha256(text.encode()).hexdigest().encode() in terminal.output()


@pytest.mark.parametrize("mode", ["", "stty eof ^A; "])
def test_eof(sandbox, mode):
    terminal = Terminal(sandbox, f"{mode}echo ready; cat; echo rest; cat; echo end")
    terminal.shows(b"ready")
    assert terminal.write("line\n", eof=True).json() == {"success": True, "written": 5, "full": False}
    terminal.shows(b"rest")
    assert sandbox.post("/write_stdin", id=terminal.id, eof=True).json()["written"] == 0
    assert terminal.end()["exit_code"] == 0
    assert terminal.output().endswith(b"\r\nend\r\n")


def test_eof_behind_unread_input(sandbox):
    """It is kept and comes in its place."""
    terminal = Terminal(sandbox, "stty -echo; echo ready; read -r go <fifo; wc -c; wc -c; echo end", cwd=make_pipe(sandbox))
    terminal.shows(b"ready")
    taken, text = 0, "x\n" * 300_000
    while more := terminal.write(text[taken:]).json()["written"]:
        taken += more
    for _ in range(1 + taken % 2):  # within a line it takes two
        assert sandbox.post("/write_stdin", id=terminal.id, eof=True).json() == {"success": True, "written": 0, "full": False}
    sandbox.shell("echo go >fifo", cwd=terminal.described()["cwd"])
    terminal.shows(b"ready\r\n%d\r\n" % taken)
    terminal.types("abc\n")
    assert sandbox.post("/write_stdin", id=terminal.id, eof=True).status_code == 200
    assert terminal.end()["exit_code"] == 0 and b"\r\n4\r\n" in terminal.output()


def test_input_of_a_terminal_that_has_ended(sandbox):
    terminal = Terminal(sandbox, "true")
    terminal.end()
    assert terminal.write("x").json()["error_code"] == "not_running"
