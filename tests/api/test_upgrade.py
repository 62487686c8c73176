"""make install over a server that runs, and its daemons restarted one after the other: jobs, logs and cursors live on."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from sandbox import BIG_TIMEOUT, BIN, REPOSITORY, Server, proc_file, proc_stat

pytestmark = pytest.mark.host


def install(prefix, through=()):
    """make install of what is built: nothing is compiled."""
    arguments = [f"PREFIX={prefix}"]
    if BIN != REPOSITORY / "bin":
        arguments += [f"BIN={BIN}", f"BUILD={os.environ['SANDBOX_BUILD']}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    before = (BIN / "procd").stat().st_mtime_ns
    subprocess.run([*through, "make", "-s", "-C", REPOSITORY, "install", *arguments], env=environment, check=True, timeout=BIG_TIMEOUT)
    assert (BIN / "procd").stat().st_mtime_ns == before


def is_installed(prefix, pid):
    """Does the process run the very file that is installed now? Otherwise that of an earlier installation, unlinked."""
    name = proc_file(pid, "cmdline").split(b"\0")[0].rsplit(b"/", 1)[-1].decode()
    running, installed = os.stat(f"/proc/{pid}/exe"), os.stat(prefix / "libexec/nginx-sandbox" / name)
    same = (running.st_dev, running.st_ino) == (installed.st_dev, installed.st_ino)
    assert same or os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")
    return same


def runner_of(job):
    """The process that owns the tree of a job whose first process lives."""
    runner = proc_stat(job["pid"])[1]
    assert b"--runner" in proc_file(runner, "cmdline")
    return runner


def restart(server, name):
    old = server.daemon(name)
    server.supervise(name, "r")
    server.back(name, old)


@pytest.fixture
def prefix():
    """A directory that everybody can reach, unlike pytest's own."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="nxs-prefix-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="the other test installs as an ordinary user already")
def test_installing_needs_no_root(prefix):
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*nobody, "test", "-r", REPOSITORY / "Makefile"], check=False).returncode:
        pytest.skip("nobody else may read this repository")
    os.chown(prefix, 65534, 65534)
    install(prefix, nobody)
    assert os.access(prefix / "bin/nginx-sandbox", os.X_OK)


def test_an_upgrade_under_way(prefix, marker, tmp_path):
    install(prefix)
    with Server(launcher=prefix / "bin/nginx-sandbox") as server:
        printing = server.start(f"i=0; while [ ! -e {tmp_path}/end ]; do i=$((i + 1)); echo $i; sleep 0.01; done")
        silent = server.start(f"{marker.sleep} & setsid {marker.sleep} & {marker.sleep}")
        ended = server.start("seq 100; exit 3")
        assert server.ended(ended["id"]) == "failed"
        marker.sleeping(server, 3)
        with server.logs(ended["id"]) as stream:
            history = stream.events()
        cut, watching = server.logs(printing["id"]), server.logs(printing["id"])
        seen = [cut.next() for _ in range(5)]
        cut.close()
        watched = [watching.next() for _ in range(10)]
        daemons = [server.daemon(name) for name in ("procd", "fcgi-app")]
        assert all(is_installed(prefix, pid) for pid in (*daemons, runner_of(printing)))

        install(prefix)
        assert not any(is_installed(prefix, pid) for pid in (*daemons, runner_of(printing)))

        restart(server, "procd")  # an open stream does not notice
        assert is_installed(prefix, server.daemon("procd"))
        watched += [watching.next() for _ in range(100)]

        restart(server, "fcgi-app")  # ends its streams, which go on where they were
        assert is_installed(prefix, server.daemon("fcgi-app"))
        watched += watching.events()
        watching.close()
        assert watched.pop().name == "error"

        server.reload_nginx()

        listed = {process["id"]: process for process in server.processes()}
        assert list(listed) == [job["id"] for job in (printing, silent, ended)]
        assert [process["status"] for process in listed.values()] == ["running", "running", "failed"]
        assert all(listed[job["id"]]["pid"] == job["pid"] for job in (printing, silent, ended))
        assert not is_installed(prefix, runner_of(printing))  # who has a job stays with it
        new = server.start("sleep 86400")
        assert is_installed(prefix, runner_of(new))

        for job in (silent, new):
            assert server.kill(job["id"]).status_code == 200
        assert not marker.pids(server)

        (tmp_path / "end").touch()
        for events in (seen, watched):  # one was left before the upgrade, one was cut by it
            with server.logs(printing["id"], headers={"Last-Event-ID": events[-1].id}) as stream:
                events += stream.events()
            assert events.pop() == ("complete", {"message": "stream ended"})
        lines = [event.data["data"] for event in watched]
        assert lines == [str(number) for number in range(1, len(lines) + 1)] and len(lines) >= 110
        assert seen == watched and lines == server.lines(printing["id"])
        assert server.status(printing["id"]) == "completed"
        with server.logs(ended["id"], headers={"Last-Event-ID": history[49].id}) as stream:
            assert stream.events() == history[50:]
