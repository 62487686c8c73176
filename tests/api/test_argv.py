"""argv instead of cmd: a program and its arguments, without a shell. Bytes in and out of /run."""

import base64
import json
import os
import random
import shlex
import subprocess

import pytest

from sandbox import TEST_USER, split_facts, wait_until

PATHS = ("/run", "/run_streaming", "/start_process")
PRINT = "import json, sys; print(json.dumps(sys.argv[1:]))"
HARD = ["", " ", "a b", "'", "''", "it's", '"', "$HOME", "`id`", "$(id)", "\\", "a\nb", "*", "~", "-n", "ü€😀", "#", ";", "&", "=", "A=b", "!", "a'b'c", "\t"]


def run_argv(sandbox, argv, **fields):
    answer = sandbox.post("/run", argv=argv, **fields)
    assert answer.status_code == 200, answer.text
    return split_facts(answer.json())[0]


def refused(sandbox, path, **fields):
    """The message of a 400, or of the event that says why a command of a stream was not started."""
    answer = sandbox.post(path, **fields)
    assert answer.status_code == 400, answer.text
    return answer.json()


def test_arguments_arrive_as_they_are(sandbox):
    answer = run_argv(sandbox, ["python3", "-c", PRINT, *HARD])
    assert json.loads(answer["stdout"]) == HARD
    assert answer["code"] == 0 and answer["stderr"] == ""


def test_there_is_no_shell(sandbox):
    assert run_argv(sandbox, ["echo", "$HOME", ";", "echo", "x"])["stdout"] == "$HOME ; echo x\n"
    assert "sh" not in run_argv(sandbox, ["cat", "/proc/self/comm"])["stdout"]
    assert run_argv(sandbox, ["sh", "-c", "exit 7"])["code"] == 7
    assert run_argv(sandbox, ["sh", "-c", "kill -TERM $$"])["signal"] == "SIGTERM"


def test_the_stream(sandbox):
    answer = sandbox.post("/run_streaming", argv=["printf", "%s\\n", "a  b", "c"])
    assert [line for line in answer.text.split("\n") if line.startswith("data:")][:2] == [
        'data: {"stream":"stdout","data":"a  b"}', 'data: {"stream":"stdout","data":"c"}']


@pytest.mark.parametrize("path", PATHS)
def test_one_of_the_two(sandbox, path):
    for fields in ({}, {"argv": None}, {"cmd": None, "argv": None}):
        assert refused(sandbox, path, **fields)["error"] == "Command is required"
    assert "exclude" in refused(sandbox, path, cmd="true", argv=["true"])["error"]
    assert "empty" in refused(sandbox, path, argv=[])["error"]
    assert "empty" in refused(sandbox, path, argv=["", "x"])["error"]
    for wrong in ("true", {"0": "true"}, 1, True):
        assert refused(sandbox, path, argv=wrong)["error"] == "argv must be an array of strings"
    for wrong in ([1], ["true", None], ["true", ["x"]]):
        assert refused(sandbox, path, argv=wrong)["error"] == "argv: every element must be a string"
    assert "NUL" in refused(sandbox, path, argv=["true", "a\0b"])["error"]
    answer = sandbox.call("POST", path, b'{"argv":["true","\\ud800"]}')
    assert answer.status_code == 400 and "surrogate" in answer.json()["error"]


def test_an_empty_cmd_counts_as_in_its_call(sandbox):
    assert "exclude" in refused(sandbox, "/run", cmd="", argv=["true"])["error"]
    sandbox.start(None, argv=["true"])


def not_started(sandbox, path, **fields):
    """(error, error_code) of a program that cannot be executed."""
    answer = sandbox.post(path, **fields)
    if path == "/run_streaming":
        assert answer.status_code == 200
        (data,) = [line for line in answer.text.split("\n") if line.startswith("data:")]
        found = json.loads(data[5:])
    else:
        assert answer.status_code == 400, answer.text
        found = answer.json()
    return found["error"], found["error_code"]


@pytest.mark.parametrize("path", PATHS)
def test_a_program_that_cannot_be_executed(sandbox, path, workdir):
    script = f"{workdir}/script"
    sandbox.shell(f"printf 'echo x\\n' >{script}; printf '\\0\\0\\0' >{workdir}/bytes; chmod 755 {script} {workdir}/bytes; printf x >{workdir}/plain")
    before = len(sandbox.processes())
    assert not_started(sandbox, path, argv=["no-such-program-anywhere", "x"]) == (
        "Cannot execute no-such-program-anywhere: No such file or directory", "not_found")
    assert not_started(sandbox, path, argv=[f"{workdir}/none"])[1] == "not_found"
    assert not_started(sandbox, path, argv=["plain"], env={"PATH": workdir})[1] == "permission_denied"
    assert not_started(sandbox, path, argv=[workdir])[1] == "permission_denied"
    assert not_started(sandbox, path, argv=[f"{script}/x"])[1] == "not_a_directory"
    assert not_started(sandbox, path, argv=[script])[1] == "invalid_request"  # it has no #!, and there is no shell
    assert not_started(sandbox, path, argv=["x" * 300])[1] == "invalid_path"
    assert not_started(sandbox, path, argv=["true", "x" * 200_000])[1] == "too_large"
    assert "Invalid working directory" in not_started(sandbox, path, argv=["true"], cwd="/nonexistent")[0]
    if sandbox.local:
        assert len(sandbox.processes()) == before


def test_the_commands_path(sandbox, workdir):
    """As execvp(3) looks for it: in the PATH that the command has, from the command's directory."""
    sandbox.shell(f"cd {workdir}; mkdir a b c; for d in a b; do printf '#!/bin/sh\\necho '$d >$d/prog; done; chmod 755 a/prog; chmod 644 b/prog; printf x >c/prog")

    def found(path, **fields):
        return run_argv(sandbox, ["prog"], env={"PATH": path}, **fields)["stdout"]

    assert found(f"{workdir}/none:{workdir}/a") == "a\n"
    assert found(f"{workdir}/b:{workdir}/c:{workdir}/a/prog:{workdir}/a") == "a\n"  # the others may not be executed
    assert found("none:a", cwd=workdir) == "a\n"
    for empty in ("", ":/none", "/none:", "/none::/none"):
        assert found(empty, cwd=f"{workdir}/a") == "a\n", empty
    assert run_argv(sandbox, ["./prog"], cwd=f"{workdir}/a")["stdout"] == "a\n"
    assert not_started(sandbox, "/run", argv=["prog"], env={"PATH": f"{workdir}/b:{workdir}/none"})[1] == "permission_denied"
    assert not_started(sandbox, "/run", argv=["prog"], env={"PATH": f"/none:{'x' * 5000}"})[1] == "not_found"
    assert run_argv(sandbox, ["prog"], env={"PATH": f"{'x' * 5000}:{workdir}/a"})["stdout"] == "a\n"


def test_many_arguments(sandbox):
    argv = [str(number) * 10 for number in range(10_000)]
    assert json.loads(run_argv(sandbox, ["python3", "-c", PRINT, *argv])["stdout"]) == argv
    assert run_argv(sandbox, ["true", "x" * 131_071])["code"] == 0
    answer = sandbox.call("POST", "/run", json.dumps({"argv": ["true", "x" * (5 << 20)]}).encode())
    assert answer.status_code == 413 and answer.json()["error_code"] == "too_large"


def test_everything_else_is_as_with_cmd(sandbox, workdir, marker):
    assert run_argv(sandbox, ["pwd"], cwd=workdir)["stdout"] == f"{workdir}\n"
    assert run_argv(sandbox, ["printenv", "A"], env={"A": "ü"})["stdout"] == "ü\n"
    assert run_argv(sandbox, ["cat"], stdin="text")["stdout"] == "text"
    answer = sandbox.post("/run", argv=["sleep", marker.text], timeout_ms=50).json()
    assert answer["reason"] == "timeout" and answer["signal"] == "SIGTERM"
    if TEST_USER:
        assert run_argv(sandbox, ["id", "-un"])["stdout"].strip() == TEST_USER


def test_a_process(sandbox):
    argv = ["python3", "-c", PRINT, *HARD]
    job = sandbox.start(None, argv=argv)["id"]
    assert sandbox.ended(job) == "completed"
    shown = sandbox.get(f"/get_process?id={job}").json()["command"]
    assert shlex.split(shown) == argv
    assert [process["command"] for process in sandbox.processes() if process["id"] == job] == [shown]
    assert json.loads(sandbox.lines(job)[0]) == HARD
    # A shell reads it as it was.
    again = subprocess.run(["sh", "-c", f"set -- {shown}; for a; do printf '%s\\0' \"$a\"; done"], capture_output=True, check=True)
    assert again.stdout.decode().split("\0")[:-1] == argv


def test_a_long_command_is_shown_cut(sandbox):
    job = sandbox.start(None, argv=["true", *["'" * 1000] * 50])["id"]
    shown = sandbox.get(f"/get_process?id={job}").json()["command"]
    assert shown.startswith("true ''\\''") and shown.endswith("…") and len(shown.encode()) <= 65536
    sandbox.ended(job)


def test_a_process_keeps_what_a_dead_daemon_knew(server):
    job = server.start(None, argv=["sh", "-c", "read line; echo \"$1 $line\"", "sh", "a  b"], stdin=True)["id"]
    server.back("procd", server.kill_daemon("procd"))
    assert server.post("/write_stdin", id=job, data="c\n").json()["success"]
    wait_until(lambda: server.status(job) == "completed", "the process ends")
    assert server.lines(job) == ["a  b c"]
    assert server.get(f"/get_process?id={job}").json()["command"] == "sh -c 'read line; echo \"$1 $line\"' sh 'a  b'"


# ---- bytes ----


BYTES = bytes(range(256)) * 3


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 255, 65_535, 65_536, 65_537, 1_000_000])
def test_output_in_base64(sandbox, length):
    data = random.Random(length).randbytes(length)
    answer = sandbox.post("/run", argv=["sh", "-c", "tee /dev/stderr"], stdin=base64.b64encode(data).decode(),
                          stdin_encoding="base64", output_encoding="base64").json()
    assert base64.b64decode(answer["stdout"], validate=True) == data
    assert base64.b64decode(answer["stderr"], validate=True) == data
    assert answer["is_base64"] is True and answer["code"] == 0


def test_output_that_comes_byte_by_byte(sandbox):
    script = "import os, time\nfor b in range(100):\n  os.write(1, bytes([b, 255 - b])); os.write(2, bytes([b])); time.sleep(0.001)"
    answer = sandbox.post("/run", argv=["python3", "-c", script], output_encoding="base64").json()
    assert base64.b64decode(answer["stdout"], validate=True) == bytes(byte for b in range(100) for byte in (b, 255 - b))
    assert base64.b64decode(answer["stderr"], validate=True) == bytes(range(100))


def test_encodings(sandbox):
    assert "is_base64" not in sandbox.post("/run", cmd="echo x").json()
    for name in ("utf-8", "UTF8", None, ""):
        answer = sandbox.post("/run", cmd="cat", stdin="ü", stdin_encoding=name, output_encoding=name).json()
        assert answer["stdout"] == "ü" and "is_base64" not in answer
    assert sandbox.post("/run", cmd="cat", stdin="w7w=", stdin_encoding="BASE64").json()["stdout"] == "ü"
    for path in ("/run", "/run_streaming"):
        assert refused(sandbox, path, cmd="true", stdin_encoding="latin1")["error"] == "stdin_encoding must be utf-8 or base64"
        assert "character 3 has no place" in refused(sandbox, path, cmd="true", stdin="AA*A", stdin_encoding="base64")["error"]
        assert "within a group" in refused(sandbox, path, cmd="true", stdin="AAAAA", stdin_encoding="base64")["error"]
    assert refused(sandbox, "/run", cmd="true", output_encoding="hex")["error"] == "output_encoding must be utf-8 or base64"


def test_the_limit_counts_bytes(make_server):
    server = make_server({"SANDBOX_MAX_OUTPUT": "1000"})
    answer = server.post("/run", cmd="head -c 5000 /dev/zero; head -c 5000 /dev/zero >&2", output_encoding="base64").json()
    assert base64.b64decode(answer["stdout"], validate=True) == bytes(750)
    assert base64.b64decode(answer["stderr"], validate=True) == bytes(250)
    assert answer["truncated"] is True and answer["is_base64"] is True


def test_the_stdin_of_a_stream(sandbox):
    answer = sandbox.post("/run_streaming", cmd="wc -c", stdin=base64.b64encode(BYTES).decode(), stdin_encoding="base64")
    assert f'"data":"{len(BYTES)}"' in answer.text
