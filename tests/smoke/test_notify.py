"""The daemons report to a service manager that they are ready: sd_notify(3)."""

import os
import socket
import subprocess

import pytest

from sandbox import BIN, DEADLINE


def run_directory(path):
    for name in ("state", "spool", "port", "uploads"):
        (path / name).mkdir()
    return path


def listener(path, kind):
    server = socket.socket(socket.AF_UNIX, kind)
    server.bind(str(path))
    server.listen(16)
    return server


def start(daemon, run, listening, address):
    environment = {"PATH": os.environ["PATH"], "SANDBOX_CGROUP": "off", "NOTIFY_SOCKET": address}
    return subprocess.Popen([str(BIN / daemon), "-r", str(run)], stdin=listening, env=environment)


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """(socket, its name in NOTIFY_SOCKET)"""
    name = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind("\0" + name if request.param == "abstract" else name)
        server.settimeout(DEADLINE)
        yield server, ("@" if request.param == "abstract" else "") + name


@pytest.mark.parametrize("daemon", ["procd", "fcgi-app", "terminal"])
def test_a_daemon_tells_that_it_is_ready(manager, tmp_path, daemon):
    server, name = manager
    run = run_directory(tmp_path)
    with listener(run / "procd.sock", socket.SOCK_SEQPACKET) as procd, listener(run / f"{daemon}.other", socket.SOCK_STREAM) as streams:
        process = start(daemon, run, procd if daemon == "procd" else streams, name)
        try:
            assert server.recv(100) == b"READY=1"
            if daemon == "procd":  # and its runners, which have their environment from it, do not know the name
                for child in open(f"/proc/{process.pid}/task/{process.pid}/children").read().split():
                    assert b"NOTIFY_SOCKET" not in open(f"/proc/{child}/environ", "rb").read()
        finally:
            process.terminate()
            assert process.wait(DEADLINE) == 0


def test_a_name_that_is_none_is_told(tmp_path):
    run = run_directory(tmp_path)
    with listener(run / "procd.sock", socket.SOCK_SEQPACKET) as procd:
        process = subprocess.Popen([str(BIN / "procd"), "-r", str(run)], stdin=procd, stderr=subprocess.PIPE, text=True,
                                   env={"PATH": os.environ["PATH"], "SANDBOX_CGROUP": "off", "NOTIFY_SOCKET": "nowhere"})
        try:
            assert "NOTIFY_SOCKET: Invalid argument" in process.stderr.readline()
        finally:
            process.terminate()  # perhaps before it hears signals
            process.communicate(timeout=DEADLINE)
