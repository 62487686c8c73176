"""
Limits of memory, processes and CPU: they hold for each command with all its children, end nothing else, and are told
truthfully. What needs the controllers of cgroup version 2 is marked `cgroup` (`make test-vm` has them).
"""

import contextlib
import ctypes
import os
import pathlib
import tempfile
import uuid

import pytest

from cgroups import BOMB, lent, skip_unless_vm
from figures import parse
from sandbox import BIG_TIMEOUT, BIN, Launch, Port, Server, alive, cgroup_mount_point, cgroup_of, in_threads, proc_file, user_ids, wait_until

pytestmark = pytest.mark.host

MIB = 1 << 20
CONTROLLERS = ("memory", "pids", "cpu")
LIMITS = {"SANDBOX_MEMORY_MAX": "64m", "SANDBOX_PIDS_MAX": "40", "SANDBOX_CPU_MAX": "50"}

EATER = "exec tail /dev/zero"  # a line without end, which tail keeps
# What its cgroup says of the command itself.
READ = "cat /sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)/"


class Box:
    """A cgroup for one server."""

    def __init__(self):
        self.path = cgroup_mount_point() / f"nxs-box-{uuid.uuid4().hex}"
        self.path.mkdir()

    def remove(self):
        for directory, _, _ in os.walk(self.path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)

    def inside(self, script='exec "$0"'):
        """A command prefix that starts the server in there, by a shell script with the server as its $0."""
        return ("sh", "-c", f'echo 0 >{self.path}/cgroup.procs; {script}')

    def container(self):
        """The same in a namespace in which this cgroup is the root of all, as in a container."""
        mount = f"umount {cgroup_mount_point()}; mount -t cgroup2 none {cgroup_mount_point()}"
        return self.inside(f"exec unshare --cgroup --mount sh -c '{mount}; exec \"$0\"' \"$0\"")

    def with_an_init(self):
        """The same as the child of a first process (docker run --init)."""
        return ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *self.inside('"$0" & wait'))


@pytest.fixture(scope="session")
def controllers():
    """They are there, or the test is skipped."""
    if cgroup_mount_point() is None:
        skip_unless_vm("no cgroup v2 is mounted")
    with contextlib.ExitStack() as lending:
        try:
            lending.enter_context(lent(cgroup_mount_point(), CONTROLLERS))
        except OSError as error:
            skip_unless_vm(f"no controllers {', '.join(CONTROLLERS)} in {cgroup_mount_point()}: {error.strerror or error}")
        yield


def cgroup(function):
    return pytest.mark.cgroup(pytest.mark.usefixtures("controllers")(function))


another_user = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run commands as another user")


@pytest.fixture
def box():
    """What is asked for first goes last: a test names it before make_server."""
    try:
        box = Box()
    except (OSError, TypeError) as error:
        skip_unless_vm(f"no cgroup v2 can be made: {error}")
    yield box
    box.remove()


@pytest.fixture(scope="module")
def limited_server():
    box = Box()
    try:
        with Server({**LIMITS, "SANDBOX_CGROUP": str(box.path)}) as server:
            yield server
    finally:
        box.remove()


@pytest.fixture
def limited(limited_server):
    """A server with limits in a cgroup that it was given."""
    yield limited_server
    limited_server.cleanup()


def limits_of(server, **fields):
    files = " ".join("$d/" + name for name in ("memory.max", "pids.max", "cpu.max"))
    lines = server.shell(f"d=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup); cat {files}; echo $PPID", **fields).splitlines()
    return tuple(lines[:3]), int(lines[3])


def figures(server):
    return parse(server.get("/metrics").text)


# ---- memory ----


@cgroup
def test_what_eats_memory_dies_alone(limited):
    neighbour = limited.start("sleep 86400")
    runner = int(limited.shell("echo $PPID"))
    before = figures(limited)
    answer, facts = limited.run_with_facts(EATER)
    assert answer == {"stdout": "", "stderr": "", "code": -1, "signal": "SIGKILL", "error": "Non-zero exit code"}
    assert facts["reason"] == "oom"
    with limited.stream(EATER) as stream:
        assert stream.events()[-1].facts["reason"] == "oom"
    assert figures(limited)['runs_total{outcome="oom"}'] == before['runs_total{outcome="oom"}'] + 2
    assert alive(runner)
    job = limited.start("sleep 0.1; " + EATER)
    assert limited.post("/wait_process", id=job["id"], timeout_ms=60000).json()["reason"] == "oom"
    assert limited.status(neighbour["id"]) == "running"
    assert limited.run_with_facts("echo fine")[1]["reason"] == "exit"


@cgroup
def test_a_child_that_eats_memory(limited):
    """The reason is that of the shell's end: a shell that goes on after the death of its child has exited."""
    answer, facts = limited.run_with_facts("tail /dev/zero; echo $?")
    assert answer["stdout"] == "137\n" and answer["code"] == 0 and facts["reason"] == "exit"
    answer, facts = limited.run_with_facts("tail /dev/zero & wait $!")
    assert answer["code"] == 137 and facts["reason"] == "oom"


@cgroup
def test_a_kill_is_no_oom(limited):
    assert limited.run_with_facts("kill -9 $$")[1]["reason"] == "signal"


@cgroup
def test_many_that_eat_memory(limited):
    """The runner lives, though it is larger than any of them."""
    job = limited.start("for i in 1 2 3 4 5 6; do tail /dev/zero & done; wait; echo done")
    assert limited.post("/wait_process", id=job["id"], timeout_ms=60000).json()["reason"] == "exit"
    assert limited.lines(job["id"])[-1] == "done"


@cgroup
def test_a_file_left_in_memory(limited):
    """It stays charged to the cgroup of the runner, which then takes no other command."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        assert limited.run(f"head -c {56 * MIB} /dev/zero >{file.name}; echo $?")["stdout"] == "0\n"
        keeper = "exec head -c 20M /dev/zero | tail -c 20M | wc -c"  # with the file it would be past the limit
        for _ in range(10):
            assert limited.run_with_facts(keeper)[0]["stdout"] == f"{20 * MIB}\n"


# System V objects of 40 MiB, whose numbers it prints, one a line, as it makes them.
LIBC = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\ndef check(result):\n    if result < 0: raise OSError(ctypes.get_errno())\n    return result\n"
IN_THE_KERNEL = {
    "messages": LIBC + """
message = (ctypes.c_char * (8 + 8192))(1)
for _ in range(40 * 64):
    queue = check(libc.msgget(0, 0o600))
    print(queue, flush=True)
    for _ in range(2): check(libc.msgsnd(queue, message, 8192, 0))
""",
    "semaphores": LIBC + "for _ in range(20): print(check(libc.semget(0, 32000, 0o600)), flush=True)\n",
}


def remove_from_the_kernel(kind, number):
    libc = ctypes.CDLL(None)
    return libc.msgctl(number, 0, None) if kind == "messages" else libc.semctl(number, 0, 0)  # IPC_RMID


@cgroup
@pytest.mark.parametrize("kind", IN_THE_KERNEL)
def test_what_is_left_in_the_kernel(limited, kind):
    """It outlives all processes and stays charged, too."""
    left = limited.run("exec /usr/bin/python3 -Ic \"$FILL\"", env={"FILL": IN_THE_KERNEL[kind]}, memory_max=64 * MIB, timeout=BIG_TIMEOUT)
    try:
        assert left["code"] == 0, left
        for _ in range(10):
            answer = limited.run("exec dd if=/dev/zero of=/dev/null bs=40M count=1", memory_max=64 * MIB)
            assert answer["code"] == 0, answer
    finally:
        gone = [remove_from_the_kernel(kind, int(number)) for number in left["stdout"].split()]
    assert gone and not any(gone)


ORDINARY = {
    "nothing": "true",
    "the cache of a file": f"head -c {20 * MIB} <$(ls -LS /usr/lib/*/*.so* | head -1) >/dev/null",
    "names": "ls -lR /etc /usr/share/zoneinfo >/dev/null",
    "processes": "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true & done; wait; /bin/true | /bin/true",
    "memory": "head -c 20M /dev/zero | tail -c 20M >/dev/null",
}


@cgroup
@pytest.mark.parametrize("kind", ORDINARY)
def test_what_gives_way_keeps_its_runner(limited, kind):
    """One that ends for what a command has left is never seen again; of others there are few."""
    count = 100 if kind == "nothing" else 10
    runners = {limited.shell(f"{ORDINARY[kind]}; echo $PPID") for _ in range(count)}
    assert len(runners) <= count / 2


# ---- processes ----


@cgroup
def test_a_fork_bomb_meets_its_limit(limited):
    job = limited.start(BOMB)
    runner = cgroup_of(job["pid"])
    wait_until(lambda: "max 0\n" not in (runner / "pids.events").read_text(), "the bomb to meet its limit")
    assert limited.run("echo fine") == {"stdout": "fine\n", "stderr": "", "code": 0}
    assert limited.lines(limited.start("echo fine")["id"]) == ["fine"]
    assert int((runner / "pids.current").read_text()) <= 41
    assert limited.kill(job["id"]).status_code == 200
    wait_until(lambda: not runner.exists(), "the bomb to be gone")


# ---- CPU ----


@cgroup
def test_what_computes_is_throttled(limited):
    job = limited.start("while :; do :; done", cpu_max=10)
    stat = cgroup_of(job["pid"]) / "cpu.stat"
    assert (stat.parent / "cpu.max").read_text() == "10000 100000\n"
    wait_until(lambda: "nr_throttled 0\n" not in stat.read_text(), "the loop to be throttled")
    assert limited.kill(job["id"]).status_code == 200


# ---- whose limit it is ----

OURS = (str(64 * MIB), "41", "50000 100000")  # LIMITS, with the runner itself


@cgroup
def test_a_request_lowers_and_never_raises(limited):
    assert limits_of(limited)[0] == OURS
    lower = {"memory_max": 16 * MIB, "pids_max": 5, "cpu_max": 7}
    lowered, runner = limits_of(limited, **lower)
    assert lowered == (str(16 * MIB), "6", "7000 100000")

    def of_the_next_command():
        limits, its_runner = limits_of(limited)
        return limits if its_runner == runner else None

    assert wait_until(of_the_next_command, "the same runner to have another command") == OURS
    assert limits_of(limited, memory_max=1 << 40, pids_max=10**12, cpu_max=10**9)[0] == OURS
    assert limits_of(limited, memory_max=0, pids_max=None)[0] == OURS
    assert limits_of(limited, pids_max=7)[0] == (OURS[0], "8", OURS[2])
    swap = limited.run(READ + "memory.swap.max")
    assert swap["code"] != 0 or swap["stdout"] == "0\n"


@cgroup
def test_a_request_alone(box, make_server):
    """The operator limits nothing; he has only given a cgroup."""
    server = make_server({"SANDBOX_CGROUP": str(box.path)})
    none = ("max", "max", "max 100000")
    assert limits_of(server)[0] == none
    assert limits_of(server, memory_max=32 * MIB)[0] == (str(32 * MIB), *none[1:])
    assert server.run_with_facts(EATER, memory_max=32 * MIB)[1]["reason"] == "oom"
    assert limits_of(server)[0] == none
    job = server.start(READ + "pids.max", pids_max=9)
    assert server.lines(job["id"]) == ["10"]


@cgroup
def test_a_burst_is_limited(limited):
    """More commands at once than runners that wait: those that are started for them are limited as well."""
    found = in_threads(24, lambda _: limits_of(limited)[0])
    assert set(found) == {OURS}


@cgroup
def test_limits_outlive_procd(limited):
    job = limited.start("sleep 86400", memory_max=20 * MIB)
    limited.back("procd", limited.kill_daemon("procd"))
    assert limits_of(limited)[0] == OURS
    assert (cgroup_of(job["pid"]) / "memory.max").read_text() == f"{20 * MIB}\n"
    assert limited.run_with_facts(EATER)[1]["reason"] == "oom"
    assert limited.kill(job["id"]).status_code == 200


# ---- where the server finds itself ----


@cgroup
@pytest.mark.parametrize("prefix", [Box.inside, Box.container])
def test_alone_in_a_cgroup(box, make_server, prefix):
    """The daemons make room, and leave everything as it was."""
    server = make_server(LIMITS, prefix=prefix(box))
    assert limits_of(server)[0] == OURS
    daemons, runner = cgroup_of(server.daemon("procd")), cgroup_of(server.start("sleep 86400")["pid"])
    assert daemons.parent == runner.parent.parent == box.path and daemons.name == runner.parent.name + ".daemons"
    server.back("procd", server.kill_daemon("procd"))
    assert limits_of(server)[0] == OURS
    server.stop()
    assert not [name for name in os.listdir(box.path) if (box.path / name).is_dir()]
    assert (box.path / "cgroup.subtree_control").read_text().strip() == ""
    server.boot()
    assert limits_of(server)[0] == OURS


@cgroup
def test_with_the_first_process_of_a_container(box, make_server):
    server = make_server(LIMITS, prefix=box.with_an_init())
    try:
        assert limits_of(server)[0] == OURS
        assert (box.path / "cgroup.procs").read_text() == ""
    finally:
        server.launch.destroy()  # nobody passes a signal on
        wait_until(lambda: "populated 0" in (box.path / "cgroup.events").read_text(), "the end of all")


# ---- what cannot be ----


def refusal(settings, prefix=()):
    """What a launcher says that does not start."""
    ports = Port(), Port()
    launch = Launch({"SANDBOX_SECRET": "secret", "PORT": str(ports[0].number), "PROXY_PORT": str(ports[1].number), **settings},
                    prefix, BIN / "nginx-sandbox")
    try:
        code, _, said = launch.wait(10)
    finally:
        launch.destroy()
        for port in ports:
            port.free()
    assert code == 1 and said.count("\n") == 1, (code, said)
    return said


@cgroup
def test_in_a_cgroup_with_others(box):
    prefix = ("sh", "-c", f'echo 0 >{box.path}/cgroup.procs; sleep 5 & exec "$0"')
    assert "SANDBOX_MEMORY_MAX cannot be enforced: other processes" in refusal({"SANDBOX_MEMORY_MAX": "64m"}, prefix)


@pytest.mark.parametrize("name", LIMITS)
def test_an_operators_limit_that_cannot_be_enforced(name):
    said = refusal({name: LIMITS[name], "SANDBOX_CGROUP": "off"})
    assert said == f"nginx-sandbox: {name} cannot be enforced: SANDBOX_CGROUP is off\n"


def test_an_operators_limit_that_is_none():
    """The answer says so before it says whether the limit could be enforced."""
    for value in ("1", "4194303", "1m"):
        said = refusal({"SANDBOX_MEMORY_MAX": value, "SANDBOX_CGROUP": "off"})
        assert said == "nginx-sandbox: SANDBOX_MEMORY_MAX must be 0 or at least 4194304\n"


@pytest.mark.parametrize("path", ["/run", "/run_streaming", "/start_process"])
@pytest.mark.parametrize("field", ["memory_max", "pids_max", "cpu_max"])
def test_a_requests_limit_that_cannot_be_enforced(path, field, unlimited):
    answer = unlimited.call("POST", path, {"cmd": "touch " + str(unlimited.run_dir / "done"), field: 8 * MIB})
    assert answer.status_code == 400
    assert answer.json() == {"error": f"{field} cannot be enforced: this server has no such cgroups", "error_code": "unsupported"}
    assert not (unlimited.run_dir / "done").exists()


@pytest.fixture(scope="module")
def unlimited():
    with Server({"SANDBOX_CGROUP": "off"}) as server:
        yield server


def test_a_limit_that_is_none(sandbox):
    for field in ("memory_max", "pids_max", "cpu_max"):
        for value in (-1, 1.5, "1", True, {}):
            answer = sandbox.call("POST", "/run", {"cmd": "true", field: value})
            assert answer.status_code == 400 and field in answer.json()["error"], (field, value)
    answer = sandbox.call("POST", "/run", {"cmd": "true", "memory_max": 4 * MIB - 1})
    assert answer.status_code == 400 and answer.json()["error"] == "memory_max must be at least 4194304"


# ---- whose the cgroup is ----

USER = "games"


@another_user
@pytest.mark.parametrize("name", [".", "cgroup.procs", "..", "../cgroup.procs"])
@pytest.mark.parametrize("kind", ["named", "auto"])
def test_a_cgroup_that_the_user_may_leave(box, make_server, kind, name):
    """As that of a session that is delegated to the user: cgroups(7)."""
    base = box.path / "inner"
    base.mkdir()
    settings = {"SANDBOX_USER": USER} | ({"SANDBOX_CGROUP": str(base)} if kind == "named" else {})
    prefix = ("sh", "-c", f'echo 0 >{base}/cgroup.procs; exec "$0"') if kind == "auto" else ()
    changed = pathlib.Path(os.path.normpath(base / name))
    os.chown(changed, *user_ids(USER))
    said = refusal(settings, prefix)
    assert said.startswith(f"nginx-sandbox: SANDBOX_USER: user {user_ids(USER)[0]} may change {changed}, and so leave")
    assert not [entry for entry in os.listdir(base) if entry.startswith("nginx-sandbox-")]
    os.chown(changed, 0, 0)
    os.chmod(changed, changed.stat().st_mode | 0o002)
    assert "and so leave" in refusal(settings, prefix)
    os.chmod(changed, changed.stat().st_mode & ~0o002)
    assert make_server(settings, prefix=prefix).shell("id -un") == f"{USER}\n"


@another_user
def test_a_cgroup_by_a_link(box, make_server, tmp_path):
    """Which could be turned to another later."""
    link = tmp_path / "link"
    link.symlink_to(box.path)
    server = make_server({"SANDBOX_USER": USER, "SANDBOX_CGROUP": str(link)})
    assert proc_file(server.daemon("procd"), "environ").split(b"\0").count(f"SANDBOX_CGROUP={box.path}".encode()) == 1
