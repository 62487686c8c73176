"""POST /read_output of terminals: programs that people use, driven by one call for each thing that is typed."""

import base64
import os
import shutil

import pytest

from sandbox import DEADLINE, TIMEOUT, make_directory, wait_until
from test_read_output import read_through_deaths

LONG = int(TIMEOUT * 1000)


class Screen:
    """A terminal that is driven by /read_output alone."""

    def __init__(self, server, cmd=None, cols=80, rows=24, **fields):
        answer = server.post("/start_process", **({} if cmd is None else {"cmd": cmd}), pty={"cols": cols, "rows": rows}, **fields)
        assert answer.status_code == 201, answer.text
        self.server, self.id, self.offset = server, answer.json()["id"], 0

    def read(self, **body):
        """What came since the last time."""
        answer = self.server.call("POST", "/read_output", {"id": self.id, "offset": self.offset, "timeout_ms": LONG, **body}, timeout=2 * TIMEOUT)
        assert answer.status_code == 200, answer.text
        answer = answer.json()
        assert answer["offset"] == self.offset and "missed_bytes" not in answer
        self.offset = answer["next_offset"]
        return answer

    def types(self, data, until):
        answer = self.read(data=data, until=until)
        assert answer["why"] == "until" and answer["written"] == len(data.encode()), answer
        return answer["output"]


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def test_a_shell(sandbox):
    screen = Screen(sandbox, "PS1='ready> ' exec bash --norc --noprofile -i")
    assert screen.read(until="ready> ")["output"].endswith("ready> ")
    assert "42\r\n" in screen.types("echo $((6 * 7))\r", "ready> ")
    assert "24 80\r\n" in screen.types("stty size\r", "ready> ")
    assert "^C" in screen.types("sleep 1000\r", "sleep 1000") + screen.types("\x03", "ready> ")
    answer = screen.read(data="exit 3\r")
    while answer["why"] != "ended":
        answer = screen.read()
    assert (answer["status"], answer["exit_code"], answer["more"]) == ("failed", 3, False)


def test_the_answer_to_what_is_typed(sandbox):
    """Without an offset it is what comes afterwards, and what was there before is no answer."""
    screen = Screen(sandbox, "PS1='ready> ' exec bash --norc --noprofile -i")
    screen.read(until="ready> ")
    answer = sandbox.call("POST", "/read_output", {"id": screen.id, "data": "echo o'n'e\r", "until": "one", "timeout_ms": LONG}).json()
    assert answer["why"] == "until" and answer["offset"] == screen.offset
    wait_until(lambda: screen.read(settle_ms=200)["output"].endswith("ready> "), "the prompt")
    assert screen.types("true\r", "ready> ").startswith("true\r")


def test_python(sandbox):
    screen = Screen(sandbox, "exec python3 -q", env={"PYTHON_HISTORY": "/dev/null", "PYTHON_BASIC_REPL": "1"})
    screen.read(until=">>> ")
    assert "\r\n1024\r\n" in screen.types("2 ** 10\r", ">>> ")
    assert "name? " in screen.types("input('name? ')\r", "name? ")
    assert "'x'" in screen.types("x\r", ">>> ")
    assert screen.read(data="exit()\r", until="never to be seen")["why"] == "ended"


def test_a_password(sandbox):
    """What is typed is not echoed, and the next prompt is seen."""
    screen = Screen(sandbox, "exec bash -c 'read -s -p \"Password: \" word; echo; read -p \"Again? \" again; echo \"$word-$again\"'")
    screen.read(until="Password: ")
    assert screen.types("secret\r", "Again? ") == "\r\nAgain? "
    assert screen.types("yes\r", "secret-yes").startswith("yes\r\n")


@needs("ssh-keygen")
def test_the_questions_of_ssh_keygen(sandbox):
    directory = make_directory()
    screen = Screen(sandbox, "exec ssh-keygen -t ed25519", env={"HOME": directory})
    screen.read(until="save the key")
    screen.read(until="): ")
    screen.types(f"{directory}/key\r", "Enter passphrase")
    screen.types("some words\r", "again: ")
    screen.types("other words\r", "Enter passphrase")
    screen.types("some words\r", "again: ")
    answer = screen.read(data="some words\r", until="never to be seen")
    assert answer["why"] == "ended" and answer["exit_code"] == 0 and os.path.exists(f"{directory}/key.pub")
    shutil.rmtree(directory)


@needs("vim")
def test_vim(sandbox):
    directory = make_directory()
    screen = Screen(sandbox, f"exec vim -u NONE -i NONE -n {directory}/file")
    screen.read(settle_ms=300)
    screen.types("ihello from vim\x1b", "vim")
    answer = screen.read(data=":wq\r", until="never to be seen")
    assert answer["why"] == "ended" and answer["exit_code"] == 0
    assert sandbox.post("/read_file", path=f"{directory}/file").json()["content"] == "hello from vim\n"
    shutil.rmtree(directory)


@needs("top")
def test_top(sandbox):
    screen = Screen(sandbox, "exec top -d 60")
    screen.read(until="COMMAND")
    answer = screen.read(data="q", until="never to be seen")
    assert answer["why"] == "ended" and answer["exit_code"] == 0


@needs("less")
def test_less(sandbox):
    screen = Screen(sandbox, "seq 1000 | exec less", env={"LESS": ""})
    screen.read(until="23")
    screen.types("G", "1000")
    assert screen.read(data="q", until="never to be seen")["why"] == "ended"


def test_parts_and_bytes(sandbox):
    """Parts of any size are the output once; characters are not cut; what is no UTF-8 is in base64, or replaced."""
    screen = Screen(sandbox, "stty -opost; printf 'x\\377äö€😀 %.0s' $(seq 200); printf '\\0'")
    whole = b"x\xff" + "äö€😀 ".encode()
    sandbox.ended(screen.id)
    for size in (4, 5, 7, 1000):
        screen.offset, output, why = 0, "", None
        while why != "ended":
            answer = screen.read(max_bytes=size, encoding="utf-8")
            output, why = output + answer["output"], answer["why"]
            assert len(answer["output"].encode()) <= 3 * size
        assert output == whole.decode(errors="replace") * 200 + "\0"
    screen.offset = 0
    answer = screen.read()
    assert answer["is_base64"] and base64.b64decode(answer["output"]) == whole * 200 + b"\0"
    screen.offset = 3
    answer = screen.read(encoding="base64", max_bytes=4)
    assert base64.b64decode(answer["output"]) == (whole * 2)[3:7] and answer["next_offset"] == 7


def test_half_a_character(sandbox):
    screen = Screen(sandbox, "stty raw -echo; printf 'a\\303'; read x; printf '\\244b'; exec sleep 1000")
    assert screen.read()["output"] == "a"
    assert screen.types("\n", "b") == "äb"


def test_refusals(sandbox):
    screen = Screen(sandbox, "printf one; exec sleep 1000")
    screen.read(until="one")
    for wrong in (4, "x", "-1", "1.5", f"{screen.id[:8]}-0-0", "9" * 19):
        answer = sandbox.post("/read_output", id=screen.id, offset=wrong)
        assert answer.status_code == 400 and answer.json()["error"].startswith("Invalid offset"), wrong
    assert screen.read(timeout_ms=50)["why"] == "timeout"
    answer = sandbox.post("/read_output", id=screen.id, data="x" * 5000)
    assert answer.status_code == 400 and answer.json()["error_code"] == "too_large"


@pytest.mark.host
def test_what_retention_has_removed(make_server):
    server = make_server({"SANDBOX_LOG_MAX": "1m"})
    size = sum(len(str(number)) + 2 for number in range(1, 300001))
    screen = Screen(server, "seq 300000; exec sleep 1000")
    wait_until(lambda: server.get(f"/get_process?id={screen.id}").json()["pty"]["next_offset"] == size, "all output", 6 * DEADLINE)
    answer = server.post("/read_output", id=screen.id, max_bytes=1048576).json()
    assert answer["output"].endswith("299999\r\n300000\r\n") and answer["next_offset"] == size
    assert answer["missed_bytes"] > 0 and answer["missed_bytes"] + len(answer["output"]) == size


@pytest.mark.host
@pytest.mark.parametrize("daemon", ["fcgi-app", "procd"])
def test_resumes_when_a_daemon_was_killed(server, daemon):
    """No byte is lost and none comes twice."""
    identifier = server.post("/start_process", cmd="for i in $(seq 400); do echo $i; sleep 0.005; done", pty={}).json()["id"]
    assert read_through_deaths(server, daemon, identifier, 0) == ("".join(f"{number}\r\n" for number in range(1, 401)), 3)


# ---- /read_screen ----


def read_screen(server, identifier):
    answer = server.get(f"/read_screen?id={identifier}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def shows(screen, text):
    """Waits until the screen has a text; the screen then."""
    def look():
        seen = read_screen(screen.server, screen.id)
        return seen if text in seen["screen"] else None

    return wait_until(look, f"{text!r} on the screen")


def test_what_the_screen_shows(sandbox):
    title = "\\033]2;a \\303\\244 title\\007"
    screen = Screen(sandbox, f"printf 'one\\ttwo\\r\\n{title}\\033[4;3Hx\\303\\244\\360\\237\\230\\200y\\033[5;1Hgone\\033[2K'; exec sleep 1000", cols=20, rows=6)
    seen = shows(screen, "y")
    assert seen.pop("offset") == sandbox.get(f"/get_process?id={screen.id}").json()["pty"]["next_offset"]
    assert seen == {"screen": "one     two\n\n\n  xä😀y\n\n", "cursor": {"row": 4, "col": 4, "visible": True}, "cols": 20, "rows": 6, "title": "a ä title",
                    "alternate": False, "status": "running"}


def test_the_screen_of_a_terminal_that_has_ended(sandbox):
    screen = Screen(sandbox, "printf 'last words\\033[?25l'")
    sandbox.ended(screen.id)
    seen = read_screen(sandbox, screen.id)
    assert seen["screen"].startswith("last words\n") and seen["status"] == "completed" and seen["cursor"] == {"row": 0, "col": 10, "visible": False}
    assert seen["screen"].count("\n") == 23


def test_an_empty_screen(sandbox):
    screen = Screen(sandbox, "exec sleep 1000", cols=3, rows=2)
    seen = read_screen(sandbox, screen.id)
    assert (seen["screen"], seen["offset"], seen["title"]) == ("\n", 0, "")


@needs("vim")
def test_vim_as_a_person_sees_it(sandbox):
    directory = make_directory()
    screen = Screen(sandbox, f"exec vim -u NONE -i NONE -n --cmd 'set laststatus=2' {directory}/file", cols=60, rows=10)
    shows(screen, "file")
    screen.read(data="iFirst line\rSecond line\x1b", settle_ms=300)
    seen = shows(screen, "Second line")
    rows = seen["screen"].split("\n")
    assert rows[:3] == ["First line", "Second line", "~"] and len(rows) == 10 and seen["alternate"] is True
    assert (seen["cursor"]["row"], seen["cursor"]["col"]) == (1, 10)
    assert sandbox.post("/resize_terminal", id=screen.id, cols=40, rows=5).status_code == 200
    wait_until(lambda: len(read_screen(sandbox, screen.id)["screen"].split("\n")) == 5, "the new size")
    screen.read(data=":q!\r", until="never to be seen")
    assert read_screen(sandbox, screen.id)["alternate"] is False
    shutil.rmtree(directory)


@needs("top")
def test_top_as_a_person_sees_it(sandbox):
    screen = Screen(sandbox, "exec top -d 60", cols=100, rows=30)
    seen = shows(screen, "COMMAND")
    assert seen["screen"].startswith("top - ") and "Tasks:" in seen["screen"]


def test_a_screen_after_much_output(sandbox):
    """More than what is replayed: it is the end that a person sees, and no half sequence."""
    screen = Screen(sandbox, "seq 300000 | sed 's/.*/\\x1b[1;31m&\\x1b[0m/'; printf done; exec sleep 1000")
    wait_until(lambda: sandbox.get(f"/get_process?id={screen.id}").json()["pty"]["next_offset"] > 5000000, "the output", 6 * DEADLINE)
    rows = shows(screen, "done")["screen"].split("\n")
    assert rows == [str(number) for number in range(299978, 300001)] + ["done"]


def test_garbage_on_the_screen(sandbox):
    """Whatever is printed, there is an answer, and the server lives."""
    sizes = (1, 80, 300, 2, 500, 24)
    for seed in range(6):
        program = f"import os, random, sys; sys.stdout.buffer.write(random.Random({seed}).randbytes(300000).replace(b'a', b'\\\\x1b[').replace(b'b', b'\\\\x1b]'))"
        screen = Screen(sandbox, f"exec python3 -c \"{program}\"", cols=sizes[seed], rows=sizes[seed - 1])
        sandbox.ended(screen.id)
        answer = sandbox.get(f"/read_screen?id={screen.id}")
        assert answer.status_code in (200, 500), answer.text
    assert sandbox.run("echo alive")["stdout"] == "alive\n"


def test_screens_that_are_refused(sandbox):
    plain = sandbox.start("exec sleep 1000")["id"]
    answer = sandbox.get(f"/read_screen?id={plain}")
    assert answer.status_code == 400 and answer.json()["error_code"] == "unsupported"
    assert sandbox.get("/read_screen?id=00000000-0000-4000-8000-000000000000").status_code == 404
    assert sandbox.get("/read_screen").status_code == 400
    large = Screen(sandbox, "exec sleep 1000", cols=65535, rows=65535)
    assert sandbox.get(f"/read_screen?id={large.id}").json()["error_code"] == "unsupported"
