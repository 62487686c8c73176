"""A stop of the whole server: what commands, their clients and the next start see of it, whenever it comes and whichever process dies."""

import concurrent.futures
import os
import pathlib
import random
import signal
import subprocess
import time

import pytest

from foreground import LAUNCHER, Foreground, own_tmp
from sandbox import BIN, DEADLINE, Sandbox, proc_file, wait_until

POLITE = "trap 'echo bye; sleep 0.1; echo gone; exit 3' TERM; echo open; while :; do sleep 0.05; done"
STUBBORN = "trap 'echo heard' TERM; echo open; while :; do sleep 0.05; done"

# How often a start is stopped at a random moment.
EARLY_STOPS = int(os.environ.get("SANDBOX_EARLY_STOPS", "60"))


def start(settings=None, command=None, **options):
    return Foreground(command or LAUNCHER, {"SANDBOX_SECRET": "stop", **(settings or {})}, **options)


def client(server):
    return Sandbox(server.url, ("127.0.0.1", server.proxy_port), "stop")


def opened(stream):
    """A stream whose command is in its loop."""
    assert stream.next().data["data"] == "open"
    return stream


def data(events, kind):
    return [event.data["data"] for event in events if event.name == kind and event.data["stream"] == "stdout"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_commands_end_by_sigterm_and_their_clients_see_it(number):
    """Every command gets SIGTERM, and its clients see what it says and how it ends: a log stream, a stream, a /run."""
    with start({"SANDBOX_STOP_GRACE": "30s"}) as server:
        sandbox = client(server)
        job = sandbox.start(POLITE)["id"]
        log, stream = opened(sandbox.logs(job)), opened(sandbox.stream(POLITE))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            mark = f"{server.run_dir}/begun"
            run = pool.submit(sandbox.post, "/run", cmd=POLITE.replace("echo open", f"touch {mark}"))
            wait_until(lambda: os.path.exists(mark), "the /run")
            assert server.end(number) == 0
            answer = run.result(DEADLINE).json()
        assert (answer["code"], answer["stdout"], answer["reason"]) == (3, "bye\ngone\n", "exit")
        for events, kind in ((log.events(), "log"), (stream.events(), "output")):
            assert data(events, kind) == ["bye", "gone"] and events[-1].name == "complete"
        assert events[-1].data["code"] == 3 and events[-1].facts["reason"] == "exit"


def test_who_does_not_end_is_killed_after_one_grace_for_all():
    """The clients of the commands that are left then get the error that the server stops. Each command has got one SIGTERM."""
    with start({"SANDBOX_STOP_GRACE": "600ms"}) as server:
        sandbox = client(server)
        job = sandbox.start(STUBBORN)["id"]
        log, stream = opened(sandbox.logs(job)), opened(sandbox.stream(STUBBORN))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            mark = f"{server.run_dir}/begun"
            run = pool.submit(sandbox.post, "/run", cmd=STUBBORN.replace("echo open", f"touch {mark}"))
            wait_until(lambda: os.path.exists(mark), "the /run")
            assert server.end() == 0
            answer = run.result(DEADLINE)
        assert answer.status_code >= 400 and "stopping" in answer.json()["error"]
        for events, kind in ((log.events(), "log"), (stream.events(), "output")):
            assert data(events, kind) == ["heard"]
            assert events[-1].name == "error" and "stopping" in events[-1].data["error"] and events[-1].data["error_code"] == "stopping"


def test_a_stream_behind_its_job_ends_as_the_job_did():
    """Its client has not read all when the job ends and the server stops."""
    with start({"SANDBOX_STOP_GRACE": "30s"}) as server:
        sandbox = client(server)
        job = sandbox.start("trap 'seq 100000; exit 3' TERM; echo open; while :; do sleep 0.05; done")["id"]
        pieces = sandbox.get(f"/process_logs_streaming?id={job}", stream=True).iter_content(None)
        while b'"data":"open"' not in next(pieces):
            pass
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            end = pool.submit(server.end)
            rest = b"".join(pieces)
            assert end.result() == 0
        assert rest.count(b"event: log\n") >= 100_000 and b'"data":"100000"' in rest
        last = rest.rstrip(b"\n").rsplit(b"\n\n", 1)[-1]
        assert last.startswith(b"event: complete\n") and b"running" not in last


def test_what_an_ended_command_left_gets_sigterm_too(tmp_path):
    os.chmod(tmp_path, 0o777)
    with start() as server:
        left = f"trap 'echo heard >>{tmp_path}/left; exit' TERM; touch {tmp_path}/ready; while :; do sleep 0.05; done"
        client(server).run("setsid sh -c \"$LEFT\" >/dev/null 2>&1 &", env={"LEFT": left})
        wait_until((tmp_path / "ready").exists, "what is left")
        assert server.end() == 0
    assert (tmp_path / "left").read_text() == "heard\n"


def test_no_grace_is_sigkill_at_once(tmp_path):
    with start({"SANDBOX_STOP_GRACE": "0"}) as server:
        stream = opened(client(server).stream(f"trap 'touch {tmp_path}/heard' TERM; echo open; while :; do sleep 0.05; done"))
        assert server.end() == 0
        assert stream.events()[-1].name == "error"
    assert not (tmp_path / "heard").exists()


def test_a_bad_grace_is_named():
    with start({"SANDBOX_STOP_GRACE": "11m"}) as server:
        server.fails("SANDBOX_STOP_GRACE")


def test_procd_alone_gives_the_grace():
    """Where nobody has begun the stop `procd --stop` sends SIGTERM itself: the parent of s6-svscan was killed."""
    with start() as server:
        sandbox = client(server)
        mark = server.run_dir.parent / f"heard-{server.mark}"
        job = sandbox.start(f"trap 'touch {mark}; exit' TERM; echo open; while :; do sleep 0.05; done")["id"]
        opened(sandbox.logs(job)).close()
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
        assert mark.exists()
        mark.unlink()


def test_procd_alone_finds_commands_by_their_cgroups(tmp_path):
    """As under systemd, where the runners are nobody's children when `procd --stop` runs."""
    os.chmod(tmp_path, 0o777)
    with start({"SANDBOX_STOP_GRACE": "2s"}) as server:
        sandbox = client(server)
        job = sandbox.start(f"trap 'touch {tmp_path}/heard; exit' TERM; echo open; while :; do sleep 0.05; done")["id"]
        opened(sandbox.logs(job)).close()
        lines = [proc_file(pid, "cmdline").split(b"\0") for pid in server.tree()]
        cgroups = {line[line.index(b"--cgroup") + 1].decode() for line in lines if b"--cgroup" in line}
        if not cgroups:
            pytest.skip("no writable cgroup v2 here")
        environment = {**os.environ, "SANDBOX_STOP_GRACE": "2s", "SANDBOX_CGROUP": os.path.dirname(cgroups.pop())}
        subprocess.run([BIN / "procd", "--stop", "-r", server.run_dir], env=environment, check=False, timeout=DEADLINE)
        assert (tmp_path / "heard").exists()


@pytest.mark.parametrize("more", ["", "s6-supervise"])
def test_a_killed_s6_svscan_ends_the_server(more):
    """Its services would run on without anybody who hears a signal. Commands get their grace all the same."""
    with start() as server:
        sandbox = client(server)
        run_dir, mark = server.run_dir, server.run_dir.parent / f"heard-{server.mark}"
        job = sandbox.start(f"trap 'touch {mark}; exit' TERM; echo open; while :; do sleep 0.05; done")["id"]
        opened(sandbox.logs(job)).close()
        names = {pid: proc_file(pid, "cmdline").decode().partition("\0")[0] for pid in server.tree()}
        for pid, name in sorted(names.items(), key=lambda item: item[1] != "s6-svscan"):
            if name == "s6-svscan" or (more and name == more):
                os.kill(pid, signal.SIGKILL)
        status, _, complaint = server.wait(10)
        assert status == 1 and "s6-svscan was killed" in complaint
        server.check_nothing_left(run_dir)
        assert mark.exists()
        mark.unlink()


def stop_early(delay, home, prefix, fresh):
    """Starts a server, and SIGTERM after so many seconds. Everything ends, whatever it was doing, and nothing is left."""
    given = home / f"given-{delay}"
    with start(None if fresh else {"SANDBOX_RUN_DIR": str(given)}, [*(prefix if fresh else []), *LAUNCHER]) as server:
        time.sleep(delay)  # the moment is what is tried
        server.process.send_signal(signal.SIGTERM)
        status, _, complaint = server.wait(10 + DEADLINE)
        # Before the first line of main nothing hears it, and nothing has been made.
        assert status in (0, -signal.SIGTERM), (delay, status, complaint)
        # A question of the start after /health may be open.
        assert complaint in ("", "fcgi-app: warning: stopped with requests open\n"), (delay, complaint)
        server.check_nothing_left()
    assert not given.exists() or not os.listdir(given) or (given / ".nginx-sandbox").exists()


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "given"])
def test_a_start_is_stopped_at_any_moment(home, fresh):
    """Signals are blocked from the first line on, and never ignored."""
    home = pathlib.Path(home)
    prefix = own_tmp(home)
    if fresh and not prefix:
        pytest.skip("no mount namespaces here")
    moments = random.Random(7)
    tries = EARLY_STOPS // 2
    # Each moment of the first tenths of a second, where most is made; then until it is ready, on a busy machine.
    delays = [index * 0.15 / (tries * 2 // 3) for index in range(tries * 2 // 3)]
    delays += [moments.uniform(0.15, 1.5) for _ in range(tries - len(delays))]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda delay: stop_early(delay, home, prefix, fresh), delays))
    assert not fresh or not os.listdir(home)


def fill(run_dir, jobs):
    """A run directory as `jobs` finished jobs leave it."""
    for number in range(jobs):
        job = run_dir / "state/jobs" / f"job-{number}"
        job.mkdir(parents=True)
        for name in ("record", "exit", "position", "log.0"):
            (job / name).write_bytes(b"x" * 100)
    (run_dir / ".nginx-sandbox").touch()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("command", [None, "hold"])
def test_an_emptying_that_is_interrupted_leaves_a_directory_that_the_next_start_takes(tmp_path, number, command):
    """The mark of a directory that is ours outlasts what it marks."""
    os.chmod(tmp_path, 0o755)
    run_dir = tmp_path / "box"
    fill(run_dir, 3000)
    arguments = [*LAUNCHER, "hold", "--state", str(tmp_path), "box"] if command else LAUNCHER
    with start({"SANDBOX_RUN_DIR": str(run_dir)}, arguments) as server:
        jobs = run_dir / "state/jobs"
        wait_until(lambda: not jobs.exists() or len(os.listdir(jobs)) < 3000, "the first job to go")
        server.process.send_signal(number)
        server.wait(10 + DEADLINE)
    assert (run_dir / ".nginx-sandbox").exists() or not os.listdir(run_dir)
    with start({"SANDBOX_RUN_DIR": str(run_dir)}) as server:
        assert client(server).processes() == []
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.wait(10 + DEADLINE)[0] == 0
