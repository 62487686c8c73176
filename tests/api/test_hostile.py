"""
What somebody without the token, or a command inside, may try against the daemons: one request or one file must never hold up
what belongs to others.
"""

import array
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time

import pytest

from sandbox import BIG_TIMEOUT, SANITIZED, TIMEOUT, Launch, RawConnection, alive, freeze, http_request, in_threads, proc_file, proc_stat, user_ids, wait_until
from test_runners import runner_of

pytestmark = pytest.mark.host


def test_health_takes_no_body(make_server):
    """Bodies that never end, sent without a token, must not use up the requests at once."""
    server = make_server({"SANDBOX_MAX_CONNECTIONS": "16"})
    connections = []
    for framing in (("Transfer-Encoding", "chunked"), ("Content-Length", "60000")) * 20:
        raw = RawConnection("127.0.0.1", server.port)
        raw.send(http_request("GET", "/health", [("Host", "x"), framing]))
        connections.append(raw)
    for raw in connections:
        assert raw.response()[0] == 401
    assert server.get("/health", token=False).status_code == 200
    assert server.shell("echo open").strip() == "open"
    for raw in connections:
        raw.socket.close()


@pytest.mark.parametrize("header", [("Content-Length", "0"), ("Connection", "close")])
def test_health_takes_a_body_that_is_none(sandbox, header):
    with sandbox.raw() as raw:
        assert raw.exchange(http_request("GET", "/health", [("Host", "x"), header]))[0] == 200


def test_an_unread_body_holds_nobody_up(make_server):
    """With the token, on an endpoint that reads none: the slots come back although the bodies never end."""
    server = make_server({"SANDBOX_MAX_CONNECTIONS": "16"})
    connections = []
    for _ in range(24):
        raw = RawConnection("127.0.0.1", server.port)
        raw.send(http_request("GET", "/list_processes", [("Host", "x"), server.bearer(), ("Transfer-Encoding", "chunked")]))
        connections.append(raw)
    wait_until(lambda: server.get("/list_processes").status_code == 200, "a free place", 10)
    for raw in connections:
        raw.socket.close()


def job_directory(server, identifier):
    return pathlib.Path(server.run_dir, "state/jobs", identifier)


def test_a_fifo_in_a_log_stops_its_stream_alone(server, tmp_path):
    job = server.start("echo first; sleep 86400")["id"]
    other = server.start("while [ ! -e go ]; do sleep 0.05; done; echo last", cwd=str(tmp_path))["id"]
    with server.logs(job) as stream, server.logs(other) as innocent:
        assert stream.next().data["data"] == "first"
        directory = job_directory(server, job)
        segment, = directory.glob("log.*")
        os.mkfifo(directory / f"log.{segment.stat().st_size:020d}")
        (tmp_path / "go").touch()
        assert [event.name for event in innocent.events()] == ["log", "complete"]
    server.kill(job)


@pytest.mark.parametrize("name", ["exit", "record"])
def test_a_fifo_for_a_record_holds_up_nobody(server, name):
    job = server.start("sleep 86400")["id"]
    directory = job_directory(server, job)
    (directory / name).unlink(missing_ok=True)
    os.mkfifo(directory / name)
    runner = int(next(line for line in pathlib.Path(f"/proc/{next(p['pid'] for p in server.processes())}/status").read_text().splitlines()
                      if line.startswith("PPid:")).split()[1])
    os.kill(runner, 9)
    assert server.get("/health").status_code == 200
    assert server.shell("echo here").strip() == "here"
    server.kill_daemon("procd")
    wait_until(lambda: server.get("/health").status_code == 200, "procd", 10)
    assert server.shell("echo again").strip() == "again"


def test_too_many_descriptors_in_a_message(server):
    """Five descriptors, one more than any message has."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(f"{server.run_dir}/procd.sock")
        client.settimeout(5)
        client.recv(1000)  # the greeting
        ping = struct.pack("=4sHHQ", b"pcd1", 1, 0, 0)
        client.sendmsg([ping], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 5))])
        assert client.recv(1000) == b""  # dropped
    assert server.get("/health").status_code == 200


# ---- runners, and procd's word of them ----


def runners(server):
    return {pid for pid in server.launch.tree() if proc_file(pid, "cmdline").startswith(b"procd\0--runner\0")}


def test_killed_idle_runners_are_replaced(server):
    """A burst leaves many idle; they die between two looks of the pool, every 3 s, at how many it can spare."""
    def ask(seconds):  # what takes no runner
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert server.processes() == []

    procd = server.daemon("procd")
    in_threads(30, lambda _: server.run("sleep 0.2", timeout=TIMEOUT))
    ask(4)
    idle = runners(server)
    assert len(idle) > 8  # twice as many as it keeps
    for pid in idle:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(runners(server) - idle) >= 4, "new ones")
    ask(4)
    assert server.shell("echo fine") == "fine\n"
    assert server.daemon("procd") == procd


def test_started_is_started_however_soon_it_ends(make_server):
    """Also where no finished process is kept: a command that has run is no failure."""
    server = make_server({"SANDBOX_KEEP_FINISHED": "0"})
    answers = in_threads(4, lambda _: [server.post("/start_process", cmd=":").status_code for _ in range(50)])
    assert {code for codes in answers for code in codes} == {201}


def test_no_descriptors_lose_no_process(server, make_marker):
    """procd has none left to look at what was just started: it does so later. What was not started does not run."""
    def limit(number):
        subprocess.run(["prlimit", f"--pid={procd}", f"--nofile={number}:"], check=True)

    procd = server.daemon("procd")
    server.run("true")
    for room in range(4, 20):  # there are a few steps in a start that take a descriptor for a moment
        marker = make_marker()
        limit(len(os.listdir(f"/proc/{procd}/fd")) + room)
        answers = [server.post("/start_process", cmd=f"exec {marker.sleep}") for _ in range(8)]
        limit(4096)
        assert {answer.status_code for answer in answers} <= {201, 409, 500, 503}
        started = {answer.json()["id"] for answer in answers if answer.status_code == 201}

        def running():
            return {process["id"] for process in server.processes() if process["status"] == "running"}

        wait_until(lambda: running() >= started, "all to be listed")
        assert len(marker.pids(server)) == len(running())
        for identifier in running():
            assert server.kill(identifier).status_code == 200
        marker.gone(server)
    assert server.daemon("procd") == procd


def test_an_answer_belongs_to_its_question(server, tmp_path):
    """A write that was given up is answered late, and the answer is not taken for that of the next."""
    job = server.start(f"echo $PPID; cat >{tmp_path}/got", stdin=True)["id"]
    with server.logs(job) as stream:
        runner = int(stream.next().data["data"])
    freeze(runner)
    with server.raw() as raw:
        body = json.dumps({"id": job, "data": "a" * 24 + "\n"}).encode()
        raw.send(http_request("POST", "/write_stdin", [("Host", "x"), server.bearer(), ("Content-Length", str(len(body)))], body))
        server.settle(20)
        server.back("fcgi-app", server.kill_daemon("fcgi-app"))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        second = pool.submit(server.post, "/write_stdin", id=job, data="bbb", eof=True)
        wait_until(second.running, "the second write")
        server.settle(20)
        os.kill(runner, signal.SIGCONT)
        assert second.result(TIMEOUT).json() == {"success": True, "written": 3, "full": False}
    server.ended(job)
    assert (tmp_path / "got").read_text() == "a" * 24 + "\nbbb"


def test_writes_against_a_kill(server):
    """Each answer is true, and none says that procd died."""
    for _ in range(20):
        job = server.start("cat >/dev/null", stdin=True)["id"]
        answers = in_threads(7, lambda number, job=job: server.kill(job) if number == 3 else server.post("/write_stdin", id=job, data="x" * 100))
        assert {answer.status_code for answer in answers} <= {200, 400}, [answer.text for answer in answers]
        assert server.status(job) == "killed"


HOLD_THE_PIPES = """
import ctypes, fcntl, mmap, os, platform, signal, struct, sys, threading

libc = ctypes.CDLL(None, use_errno=True)
faults = libc.syscall({"x86_64": 323, "aarch64": 282}[platform.machine()], os.O_CLOEXEC)  # userfaultfd(2)
if faults < 0:
    sys.exit("cannot")
memory = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
fcntl.ioctl(faults, 0xc018aa3f, struct.pack("QQQ", 0xAA, 0, 0))  # UFFDIO_API
fcntl.ioctl(faults, 0xc020aa00, struct.pack("QQQQ", address, 4096, 1, 0))  # UFFDIO_REGISTER, of missing pages
if sys.argv[1:]:  # so that the runner, which goes on later, finds something to read and the pipe locked
    os.kill(os.getppid(), signal.SIGSTOP)
    os.write(1, b"first\\n")
threading.Thread(target=lambda: libc.write(1, ctypes.c_void_p(address), 4096)).start()
while not any(open(f"/proc/self/task/{thread}/wchan").read().startswith("handle_userfault") for thread in os.listdir("/proc/self/task")):
    pass
if sys.argv[1:]:
    os.kill(os.getppid(), signal.SIGCONT)
os.write(2, b"now\\n")
"""


def test_a_command_that_holds_up_its_runner(server, tmp_path):
    """
    pipe_write() copies with the pipe's lock, and here stands still at a page that nobody provides. (An ordinary user has FUSE for that.)
    The runner, which reads the pipe, waits for the lock and hears nothing; procd does what it was to do.
    """
    script = tmp_path / "hold.py"
    script.write_text(HOLD_THE_PIPES)
    job = server.start(f"exec /usr/bin/python3 -I {script} runner")
    runner = runner_of(job["pid"])
    wait_until(lambda: server.status(job["id"]) != "running" or (proc_stat(runner) or "?")[0] == "D", "the runner to be held up")
    if server.status(job["id"]) != "running":
        pytest.skip("the commands of this machine have no userfaultfd(2)")
    answer = server.kill(job["id"])
    assert answer.status_code == 200 and answer.json()["success"] is True, (answer.text, server.lines(job["id"]))
    assert server.status(job["id"]) == "killed" and not alive(job["pid"])
    assert "its runner does not end it, so procd does" in server.launch.stderr.text


def test_a_command_that_holds_up_its_reader(server, tmp_path):
    """The same of a /run: fcgi-app reads the pipe, and the runner does what was asked of it."""
    script = tmp_path / "hold.py"
    script.write_text(HOLD_THE_PIPES)
    answer = server.post("/run", cmd=f"exec /usr/bin/python3 -I {script}", timeout_ms=3000).json()
    if "cannot" in answer["stderr"]:
        pytest.skip("the commands of this machine have no userfaultfd(2)")
    assert (answer["reason"], answer["stderr"]) == ("timeout", "now\n"), answer


def test_a_stopped_runner_can_be_told_to_kill(server, marker, tmp_path):
    job = server.start(f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; kill -STOP $PPID; {marker.sleep}")["id"]
    (tmp_path / "go").touch()
    marker.sleeping(server)
    assert server.kill(job).status_code == 200
    assert not marker.pids(server) and server.status(job) == "killed"


def test_connections_to_a_runner_keep_nobody_out(server, marker):
    """A command holds more of them than there is room for: procd, which comes again, is heard."""
    job = server.start(f"echo up; {marker.sleep}")["id"]
    marker.sleeping(server)
    held = []
    for _ in range(4):
        held.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        held[-1].connect(str(job_directory(server, job) / "runner.sock"))
    old = server.kill_daemon("procd")
    held.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))  # in its place
    held[-1].connect(str(job_directory(server, job) / "runner.sock"))
    server.back("procd", old)
    assert server.kill(job).status_code == 200
    assert not marker.pids(server)
    for connection in held:
        connection.close()


def test_delete_takes_what_a_command_has_put_there(server):
    """Its directory is gone with all that is in it, and what a link there leads to is not."""
    job = server.start("true")["id"]
    server.ended(job)
    directory = job_directory(server, job)
    (directory / "a/b").mkdir(parents=True)
    (directory / "a/b/file").write_text("x")
    (directory / "a/link").symlink_to(server.run_dir)
    with server.logs(job) as stream:
        stream.events()
        assert server.post("/delete_process", id=job).status_code == 200
    assert not directory.exists()
    assert server.shell("echo fine") == "fine\n"


def test_readers_of_large_directories_hold_no_memory(make_server):
    server = make_server()
    pid = server.daemon("fcgi-app")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        os.chmod(directory, 0o755)
        names = [f"{number:06}{'x' * 200}" for number in range(30000)]
        for name in names:
            with open(f"{directory}/{name}", "wb"):
                pass
        body = json.dumps({"path": directory}).encode()
        headers = [("Host", "x"), ("Authorization", f"Bearer {server.secret}"), ("Content-Length", str(len(body)))]
        readers = [RawConnection("127.0.0.1", server.port) for _ in range(16)]
        for reader in readers:
            reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.send(http_request("POST", "/list_dir", headers, body))
        for reader in readers:
            assert reader.socket.recv(12) == b"HTTP/1.1 200"  # all names have been read

        def memory():
            return int(re.search(rb"RssAnon:\s+(\d+)", proc_file(pid, "status")).group(1))

        wait_until(lambda: SANITIZED or memory() < 16 << 10, "memory to be given back")
        for reader in readers:
            reader.socket.close()
        assert server.post("/list_dir", path=directory).json()["entries"] == names


def test_many_readers_of_large_directories(make_server):
    """All at once: their names are not all in memory at once."""
    server = make_server()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        os.chmod(directory, 0o755)
        names = [f"{number:06}{'x' * 200}" for number in range(3000 if SANITIZED else 30000)]
        open(f"{directory}/{names[0]}", "wb").close()
        for name in names[1:]:
            os.link(f"{directory}/{names[0]}", f"{directory}/{name}")
        answers = in_threads(32, lambda _: server.post("/list_dir", path=directory, timeout=BIG_TIMEOUT))
        assert all(answer.json()["entries"] == names for answer in answers)
    assert SANITIZED or peak_memory(server) < 80 << 10


def peak_memory(server):
    return int(re.search(rb"VmHWM:\s+(\d+)", proc_file(server.daemon("fcgi-app"), "status")).group(1))


def test_a_very_deep_tree(make_server):
    server = make_server()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        os.chmod(directory, 0o777)
        server.shell(f"""exec python3 -c '
import os
os.chdir("{directory}")
for _ in range(50000):
    os.mkdir("d")
    os.chdir("d")
'""")
        assert server.post("/delete_dir", path=f"{directory}/d", timeout=BIG_TIMEOUT).json() == {"success": True}
    assert SANITIZED or peak_memory(server) < 16 << 10


# ---- a client in fcgi-app's own directories, which it reaches through /proc/self/fd ----


FEW_DESCRIPTORS = ("prlimit", "--nofile=1024:1024")  # a login shell's
HANG = 60  # seconds
LEVELS = 1100  # more than that, with one for each; removing takes a disk some ms each


def make_deep(server, directory, name):
    """A tree that is deeper than there are descriptors, as one whom the server works for may make it."""
    user = server.settings.get("SANDBOX_USER")
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(LEVELS):
        os.mkdir(name, dir_fd=parent)
        child = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=parent)
        if user:
            os.fchown(child, *user_ids(user))
        os.close(parent)
        parent = child
    os.close(parent)


def test_a_deep_tree_in_the_place_of_the_port(make_server):
    server = make_server(prefix=FEW_DESCRIPTORS)
    old = server.daemon("fcgi-app")
    make_deep(server, server.run_dir / "port", "target")
    assert server.post("/unbind_port", timeout=BIG_TIMEOUT).status_code == 200
    assert os.listdir(server.run_dir / "port") == [] and server.daemon("fcgi-app") == old


@pytest.mark.parametrize("place", ["spool", "port", "state/jobs"])
def test_a_deep_tree_survives_no_start(make_server, place):
    server = make_server(prefix=FEW_DESCRIPTORS)
    make_deep(server, server.run_dir / place, "deep")
    server.stop(deadline=HANG)
    server.boot()
    assert not (server.run_dir / place / "deep").exists()


def test_a_directory_of_its_own_is_removed_with_a_deep_tree(make_server):
    server = make_server({"SANDBOX_RUN_DIR": ""}, prefix=FEW_DESCRIPTORS)
    directory = proc_file(server.daemon("fcgi-app"), "cmdline").split(b"\0")[2].decode()
    make_deep(server, f"{directory}/spool", "deep")
    server.stop(deadline=HANG)
    assert not os.path.exists(directory)


def test_what_cannot_be_emptied_is_emptied_later(make_server):
    """The run directory is known as one even when emptying it has failed."""
    server = make_server()
    server.stop()
    place = server.run_dir / "spool"
    if subprocess.run(["mount", "-t", "tmpfs", "none", place], check=False, capture_output=True).returncode != 0:
        pytest.skip("this needs mount(2)")
    try:
        launch = Launch(server.settings)
        code, _, said = launch.wait(TIMEOUT)
        launch.destroy()
        assert code == 1 and "Device or resource busy" in said
    finally:
        subprocess.run(["umount", place], check=True)
    server.boot()


def test_fcgi_apps_name_is_not_what_it_is_known_by(make_server):
    """Any thread of a process may change its name, through /proc."""
    server = make_server()
    pid = server.daemon("fcgi-app")
    assert server.post("/write_file", path=f"/proc/self/task/{pid}/comm", content="another").json() == {"success": True}
    assert proc_file(pid, "comm") == b"another\n"
    status = server.get("/health?full=1").json()
    assert status["daemons"]["fcgi-app"]["pid"] == pid
