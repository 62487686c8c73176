"""Commands whose working directory is on a file system that does not answer, as a dead NFS or FUSE server's does."""

import concurrent.futures
import ctypes
import os
import signal
import struct
import threading

import pytest

from sandbox import TIMEOUT, proc_stat, wait_until

MNT_FORCE, MNT_DETACH = 1, 2
LIBC = ctypes.CDLL(None, use_errno=True)
INIT, HEADER = 26, struct.Struct("=IIQ")


class DeadFileSystem:
    """A FUSE file system whose server takes requests, if `reads`, and answers none. Who waits for an answer that was not read
    yet can be killed; after that nothing but the end of the server ends the wait."""

    def __init__(self, path, reads):
        self.path, self.fd = str(path), os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if LIBC.mount(b"dead", self.path.encode(), b"fuse", 0, options) < 0:
            os.close(self.fd)
            pytest.skip(f"no FUSE here: {os.strerror(ctypes.get_errno())}")
        self.requests = 0
        if reads:
            threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while True:
                request = os.read(self.fd, 1 << 17)
                _, operation, unique = HEADER.unpack_from(request)
                if operation == INIT:
                    body = struct.pack("=IIIIHHII", 7, 31, 1 << 17, 0, 12, 9, 1 << 16, 1).ljust(64, b"\0")
                    os.write(self.fd, HEADER.pack(16 + len(body), 0, unique) + body)
                else:
                    self.requests += 1
        except OSError:
            pass  # it is over

    def end(self):
        LIBC.umount2(self.path.encode(), MNT_FORCE | MNT_DETACH)
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@pytest.fixture
def hanging(tmp_path, request):
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and /dev/fuse")
    dead = DeadFileSystem(tmp_path, getattr(request, "param", False))
    yield dead
    dead.end()


@pytest.mark.host
@pytest.mark.parametrize("hanging", [False, True], indirect=True, ids=["killable", "stuck"])
def test_the_timeout_holds(make_server, hanging):
    """...from the request on, whatever hangs: /run, /run_streaming and jobs end at their timeout, and what is killed is killed."""
    server = make_server()
    bounded = {"cwd": hanging.path, "timeout_ms": 500, "kill_grace_ms": 0}
    answer, facts = server.run_with_facts("echo never", **bounded)
    assert (answer["code"], answer["stdout"], facts["reason"]) == (-1, "", "timeout")
    with server.stream("echo never", **bounded) as stream:
        assert [event.name for event in stream.events()] == ["complete"]
    job = server.start("echo never", **bounded)
    assert server.ended(job["id"]) == "failed"
    assert server.get(f"/get_process?id={job['id']}").json()["reason"] == "timeout"
    job = server.start("echo never", cwd=hanging.path)
    assert server.status(job["id"]) == "running"
    assert server.kill(job["id"]).status_code == 200
    assert server.status(job["id"]) == "killed" and server.lines(job["id"]) == []
    assert server.shell("echo others run") == "others run\n"
    hanging.end()


@pytest.mark.host
def test_a_directory_that_comes_to_answer_late(make_server, hanging):
    """A job that was reported as started says in its log what it could not enter."""
    server = make_server()
    job = server.start("echo never", cwd=hanging.path)
    assert server.status(job["id"]) == "running"
    hanging.end()
    assert server.ended(job["id"]) == "failed"
    assert server.lines(job["id"])[0].startswith("Invalid working directory: ")
    assert server.get(f"/get_process?id={job['id']}").json()["exit_code"] == 127


@pytest.mark.host
def test_a_client_that_leaves_a_command_that_hangs(make_server, hanging):
    server = make_server()
    with server.stream("echo never", cwd=hanging.path, answer_timeout=60) as stream:
        stream.close()
    wait_until(lambda: not [pid for pid in server.launch.tree() if hangs(pid)], "nothing to hang there")
    assert server.shell("echo ok") == "ok\n"


def hangs(pid):
    try:
        with open(f"/proc/{pid}/wchan") as file:
            return "fuse" in file.read()
    except OSError:
        return False


@pytest.mark.host
def test_a_runner_that_is_killed_while_it_starts(make_server, hanging):
    """The answer says what died: the command's runner, and not procd."""
    server = make_server()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.post, "/run", cmd="echo never", cwd=hanging.path)
        child = wait_until(lambda: next((pid for pid in server.launch.tree() if hangs(pid)), None), "the command to hang")
        os.kill(proc_stat(child)[1], signal.SIGKILL)
        answer = answer.result(TIMEOUT)
    assert (answer.status_code, answer.json()["may_have_run"]) == (409, True)
    assert "runner" in answer.json()["error"] and "procd" not in answer.json()["error"]
