"""Runners that are killed: what they leave ends, with cgroups and without, and nothing else does."""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import threading
import time

import pytest
import requests

from sandbox import BIN, DEADLINE, TIMEOUT, Port, Sandbox, Server, alive, descriptors, freeze, proc_file, proc_stat, refused, wait_until
from trees import TREES, plant

pytestmark = pytest.mark.host

# Every shape at once, each with a runner of its own, is a crowd; it may take its time.
CROWD = 4 * DEADLINE


def own_cgroup():
    """The directory of this process's cgroup (version 2), by the mounts; None if there is none."""
    place = next((line[3:] for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")), None)
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if place and " - cgroup2 " in line and (place + "/").startswith(fields[3].rstrip("/") + "/"):
            return pathlib.Path(fields[4]) / place[len(fields[3].rstrip("/")):].lstrip("/")
    return None


def why_no_cgroup():
    """None if processes can be moved into a new cgroup here, or else the reason why not."""
    base = own_cgroup()
    if base is None:
        return "no cgroup v2 is mounted"
    probe = base / f"nxs-test-{os.getpid()}"
    try:
        probe.mkdir()
    except OSError as error:
        return f"no cgroup can be made in {base}: {error.strerror}"
    try:
        return None if (probe / "cgroup.kill").exists() else "the kernel has no cgroup.kill"
    finally:
        probe.rmdir()


NO_CGROUP = why_no_cgroup()
needs_cgroup = pytest.mark.skipif(NO_CGROUP is not None, reason=NO_CGROUP or "")


@pytest.fixture(params=["off", pytest.param("auto", marks=needs_cgroup)])
def server(request):
    with Server({"SANDBOX_CGROUP": request.param}) as server:
        yield server


def cgroup_of(server):
    run = server.run_dir.stat()
    return own_cgroup() / f"nginx-sandbox-{run.st_dev}-{run.st_ino}"


def runner_of(pid):
    """The runner above a process, which may be orphaned below it or not."""
    while pid > 1 and b"\0--runner\0" not in proc_file(pid, "cmdline"):
        pid = proc_stat(pid)[1]
    assert pid > 1
    return pid


def runners(server):
    return [pid for pid in server.launch.tree() if proc_file(pid, "cmdline").startswith(b"procd\0--runner\0")]


def services(server):
    """The processes of the server itself that should outlive all of this, unless a test kills them."""
    lines = {pid: proc_file(pid, "cmdline") for pid in server.launch.tree()}
    return {pid for pid, line in lines.items()
            if b"\0--runner\0" not in line and any(name in line for name in (b"s6-", b"nginx: ", b"/bin/procd\0", b"/bin/fcgi-app\0"))}


class Bystanders:
    """What must live: a job with its tree, what ended commands left running on purpose, an idle job."""

    def __init__(self, server, make_marker):
        self.server, self.markers = server, [make_marker() for _ in range(3)]
        tree, job, run = self.markers
        self.jobs = [server.start(f"setsid sh -c '( {tree.sleep} & {tree.sleep} & ) ; {tree.sleep}' & {tree.sleep}")["id"]]
        left = server.start(f"setsid {job.sleep} & ( env -i {job.sleep} & ) ; exit 0")["id"]
        server.run(f"setsid {run.sleep} & ( env -i setsid {run.sleep} & )")
        assert server.ended(left) == "completed"
        self.pids = {marker: set(marker.sleeping(server, count)) for marker, count in zip(self.markers, (4, 2, 2), strict=True)}

    def check(self):
        for marker, pids in self.pids.items():
            assert {pid for pid, line in self.server.find(marker.text) if line.startswith("sleep ")} == pids
        assert all(self.server.status(job) == "running" for job in self.jobs)


@pytest.fixture
def make_bystanders(server, make_marker):
    return lambda: Bystanders(server, make_marker)


def start_jobs(server, make_marker):
    """Every tree as a background job: {job id: (marker, runner)}."""
    jobs = {}
    for kind in TREES:
        marker = make_marker()
        fields, count = plant(kind, marker)
        identifier = server.start(fields.pop("cmd"), **fields)["id"]
        jobs[identifier] = marker, count
    return {identifier: (marker, runner_of(marker.sleeping(server, count)[0])) for identifier, (marker, count) in jobs.items()}


def start_streams(server, make_marker, stack):
    """Every tree as a foreground command: [(stream, marker, runner)]."""
    started = []
    for kind in TREES:
        marker = make_marker()
        fields, count = plant(kind, marker)
        stream = stack.enter_context(server.stream("echo begun; " + fields.pop("cmd"), **fields))
        assert stream.next().data["data"] == "begun"
        started.append((stream, marker, runner_of(marker.sleeping(server, count)[0])))
    return started


def kill(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def assert_jobs_ended(server, jobs):
    for identifier, (marker, _) in jobs.items():
        marker.gone(server, CROWD)
        assert server.ended(identifier) == "failed"
        with server.logs(identifier) as stream:
            assert stream.events()[-1].name in ("complete", "error") and not stream.cut


def assert_streams_ended(server, streams):
    for stream, marker, _ in streams:
        marker.gone(server, CROWD)
        assert stream.events()[-1].name == "error"


# ---- a runner dies ----


def test_runners_of_jobs(server, make_marker, make_bystanders):
    before, bystanders = services(server), make_bystanders()
    jobs = start_jobs(server, make_marker)
    kill(runner for _, runner in jobs.values())
    assert_jobs_ended(server, jobs)
    bystanders.check()
    assert services(server) == before


def test_runners_of_foreground_commands(server, make_marker, make_bystanders):
    before, bystanders = services(server), make_bystanders()
    with contextlib.ExitStack() as stack:
        streams = start_streams(server, make_marker, stack)
        kill(runner for _, _, runner in streams)
        assert_streams_ended(server, streams)
    bystanders.check()
    assert services(server) == before


def test_runners_of_an_earlier_procd(server, make_marker, make_bystanders):
    bystanders = [make_bystanders()]
    jobs = start_jobs(server, make_marker)
    with contextlib.ExitStack() as stack:
        streams = start_streams(server, make_marker, stack)
        server.back("procd", server.kill_daemon("procd"))
        before = services(server)
        bystanders.append(make_bystanders())
        kill([runner for _, runner in jobs.values()] + [runner for _, _, runner in streams])
        assert_jobs_ended(server, jobs)
        assert_streams_ended(server, streams)
    for group in bystanders:
        group.check()
    assert services(server) == before


def test_runners_that_die_with_procd(server, make_marker, make_bystanders):
    bystanders = make_bystanders()
    jobs = start_jobs(server, make_marker)
    with contextlib.ExitStack() as stack:
        streams = start_streams(server, make_marker, stack)
        procd = server.daemon("procd")
        kill([*(runner for _, runner in jobs.values()), procd, *(runner for _, _, runner in streams)])
        server.back("procd", procd)
        assert_jobs_ended(server, jobs)
        assert_streams_ended(server, streams)
    bystanders.check()


def test_runners_that_die_while_procd_is_away(server, make_marker, make_bystanders):
    bystanders = make_bystanders()
    jobs = start_jobs(server, make_marker)
    server.supervise("procd", "d")
    kill(runner for _, runner in jobs.values())
    server.supervise("procd", "u")
    server.healthy()
    assert_jobs_ended(server, jobs)
    bystanders.check()


@pytest.mark.parametrize("earlier", [False, True], ids=["of this procd", "of an earlier one"])
def test_a_runner_that_lingers(server, make_marker, earlier):
    """Nothing waits for a command that has ended: only the death of its runner shows its end."""
    run, job, other = make_marker(), make_marker(), make_marker()
    server.run(f"setsid sh -c '{run.sleep} & {run.sleep}' >/dev/null 2>&1 &")
    server.start(f"setsid sh -c '{job.sleep} & {job.sleep}' & exit 0")
    server.run(f"{other.sleep} &")
    dying = [runner_of(marker.sleeping(server, 2)[0]) for marker in (run, job)]
    other.sleeping(server)
    if earlier:
        server.back("procd", server.kill_daemon("procd"))
    kill(dying)
    run.gone(server)
    job.gone(server)
    assert other.pids(server)


def test_idle_runners(server, make_bystanders):
    before, bystanders = services(server), make_bystanders()
    for _ in range(5):
        kill(set(runners(server)) - {runner_of(pid) for pids in bystanders.pids.values() for pid in pids})
        assert server.shell("echo fine") == "fine\n"
    bystanders.check()
    assert services(server) == before


def test_a_runner_takes_one_job_after_the_other(server):
    wait_until(lambda: len(runners(server)) >= 4, "idle runners")
    before = {pid: len(descriptors(pid)) for pid in runners(server)}
    count = 30
    for number in range(count):
        server.ended(server.start(f"echo {number}; exec 3</dev/null")["id"])
    after = runners(server)
    assert len(set(after) - set(before)) < count / 2
    for pid in set(after) & set(before):
        wait_until(lambda: len(descriptors(pid)) <= before[pid], "a runner to hold nothing of its jobs")


def test_a_runner_waits_for_its_clients_next_command(server):
    """procd is not asked for it, so it may stand still meanwhile; a runner that was killed or went back to procd is no loss."""
    assert server.shell("echo first") == "first\n"
    procd = server.daemon("procd")
    freeze(procd)
    for number in range(5):
        assert server.shell("cat", stdin=f"{number}") == str(number)
        assert server.run("exit 3")["code"] == 3
    os.kill(procd, signal.SIGCONT)
    kill(set(runners(server)))
    assert server.shell("echo after") == "after\n"
    queue = wait_until(lambda: [queue for queue in [server.get("/health?full=1").json()["queue"]] if queue["idle_runners"] == queue["runners"]],
                       "the runner to go back to procd")
    assert queue[0]["runners"] >= 4
    assert server.shell("echo again") == "again\n"


def test_a_tree_that_forks_and_goes(server, make_marker):
    """No list of its processes is true for long."""
    marker = make_marker()
    # Each starts the next and ends; its name is the marker's.
    code = "import os, time\nwhile True:\n    if os.fork(): os._exit(0)\n    os.setsid(); time.sleep(0.001)"
    job = server.start(f'/usr/bin/python3 -c "$CODE" {marker.text} & sleep 86400', env={"CODE": code})
    wait_until(lambda: marker.pids(server), "the first of them")
    kill([runner_of(job["pid"])])
    wait_until(lambda: all(not marker.pids(server) for _ in range(20)), "the end of all of them", CROWD)
    assert server.ended(job["id"]) == "failed"


# ---- and daemons die with them ----


class Reaper(threading.Thread):
    """Kills what `choose()` returns, again and again, until `stop` is set."""

    def __init__(self, choose, pause):
        super().__init__(daemon=True)
        self.choose, self.pause, self.over = choose, pause, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(self.pause):
            kill(self.choose())

    def stop(self):
        self.over.set()
        self.join()


def is_supervised(server, name):
    """Whether the service runs under the s6-supervise that is there now."""
    service = server.run_dir / "service" / name
    status = subprocess.run(["s6-svstat", "-o", "up,pid", service], capture_output=True, text=True, check=False).stdout.split()
    try:
        leader = int(os.readlink(service / "leader"))
    except OSError:
        return False
    stat = proc_stat(leader)
    return status[:1] == ["true"] and stat is not None and int(status[1]) in (leader, stat[1])


@pytest.mark.slow
@pytest.mark.parametrize("server", ["off", pytest.param("auto", marks=needs_cgroup)], indirect=True)
def test_everything_dies_all_the_time(server, make_marker, make_bystanders):
    """Runners, daemons and their supervisors are killed in a loop: what should live does, what should not does not."""
    bystanders = [make_bystanders()]
    spared = {runner_of(pid) for group in bystanders for pids in group.pids.values() for pid in pids}
    doomed = make_marker()

    def one_service():
        found = [pid for pid in server.launch.tree()
                 if pid != server.launch.pid and pid not in spared and b"\0--runner\0" not in (line := proc_file(pid, "cmdline"))
                 and any(name in line for name in (b"s6-supervise\0", b"nginx: ", b"/bin/procd\0", b"/bin/fcgi-app\0"))]
        return random.sample(found, 1) if found else []

    def doomed_runners():
        found = set()
        for pid in doomed.pids(server):
            with contextlib.suppress(AssertionError, TypeError):  # it has gone meanwhile
                found.add(runner_of(pid))
        return found - spared

    reapers = [Reaper(one_service, 0.3), Reaper(doomed_runners, 0.05)]
    until = time.monotonic() + 20
    try:
        while time.monotonic() < until:
            with contextlib.suppress(requests.RequestException):
                server.call("POST", "/start_process", {"cmd": f"setsid {doomed.sleep} & ( env -i {doomed.sleep} & ) ; {doomed.sleep}"}, timeout=TIMEOUT)
    finally:
        for reaper in reapers:
            reaper.stop()
    # A daemon whose s6-supervise was killed lives on until the next one starts another.
    for name in ("procd", "fcgi-app", "terminal", "nginx", "guard"):
        wait_until(lambda name=name: is_supervised(server, name), name, 2 * DEADLINE)
    server.healthy()

    def is_over():
        kill(doomed_runners())  # one more may have been started late
        return not doomed.pids(server)

    wait_until(is_over, "the end of what dead runners have left", CROWD)
    server.settle()  # whatever is still swept is swept now
    for group in bystanders:
        group.check()
    server.healthy()
    assert server.shell("echo fine") == "fine\n"
    assert wait_until(lambda: len(runners(server)) >= len(spared) + 4, "idle runners")


# ---- cgroups ----


@needs_cgroup
def test_cgroups_come_and_go(make_server, make_marker):
    """One for each runner and its tree, none left by one that ended, none at all after a stop."""
    server, marker = make_server(settings={"SANDBOX_CGROUP": "auto"}), make_marker()
    top = cgroup_of(server)

    def names():
        return {entry.name for entry in top.iterdir() if entry.is_dir()}

    # A runner enters its own when it is idle for the first time.
    wait_until(lambda: names() == {str(pid) for pid in runners(server)}, "cgroups for the runners that live")
    job = server.start(f"setsid {marker.sleep} & {marker.sleep}")
    pids = marker.sleeping(server, 2)
    own = top / str(runner_of(pids[0]))
    assert set(map(int, (own / "cgroup.procs").read_text().split())) == {runner_of(pids[0]), job["pid"], *pids}
    kept = {str(pid) for pid in runners(server)}
    server.kill(job["id"])
    wait_until(lambda: (own / "cgroup.procs").read_text().split() == [own.name], "the end of the job")
    kill({int(own.name)})
    wait_until(lambda: not own.exists(), "the removal of the runner's cgroup")
    for number in range(10):
        server.ended(server.start(f"exit {number}")["id"])
    server.back("procd", server.kill_daemon("procd"))
    wait_until(lambda: names() == {str(pid) for pid in runners(server)}, "cgroups for the runners that live")
    assert not names() & (kept - {str(pid) for pid in runners(server)})
    server.run(f"setsid {marker.sleep} &")
    server.stop()
    assert not top.exists()


@needs_cgroup
@pytest.mark.own_user
def test_cgroups_that_commands_make(make_server, make_marker):
    """They end with the tree."""
    server, marker = make_server(settings={"SANDBOX_CGROUP": "auto"}), make_marker()
    top = cgroup_of(server)
    job = server.start(f'd={top}/$PPID; mkdir -p $d/a/b && sh -c "echo 0 >$d/a/b/cgroup.procs; exec {marker.sleep}" & wait')
    marker.sleeping(server)
    own = top / str(runner_of(job["pid"]))
    assert (own / "a/b").exists()
    kill([runner_of(job["pid"])])
    marker.gone(server)
    wait_until(lambda: not own.exists(), "the removal of them all")
    server.stop()
    assert not top.exists()


@needs_cgroup
@pytest.mark.parametrize("named", [True, False], ids=["named", "the server's own"])
def test_a_cgroup_below(make_server, make_marker, named):
    base = own_cgroup() / f"nxs-below-{os.getpid()}"
    base.mkdir()
    try:
        server = make_server(settings={"SANDBOX_CGROUP": str(base)}) if named else \
            make_server(prefix=("sh", "-c", f'echo 0 >{base}/cgroup.procs; exec "$0"'))
        marker = make_marker()
        server.start(marker.sleep)
        (pid,) = marker.sleeping(server)
        assert f"/{base.name}/nginx-sandbox-" in proc_file(pid, "cgroup").decode()
        kill([runner_of(pid)])
        marker.gone(server)
        server.stop()
        assert not [entry for entry in base.iterdir() if entry.is_dir()]
    finally:
        base.rmdir()


def test_off_is_off(make_server):
    server = make_server(settings={"SANDBOX_CGROUP": "off"})
    assert b"nginx-sandbox-" not in b"".join(proc_file(pid, "cgroup") for pid in runners(server))
    assert all(b"--cgroup" not in proc_file(pid, "cmdline") for pid in runners(server))


# ---- a server in a command of another ----


@pytest.mark.own_user
@pytest.mark.parametrize("earlier", [False, True], ids=["of this procd", "of an earlier one"])
def test_a_server_in_a_job(server, make_marker, earlier):
    """It ends with its runner: its daemons, its runners and their commands."""
    ports, marker, inner_home = (Port(), Port()), make_marker(), f"{server.home}/inner"
    job = server.start(f"exec {BIN}/nginx-sandbox", env={
        "SANDBOX_SECRET": "inner", "PORT": str(ports[0].number), "PROXY_PORT": str(ports[1].number),
        "SANDBOX_RUN_DIR": inner_home, "SANDBOX_CGROUP": server.settings["SANDBOX_CGROUP"]})
    inner = Sandbox(f"http://127.0.0.1:{ports[0].number}", ("127.0.0.1", ports[1].number), "inner")

    def is_ready():
        with contextlib.suppress(requests.RequestException):
            return inner.get("/health").status_code == 200

    wait_until(is_ready, "the inner server", CROWD)
    inner.start(f"setsid {marker.sleep} & {marker.sleep}")
    inner.run(f"setsid {marker.sleep} &")
    marker.sleeping(server, 3)
    # Its own dead runners it sweeps, as any server.
    doomed = make_marker()
    inner.start(f"setsid {doomed.sleep} & {doomed.sleep}")
    kill([runner_of(doomed.sleeping(server, 2)[0])])
    doomed.gone(server)
    assert len(marker.pids(server)) >= 3
    if earlier:
        server.back("procd", server.kill_daemon("procd"))
    outer = proc_stat(job["pid"])[1]
    assert f"--runner\0{server.run_dir}\0".encode() in proc_file(outer, "cmdline")
    kill([outer])
    marker.gone(server, CROWD)
    wait_until(lambda: not server.find(inner_home), "the end of the inner server", CROWD)
    wait_until(lambda: all(refused("127.0.0.1", port.number) for port in ports), "its ports to be free", CROWD)
    server.healthy()
    for port in ports:
        port.free()


# ---- who is not a dead runner's ----


def supervisors(server, name=b""):
    return [pid for pid in server.launch.tree() if proc_file(pid, "cmdline").startswith(b"s6-supervise\0" + name)]


@pytest.mark.parametrize("name", ["nginx", "fcgi-app", "procd"])
def test_a_killed_supervisor_of_a_service(server, make_marker, make_bystanders, name):
    """The service is a child of s6-svscan then, until another s6-supervise starts it anew."""
    bystanders, marker = make_bystanders(), make_marker()
    server.start(f"setsid {marker.sleep} & {marker.sleep}")
    runner, old = runner_of(marker.sleeping(server, 2)[0]), server.daemon(name)
    kill([*supervisors(server, name.encode()), runner])
    marker.gone(server)
    server.back(name, old)
    bystanders.check()


def test_services_that_nobody_supervises(server, make_marker, make_bystanders):
    """s6-svscan is stopped, so that every service, and nginx's workers without their master, stay its children."""
    bystanders, job = make_bystanders(), make_marker()
    server.start(f"setsid {job.sleep} & {job.sleep}")
    runner, master = runner_of(job.sleeping(server, 2)[0]), server.daemon("nginx")
    svscan = int((server.run_dir / "supervisor").read_text())
    os.kill(svscan, signal.SIGSTOP)
    try:
        killed = supervisors(server)
        kill(killed)
        wait_until(lambda: not any(map(alive, killed)), "the supervisors to die")
        living = {pid for pid in services(server) if alive(pid)}
        assert len(living) >= 4
        kill([runner])
        job.gone(server)
        server.settle()  # the sweep goes on: nobody reaps what has died
        assert all(map(alive, living))

        os.kill(master, signal.SIGKILL)
        workers = [pid for pid in server.nginx_pids() if pid != master]
        marker = make_marker()
        identifier = server.start(f"setsid {marker.sleep} & {marker.sleep}")["id"]  # the workers serve on
        kill([runner_of(marker.sleeping(server, 2)[0])])
        marker.gone(server)
        server.settle()
        assert workers and all(map(alive, workers))
        assert server.ended(identifier) == "failed"
    finally:
        os.kill(svscan, signal.SIGCONT)
    server.back("nginx", master)
    bystanders.check()


def test_an_orphan_that_is_no_commands(make_server, make_marker):
    """As a shell of `docker exec` leaves it with the container's first process."""
    marker, job = make_marker(), make_marker()
    server = make_server(settings={"SANDBOX_CGROUP": "off"}, prefix=("sh", "-c", f'setsid {marker.sleep} & exec "$0"'))
    (stranger,) = marker.sleeping(server)
    assert proc_stat(stranger)[1] == server.launch.pid
    server.start(f"setsid {job.sleep} & {job.sleep}")
    runner = runner_of(job.sleeping(server, 2)[0])
    server.back("procd", server.kill_daemon("procd"))
    kill([runner])
    job.gone(server)
    server.settle()
    assert alive(stranger)


FORGE = """
import ctypes, os, pathlib, signal
line = os.environ["LINE"].replace(" ", "\\0").encode() + b"\\0"
begin, end = map(int, pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])  # arg_start, arg_end
assert len(line) <= end - begin
ctypes.memmove(begin, line.ljust(end - begin, b"\\0"), end - begin)
print(os.getpid(), flush=True)
signal.pause()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run commands as another user")
def test_an_orphan_that_looks_like_a_runner(make_server):
    """It has a runner's command line, as any process can have, but not a runner's user."""
    server = make_server({"SANDBOX_USER": "games", "SANDBOX_CGROUP": "off"})
    line = f"procd --runner {server.run_dir}"
    job = server.start(f'(/usr/bin/python3 -Ic "$FORGE" {"x" * len(line)} &); exec sleep 86400', env={"FORGE": FORGE, "LINE": line})
    with server.logs(job["id"]) as stream:
        forged = int(stream.next().data["data"])
    assert proc_file(forged, "cmdline").startswith(line.replace(" ", "\0").encode() + b"\0")
    server.back("procd", server.kill_daemon("procd"))  # so that it becomes the supervisor's
    kill([proc_stat(job["pid"])[1]])
    wait_until(lambda: not alive(forged), "the end of the orphan")
    server.healthy()
