"""
Commands that take all there is of something, in a cage that the test has made around the whole server: meanwhile the API
answers on or says 503, and when that is over it is healthy again by itself.
"""

import contextlib
import os
import pathlib
import resource
import signal
import tempfile
import uuid

import pytest
import requests

from cgroups import BOMB, IN_VM, lent, skip_unless_vm
from sandbox import DEADLINE, Server, alive, http_request, proc_file, proc_stat, wait_until
from test_files_raw import give

pytestmark = [pytest.mark.host, pytest.mark.cgroup]

# Seconds after the end of the cause. On a machine with nothing else to do five are enough (docs/development.md).
RECOVERY = float(os.environ.get("SANDBOX_TEST_RECOVERY", 2.25 * DEADLINE))
MOUNTS = pathlib.Path("/proc/self/mountinfo")


class Cage:
    """A cgroup with one limit for a whole server, in version 2 where that has the controller, otherwise in version 1."""

    NAMES = {("memory", 2): ("memory.max", "memory.current"), ("pids", 2): ("pids.max", "pids.current"),
             ("memory", 1): ("memory.limit_in_bytes", "memory.usage_in_bytes"), ("pids", 1): ("pids.max", "pids.current")}

    def __init__(self, controller, limit, base, version):
        self.path = base / f"nxs-cage-{uuid.uuid4().hex}"
        self.path.mkdir()
        limit_file, self.current_file = self.NAMES[controller, version]
        (self.path / limit_file).write_text(str(limit))

    @property
    def current(self):
        return int((self.path / self.current_file).read_text())

    def prefix(self):
        return ("sh", "-c", f'echo 0 >{self.path}/cgroup.procs; exec "$0"')

    def remove(self):
        wait_until(lambda: not (self.path / "cgroup.procs").read_text(), "the cage to be empty")
        self.path.rmdir()


@contextlib.contextmanager
def hierarchy(controller):
    """(directory, version) of a hierarchy that we may write to and that has this controller meanwhile; None if there is none."""
    with contextlib.ExitStack() as lending:
        def find():
            for line in MOUNTS.read_text().splitlines():
                point, kind, options = pathlib.Path(line.split()[4]), line.split(" - ")[1].split()[0], line.split()[-1]
                with contextlib.suppress(OSError):
                    if kind == "cgroup" and controller in options.split(",") and os.access(point, os.W_OK):
                        return point, 1
                    if kind == "cgroup2" and controller in (point / "cgroup.controllers").read_text().split():
                        lending.enter_context(lent(point, [controller]))
                        return point, 2
            return None

        yield find()


def caged(controller, limit):
    """A fixture: a server in a cage."""
    @pytest.fixture
    def fixture():
        with hierarchy(controller) as place:
            if place is None:
                skip_unless_vm(f"no cgroup with the {controller} controller can be written to")
            cage = Cage(controller, limit, *place)
            try:
                # /proc is no place for a cgroup of ours: the limit is the cage's alone.
                with Server({"SANDBOX_CGROUP": "off"}, prefix=cage.prefix(), look_for_leaks=False) as server:
                    server.cage = cage
                    yield server
            finally:
                cage.remove()
    return fixture


PIDS = 120
few_processes = caged("pids", PIDS)
little_memory = caged("memory", 256 << 20)


def answers(server):
    """Fails unless everything is answered, by what was asked for or by 503. How many times it was 503."""
    refused = 0
    for method, path, body, good in (("GET", "/health", None, 200), ("POST", "/run", {"cmd": "echo fine"}, 200),
                                     ("POST", "/start_process", {"cmd": "true"}, 201), ("GET", "/list_processes", None, 200)):
        answer = server.call(method, path, body)
        assert answer.status_code in (good, 503), (path, answer.status_code, answer.text)
        if answer.status_code == 503:
            assert answer.headers["Retry-After"] and answer.json()["error"]
            refused += 1
    with server.stream("echo fine") as stream:
        assert stream.status in (200, 503)
        refused += stream.status == 503
    return refused


def end(server, needle):
    """Kills what has `needle` in its command line, from outside: what is stopped makes no more of itself meanwhile."""
    def found():
        return [pid for pid, _ in server.find(needle)]

    def signal_all(number):
        for pid in found():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stopped():
        signal_all(signal.SIGSTOP)
        return all(proc_stat(pid)[0] == "T" for pid in found() if proc_stat(pid))

    wait_until(stopped, "all to be stopped")
    wait_until(lambda: signal_all(signal.SIGKILL) or not found(), "all to be gone")


def recovers(server):
    def well():
        with contextlib.suppress(requests.RequestException):
            return server.get("/health", token=False, timeout=1).status_code == 200 and answers(server) == 0

    wait_until(well, "the server to be well again", RECOVERY)
    assert server.run("echo fine") == {"stdout": "fine\n", "stderr": "", "code": 0}
    assert server.lines(server.start("echo fine")["id"]) == ["fine"]


# ---- processes ----


def test_fork_bomb(few_processes):
    server = few_processes
    daemons = [server.daemon(name) for name in ("nginx", "fcgi-app", "procd")]
    job = server.start(BOMB)
    wait_until(lambda: server.cage.current >= PIDS, "the bomb to have all processes")
    assert sum(answers(server) for _ in range(5)) > 0
    assert server.kill(job["id"]).status_code == 200
    recovers(server)
    assert [server.daemon(name) for name in ("nginx", "fcgi-app", "procd")] == daemons


@pytest.mark.slow
def test_daemons_that_die_in_a_fork_bomb(few_processes):
    server = few_processes
    mark = uuid.uuid4().hex  # other tests of this machine fork, too
    server.start(BOMB.replace("os.fork()", f"os.fork() # {mark}"))
    wait_until(lambda: server.cage.current >= PIDS, "the bomb to have all processes")
    old = {name: server.kill_daemon(name) for name in ("fcgi-app", "procd")}
    answers(server)
    old["nginx"] = server.kill_daemon("nginx")
    wait_until(lambda: "nginx cannot be started yet" in server.launch.stderr.text
               or server.daemon("nginx") not in (None, old["nginx"]), "another nginx to be tried, without luck or with it")
    end(server, mark)
    recovers(server)
    wait_until(lambda: not {server.daemon(name) for name in old} & {None, *old.values()}, "new daemons")


def test_slow_bodies_while_no_thread_can_be_made(few_processes, tmp_path):
    """They keep what threads there are; who comes then is told so, instead of waiting for them."""
    server = few_processes
    limit = server.cage.path / "pids.max"
    answers(server)
    give(tmp_path)
    with contextlib.ExitStack() as clients:
        for number in range(12):
            limit.write_text(str(server.cage.current))   # also of what others have left meanwhile
            client = clients.enter_context(server.raw())
            client.send(http_request("PUT", f"/files{tmp_path}/{number}", [("Host", "x"), server.bearer(), ("Content-Length", "100000")], b"some"))
            for path in ("/health", "/list_processes"):
                answer = server.get(path)
                assert answer.status_code == 200 or (answer.status_code == 503 and "threads" in answer.json()["error"]), (path, answer.text)
        assert server.launch.stderr.text.count("cannot make a thread") < 10
        limit.write_text(str(PIDS))
        wait_until(lambda: server.get("/list_processes").status_code == 200, "new threads")


def test_a_stop_in_a_fork_bomb(few_processes):
    server = few_processes
    server.start(BOMB)
    wait_until(lambda: server.cage.current >= PIDS, "the bomb to have all processes")
    server.stop()


# ---- memory ----


def test_memory_eaters(little_memory):
    server = little_memory
    daemons = [server.daemon(name) for name in ("nginx", "fcgi-app", "procd")]
    job = server.start("while :; do tail /dev/zero; echo again; done")
    with server.logs(job["id"]) as stream:
        for _ in range(3):
            answers(server)
            while stream.next().data["data"] != "again":
                pass
    assert alive(job["pid"]) and proc_file(job["pid"], "cmdline")
    assert server.kill(job["id"]).status_code == 200
    recovers(server)
    assert [server.daemon(name) for name in ("nginx", "fcgi-app", "procd")] == daemons


# ---- descriptors ----

DESCRIPTORS = 100_000
HOLDER = r"""
import os, sys, time, resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
each = min(hard, 20000) - 100
count = 0
while count < int(sys.argv[1]):
    wanted = min(each, int(sys.argv[1]) - count)
    count += wanted
    if os.fork() == 0:
        held = [os.open("/dev/null", os.O_RDONLY) for _ in range(wanted)]
        os.write(1, b"holding %d\n" % len(held))
        time.sleep(86400)
time.sleep(86400)
"""


def hold(server, count):
    return server.start(f'exec python3 -c "$HOLDER" {count}', env={"HOLDER": HOLDER})


def test_descriptors(server):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1000:
        pytest.skip("the hard limit of descriptors is too low to hold many")
    job = hold(server, DESCRIPTORS)
    held = 0
    with server.logs(job["id"]) as stream:
        while held < DESCRIPTORS:
            line = stream.next().data["data"]
            assert line.startswith("holding "), line
            held += int(line.split()[1])
    for _ in range(3):
        assert answers(server) == 0
    assert server.kill(job["id"]).status_code == 200
    recovers(server)


# Takes what is there, again and again.
GREEDY = """
import os, time
held, told = [], False
while True:
    try: held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        if not told: os.write(1, b"full")
        told = True
        time.sleep(0.01)
"""

FILE_MAX = pathlib.Path("/proc/sys/fs/file-max")
NOBODY = 65534


@pytest.fixture
def few_files():
    """A server of a user for whom the whole system has few descriptors left: there is no namespace for that."""
    before = FILE_MAX.read_text()
    as_nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    with tempfile.TemporaryDirectory(prefix="nxs-files-") as home:
        os.chown(home, NOBODY, NOBODY)
        with Server({"SANDBOX_CGROUP": "off"}, run_dir=pathlib.Path(home, "run"), prefix=as_nobody, look_for_leaks=False) as server:
            open_now = int(pathlib.Path("/proc/sys/fs/file-nr").read_text().split()[0])
            FILE_MAX.write_text(str(open_now + 3000))
            try:
                yield server
            finally:
                FILE_MAX.write_text(before)


@pytest.mark.skipif(not IN_VM, reason="the limit is the whole machine's: only in one of our own (make test-vm)")
def test_no_descriptor_is_left(few_files):
    server = few_files
    daemons = [server.daemon(name) for name in ("nginx", "fcgi-app", "procd")]
    told = server.run_dir / "told"
    server.start(f'exec python3 -c "$GREEDY" >{told}', env={"GREEDY": GREEDY})
    wait_until(lambda: told.exists() and told.read_text() == "full", "no descriptor to be left")
    with contextlib.suppress(requests.RequestException):  # nginx cannot even accept: who comes now waits
        assert server.get("/health", token=False, timeout=3).status_code in (200, 503)
    end(server, "held.append")
    recovers(server)
    assert [server.daemon(name) for name in ("nginx", "fcgi-app", "procd")] == daemons
