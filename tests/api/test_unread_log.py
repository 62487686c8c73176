"""Standard output and error lead to somebody who does not read: nothing waits for it, and what is lost is counted."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import termios
import threading
import tty

import pytest

from sandbox import BIG_TIMEOUT, BIN, DEADLINE, Port, Sandbox, in_threads, wait_until

pytestmark = pytest.mark.host


class Reader(threading.Thread):
    """All that comes until the last writer has gone."""

    def __init__(self, fd):
        super().__init__(daemon=True)
        self.fd, self.data = fd, b""
        self.start()

    def run(self):
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal any more
            while piece := os.read(self.fd, 65536):
                self.data += piece


class Unread(Sandbox):
    """A server whose standard output and error are `write`, in the hands of somebody who reads `read`, or does not."""

    def __init__(self, read, write, settings=None, prefix=()):
        self.ports = Port(), Port()
        port, proxy_port = (each.number for each in self.ports)
        super().__init__(f"http://127.0.0.1:{port}", ("127.0.0.1", proxy_port), "secret")
        self.home = tempfile.mkdtemp(prefix="nxs-")
        os.chmod(self.home, 0o777)
        self.read, self.write = read, write
        environment = {**os.environ, "SANDBOX_SECRET": "secret", "PORT": str(port), "PROXY_PORT": str(proxy_port), "SANDBOX_RUN_DIR": f"{self.home}/run",
                       "SANDBOX_ACCESS_LOG": "/dev/stdout", "LOG_LEVEL": "info", **(settings or {})}
        self.process = subprocess.Popen([*prefix, BIN / "nginx-sandbox"], env=environment, stdin=subprocess.DEVNULL, stdout=write, stderr=write)

        def healthy():
            assert self.process.poll() is None
            with contextlib.suppress(OSError):
                return self.get("/health", timeout=5).status_code == 200

        wait_until(healthy, "the server to be healthy")

    def fill(self):
        """Nobody has read anything, and now there is no room for more."""
        flags = fcntl.fcntl(self.write, fcntl.F_GETFL)
        assert not flags & os.O_NONBLOCK, "who has started the server shares this flag"
        with open(os.dup(self.write), "wb", buffering=0) as writer, contextlib.suppress(BlockingIOError):
            os.set_blocking(writer.fileno(), False)
            while writer.write(b"#" * 99 + b"\n") == 100:
                pass
        fcntl.fcntl(self.write, fcntl.F_SETFL, flags)

    def dropped(self):
        return self.get("/health?full=1").json()["log"]["dropped_lines"]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(DEADLINE) == 0

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(DEADLINE)
        for fd in (self.read, self.write):
            with contextlib.suppress(OSError):
                os.close(fd)
        for port in self.ports:
            port.free()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture
def start():
    servers = []

    def make(kind, *arguments, **options):
        servers.append(Unread(*OPEN[kind](), *arguments, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def open_socket():
    return [end.detach() for end in socket.socketpair()]


def open_terminal():
    read, write = os.openpty()
    tty.setraw(write, termios.TCSANOW)
    return read, write


OPEN = {"pipe": os.pipe, "socket": open_socket, "terminal": open_terminal}


def use(server, count=60):
    """All that makes the daemons and nginx say something."""
    def one(number):
        assert server.call("POST", "/run", {"cmd": "true"}, headers={"X-Request-ID": f"used-{number}"}).json()["code"] == 0
        assert server.get("/none").status_code == 404
        assert server.get("/health").status_code == 200

    in_threads(count, one)
    for _ in range(5):
        identifier = server.post("/start_process", cmd="kill -9 $PPID").json()["id"]
        wait_until(lambda id=identifier: server.get(f"/get_process?id={id}").json()["status"] != "running", "the end of the job")


def lines(reader):
    """Those of the server, each of which must be whole."""
    found = [line for line in reader.data.decode().splitlines() if line.strip("#")]
    for line in found:
        assert isinstance(json.loads(line), dict) if line.startswith("{") else re.match("(nginx-sandbox|fcgi-app|procd|terminal|guard|s6-[a-z]+|nginx): ", line), line
    return found


@pytest.mark.parametrize("kind", OPEN)
def test_nobody_reads(start, kind):
    """Every request is answered; the losses are told, in the log as well when somebody reads again; the flags of the descriptor, which who started
    the server shares, stay as they were; and the server ends in its time."""
    server = start(kind)
    use(server, 5)
    server.fill()
    before = server.dropped()
    use(server)
    state = server.get("/health?full=1").json()
    assert state["status"] == "ok" and state["log"]["dropped_lines"] >= before + 180
    (warning,) = state["warnings"]
    assert "lines of the server's log were dropped" in warning
    assert server.get("/health", token=False).json() == {"status": "ok"}
    assert not fcntl.fcntl(server.write, fcntl.F_GETFL) & os.O_NONBLOCK
    reader = Reader(os.dup(server.read))
    wait_until(lambda: server.post("/run", cmd="true") and b" lines of this log were dropped" in reader.data, "the line that reports it")
    for number in range(20):
        server.call("POST", "/run", {"cmd": "true"}, headers={"X-Request-ID": f"read-{number}"})
    server.end()
    os.close(server.write)
    reader.join(DEADLINE)
    if kind != "terminal":  # where a line that does not fit may begin
        lines(reader)
    assert {f"read-{number}" for number in range(20)} <= set(re.findall(r'"request_id":"(.*?)"', reader.data.decode()))


@pytest.mark.parametrize("kind", OPEN)
def test_nobody_has_ever_read_and_it_is_stopped(start, kind):
    server = start(kind)
    server.fill()
    use(server, 20)
    server.end()


def test_another_users_pipe(start):
    """It cannot be opened again for a description that does not block."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    server = start("pipe", prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "PATH=/usr/sbin:/usr/bin:/bin"))
    server.fill()
    use(server)
    assert server.dropped() > 100
    server.end()


def test_the_reader_has_gone(start):
    server = start("pipe", {"SANDBOX_MAX_FAILED_AUTH": "0"})
    os.close(server.read)
    use(server)
    state = server.get("/health?full=1").json()
    assert state["log"]["dropped_lines"] > 100 and not any(daemon["restarts"] for daemon in state["daemons"].values())
    server.end()


def test_nothing_is_lost_on_one_who_reads(start):
    """Also of what is said right before the end."""
    server = start("pipe")
    reader = Reader(os.dup(server.read))
    in_threads(8, lambda thread: [server.call("POST", "/run", {"cmd": "true"}, headers={"X-Request-ID": f"said-{thread}-{number}"}) for number in range(50)])
    assert server.dropped() == 0
    server.end()
    os.close(server.write)
    reader.join(DEADLINE)
    requests = [json.loads(line)["request_id"] for line in lines(reader) if line.startswith("{")]
    assert sorted(each for each in requests if each.startswith("said")) == sorted(f"said-{thread}-{number}" for thread in range(8) for number in range(50))
    assert len([line for line in lines(reader) if re.match(r"fcgi-app: info: \[said-", line)]) == 400


def test_the_programs_of_nginx_die(start):
    """The one that takes its lines is killed, and nginx itself: the next ones log as before."""
    server = start("pipe")
    reader = Reader(os.dup(server.read))

    def leader():
        with contextlib.suppress(FileNotFoundError):
            return int(os.readlink(f"{server.home}/run/service/nginx/leader"))

    for name in ("nginx-sandbox", "nginx"):
        pid = wait_until(leader, "nginx to run")
        if name == "nginx-sandbox":
            pid = int(re.search(r"^PPid:\s+(\d+)", open(f"/proc/{pid}/status").read(), re.M)[1])
        os.kill(pid, signal.SIGKILL)

        def logs(mark=f"after-{name}"):
            with contextlib.suppress(OSError):
                server.call("POST", "/run", {"cmd": "true"}, headers={"X-Request-ID": mark}, timeout=5)
            return mark.encode() in reader.data

        wait_until(logs, f"a line after the death of {name}")
    server.end()


def test_a_fifo_of_a_name(start):
    """As access log: it has no reader at the start, and takes lines as soon as it has one."""
    directory = tempfile.mkdtemp(prefix="nxs-fifo-")
    os.chmod(directory, 0o755)
    os.mkfifo(f"{directory}/log")
    server = start("pipe", {"SANDBOX_ACCESS_LOG": f"{directory}/log"})
    Reader(os.dup(server.read))
    use(server)
    assert server.dropped() == 0
    reader = Reader(os.open(f"{directory}/log", os.O_RDONLY))
    wait_until(lambda: b'"used-59"' in reader.data, "the lines")
    assert all(json.loads(line)["uri"] for line in reader.data.decode().split("\n")[:-1])
    server.end()
    shutil.rmtree(directory)


def test_the_command_beside_the_server_has_what_it_was_given(start):
    """Its output is its own affair: it waits for its reader, as it would without a server."""
    server = start("pipe")
    descriptors = [f"/proc/{server.process.pid}/fdinfo/{fd}" for fd in (1, 2)]
    assert all(not int(re.search(r"^flags:\s+(\d+)", open(path).read(), re.M)[1], 8) & os.O_NONBLOCK for path in descriptors)
    assert server.get("/health", timeout=BIG_TIMEOUT).status_code == 200
    server.end()
