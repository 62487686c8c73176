"""Machines on which runners cannot start, and what they can do without."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

from sandbox import SANITIZED, TEST_USER, proc_file, wait_until


def runners(server):
    return [pid for pid in server.launch.tree() if proc_file(pid, "cmdline").startswith(b"procd\0--runner\0")]


@pytest.mark.host
def test_runners_that_die_as_they_start(make_server, open_directory):
    """They are started ever more seldom, a command is refused with the reason meanwhile, and all is well when they can start."""
    if SANITIZED or TEST_USER:
        pytest.skip("needs a preloaded library in all processes")
    library, flag = open_directory / "failing_runner.so", open_directory / "fail"
    source = pathlib.Path(__file__).with_name("failing_runner.c")
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, source], check=True)
    server = make_server({"LD_PRELOAD": str(library), "RUNNERS_FAIL": str(flag), "LOG_LEVEL": "debug"})
    assert server.shell("echo 1") == "1\n"
    flag.touch()
    for pid in runners(server):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "runners die as they start" in server.launch.stderr.text, "the failures to be noted")
    wait_until(lambda: "runners of procd die as they start" in server.post("/run", cmd="true").text, "a refusal")
    assert server.post("/run", cmd="true").status_code == 503
    for path in ("/health", "/health?full=1"):
        answer = server.get(path)
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable") and "No command can be started" in answer.json()["error"]
    before = started(server)
    time.sleep(1)  # of the time itself: how many are started in it
    assert started(server) - before < 20
    flag.unlink()
    wait_until(lambda: server.post("/run", cmd="true").status_code == 200, "a command to run")
    assert server.shell("echo 2") == "2\n"


def started(server):
    return sum(line.startswith("procd: debug: runner ") and line.endswith(" started\n") for line in list(server.launch.stderr.lines))


@pytest.mark.host
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_without_dev_null(make_server):
    """A command of root has removed it: others run all the same, in runners that have been started since."""
    dev = ("mount -t tmpfs -o mode=755 none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && "
           "ln -s /proc/self/fd /dev/fd; exec \"$@\"")
    server = make_server({"SANDBOX_USER": None}, prefix=["unshare", "--mount", "sh", "-c", dev, "sh"])
    server.shell("rm /dev/null")
    for pid in runners(server):
        os.kill(pid, signal.SIGKILL)
    for _ in range(6):
        assert server.run("cat; echo ok; echo no >&2") == {"stdout": "ok\n", "stderr": "no\n", "code": 0}
    assert server.lines(server.start("cat; echo ok")["id"]) == ["ok"]
    answer = server.get("/health", token=False)
    assert answer.status_code == 200 and answer.json()["status"] == "ok"
    (warning,) = answer.json()["warnings"]
    assert warning.startswith("/dev/null is missing")
    server.shell("echo a file >/dev/null")
    assert server.get("/health?full=1").json()["warnings"][0] == warning
    server.shell("rm /dev/null; mknod -m 666 /dev/null c 1 3")
    assert server.get("/health").json() == {"status": "ok"}


@pytest.mark.host
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_with_a_proc_that_is_read_only(make_server):
    """Commands run; that they cannot be made to go before the daemons when memory is out is logged."""
    server = make_server(prefix=["unshare", "--mount", "sh", "-c", 'mount -o remount,ro,bind /proc; exec "$@"', "sh"])
    assert server.shell("echo ok") == "ok\n"
    assert server.lines(server.start("echo ok")["id"]) == ["ok"]
    assert "/proc is read-only" in server.launch.stderr.text
    (warning,) = server.get("/health").json()["warnings"]
    assert warning.startswith("/proc is read-only")


@pytest.mark.host
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("change, words", [
    ("mount -t tmpfs none /proc", "/proc is not there"),
    ("mount -o bind {run} {run}; mount -o remount,ro,bind {run}", "the run directory is read-only"),
])
def test_health_names_what_is_wrong(make_server, change, words):
    """In the namespace of the server somebody hides or closes what it needs: it says so, and goes on."""
    server = make_server(prefix=["unshare", "--mount"])
    assert server.get("/health").json() == {"status": "ok"}
    process = f"/proc/{server.daemon('fcgi-app')}"
    enter = ["nsenter", f"--mount={process}/ns/mnt", f"--root={process}/root"]
    subprocess.run([*enter, "sh", "-ec", change.format(run=server.run_dir)], check=True)
    answer = server.get("/health", token=False)
    assert answer.status_code == 200 and any(words in warning for warning in answer.json()["warnings"]), answer.text
    subprocess.run([*enter, "umount", "/proc" if "/proc" in words else server.run_dir], check=True)
    assert server.get("/health").json() == {"status": "ok"}
