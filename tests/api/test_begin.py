"""What a command finds when it begins: its directory, its environment, its limits; and kernels that lack what is new."""

import os
import pathlib
import resource
import shutil
import sys

import pytest

from sandbox import SANITIZED, Server, alive, proc_file, wait_until

OLD_KERNEL = str(pathlib.Path(__file__).with_name("old_kernel.py"))


# ---- old kernels ----


@pytest.mark.host
@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_a_kernel_without_new_system_calls(make_server, make_marker, error):
    """close_range, pidfd_open, pidfd_send_signal and all other calls from Linux 5.1 on fail: the server starts, runs commands
    and jobs, ends whole trees, finds its jobs again after procd's death and ends what a dead runner has left."""
    with Server(prefix=[sys.executable, OLD_KERNEL, error]) as server:
        assert server.shell("echo hello") == "hello\n"
        deep = "sh -c 'setsid sh -c \"sleep 1000 & sleep 1000 & echo deep; wait\" & wait'"
        with server.stream(deep) as stream:
            assert stream.next() == ("output", {"stream": "stdout", "data": "deep"})
            stream.close()
        job = server.start(f"trap 'echo told; exit 3' TERM; {deep} & wait")
        wait_until(lambda: len(tree_of(job["pid"])) >= 5, "the job's tree")
        tree = tree_of(job["pid"])
        assert server.post("/kill_process", id=job["id"], signal="SIGTERM", grace_ms=500).status_code == 200
        assert server.lines(job["id"]) == ["deep", "told"]
        assert not any(map(alive, tree)), "the tree is dead"
        other = server.start(deep)
        wait_until(lambda: len(tree_of(other["pid"])) >= 4, "the other job's tree")
        tree = tree_of(other["pid"])
        server.back("procd", server.kill_daemon("procd"))
        assert server.status(other["id"]) == "running"
        runner = int(proc_file(other["pid"], "stat").rsplit(b")", 1)[1].split()[1])
        os.kill(runner, 9)
        assert server.ended(other["id"]) == "failed"
        wait_until(lambda: not any(map(alive, tree)), "what the dead runner has left to be ended")


def tree_of(top):
    """The pids of a living process and its living descendants."""
    parents = {int(name): int(stat.rsplit(b")", 1)[1].split()[1]) for name in os.listdir("/proc")
               if name.isdigit() and (stat := proc_file(name, "stat"))}
    tree = [top]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    return [pid for pid in tree if alive(pid)]


# ---- where it begins ----


@pytest.fixture
def started_in(tmp_path):
    """A server that was started in a directory of its own, and the directory."""
    directory = tmp_path / "start"
    directory.mkdir()
    with Server(settings={"SANDBOX_USER": None}, prefix=["env", "-C", str(directory)]) as server:
        yield server, directory


@pytest.mark.host
@pytest.mark.own_user
def test_the_start_directory_is_the_one_of_its_name(started_in):
    """Removed and made anew, it is where commands start and where relative paths begin; while it is gone that is the root."""
    server, directory = started_in
    assert server.shell("pwd; printenv PWD") == f"{directory}\n{directory}\n"
    assert server.post("/write_file", path="first", content="1").json() == {"success": True}
    shutil.rmtree(directory)
    assert server.shell("pwd; /bin/pwd -P") == "/\n/\n"
    job = server.start("pwd")
    assert (server.lines(job["id"]), server.get(f"/get_process?id={job['id']}").json()["cwd"]) == (["/"], "/")
    assert "bin" in server.post("/list_dir", path=".").json()["entries"]
    directory.mkdir()
    assert server.shell("pwd; /bin/pwd -P; ls") == f"{directory}\n{directory}\n"
    (directory / "sub").mkdir()
    for cwd, expected in ((None, directory), ("sub", directory / "sub"), ("/", "/")):
        job = server.start("/bin/pwd", **({"cwd": cwd} if cwd else {}))
        assert server.lines(job["id"]) == [str(expected)]
        assert server.get(f"/get_process?id={job['id']}").json()["cwd"] == str(expected)
    assert server.post("/write_file", path="second", content="2").json() == {"success": True}
    assert (directory / "second").read_text() == "2"
    assert server.post("/read_file", path="second").json()["content"] == "2"
    assert server.post("/list_dir", path=".").json()["entries"] == ["second", "sub"]


@pytest.mark.host
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change user")
def test_a_home_that_is_made_anew(open_directory, make_server):
    """The same for the directory of SANDBOX_USER, whose servers start in it."""
    home = open_directory / "home"

    def make():
        home.mkdir(mode=0o700)
        os.chown(home, 65534, 65534)

    make()
    passwd = open_directory / "passwd"
    passwd.write_text(pathlib.Path("/etc/passwd").read_text() + f"homely:x:65534:65534::{home}:/bin/sh\n")
    passwd.chmod(0o644)
    prefix = ["unshare", "--mount", "sh", "-c", f'mount --bind {passwd} /etc/passwd; exec "$@"', "sh"]
    server = make_server({"SANDBOX_USER": "homely"}, prefix=prefix)
    assert server.shell("pwd") == f"{home}\n"
    shutil.rmtree(home)
    assert server.shell("pwd") == "/\n"
    make()
    assert server.shell("pwd; echo 1 >x; ls") == f"{home}\nx\n"
    assert server.post("/read_file", path="x").json()["content"] == "1\n"


# ---- what it is ----


@pytest.mark.parametrize("cmd", ["-x", "+x", "--", "-c 'echo wrong'", "-x" + " " * 200000])
def test_a_command_that_looks_like_an_option(sandbox, cmd):
    """It is the command, as a long one is that the shell reads from a file."""
    answer = sandbox.run(cmd)
    assert answer["code"] == 127 and "not found" in answer["stderr"], answer
    assert sandbox.lines(sandbox.start(cmd)["id"])[0].endswith("not found")


# ---- its environment ----


@pytest.mark.host
def test_nothing_of_the_servers_settings(make_server):
    """PORT, PROXY_PORT and SANDBOX_* are the server's own; what else it was given a command has; and what a request gives."""
    server = make_server({"PORTAL": "kept", "MY_SANDBOX_X": "kept", "SANDBOX_LIMIT_NPROC": "0", "LOG_LEVEL": "warn"})
    names = {line.split("=", 1)[0] for line in server.shell("env").splitlines()}
    assert not [name for name in names if name in ("PORT", "PROXY_PORT") or name.startswith("SANDBOX_")]
    if not server.settings.get("SANDBOX_USER"):
        assert {"PORTAL", "MY_SANDBOX_X", "NGINX_SANDBOX_TEST"} <= names
    given = {"PORT": "1", "PROXY_PORT": "2", "SANDBOX_SECRET": "3", "SANDBOX_ANY": ""}
    for lines in (server.shell("env", env=given).splitlines(), server.lines(server.start("env", env=given)["id"])):
        assert {f"{name}={value}" for name, value in given.items()} <= set(lines)


@pytest.mark.host
@pytest.mark.parametrize("given, charset", [
    ({}, "UTF-8"), ({"LANG": ""}, "UTF-8"), ({"LC_ALL": "C"}, "ANSI_X3.4-1968"), ({"LC_CTYPE": "C"}, "ANSI_X3.4-1968"),
    ({"LANG": "C"}, "ANSI_X3.4-1968"), ({"LC_COLLATE": "C"}, "UTF-8"),
])
def test_a_locale_in_utf8_where_none_is_set(make_server, given, charset):
    server = make_server({"LANG": None, "LC_ALL": None, "LC_CTYPE": None, **given}, prefix=[
        "env", *(option for name in ("LANG", "LC_ALL", "LC_CTYPE") if name not in given for option in ("-u", name))])
    assert server.shell("locale charmap") == charset + "\n"
    assert server.shell("locale charmap", env={"LC_ALL": "C"}) == "ANSI_X3.4-1968\n"
    assert server.shell("locale charmap", env={"LC_ALL": "C.UTF-8"}) == "UTF-8\n"


# ---- its limits ----


@pytest.mark.host
@pytest.mark.skipif(SANITIZED, reason="a sanitizer takes more address space than the limit")
def test_limits_are_for_commands(make_server, tmp_path):
    """A server that was started under limits lifts its own, and commands have them, soft and hard. The access log grows beyond
    the size of a file that commands may have."""
    os.chmod(tmp_path, 0o777)
    server = make_server(prefix=["prlimit", "--fsize=20480:40960", "--cpu=1000:2000", "--as=8589934592:9663676416"])
    limits = "ulimit -S -f; ulimit -H -f; ulimit -S -t; ulimit -H -t; ulimit -S -v; ulimit -H -v"
    expected = ["40", "80", "1000", "2000", "8388608", "9437184"]
    assert server.shell(limits).split() == expected
    assert server.lines(server.start(limits)["id"]) == expected
    for name in ("nginx", "fcgi-app", "procd"):
        pid = server.daemon(name)
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        assert (soft, hard) in ((40960, 40960), (-1, -1)), name  # the latter with CAP_SYS_RESOURCE
        assert resource.prlimit(pid, resource.RLIMIT_CPU) in ((2000, 2000), (-1, -1)), name
        ignored = int(next(line for line in proc_file(pid, "status").decode().splitlines() if line.startswith("SigIgn")).split()[1], 16)
        assert ignored >> 24 & 1, f"{name} ignores SIGXFSZ"
    workers = server.nginx_pids()
    for _ in range(300):
        assert server.get("/health?" + "x" * 300, token=False).status_code == 200
    assert server.nginx_pids() == workers, "no worker died"
    answer = server.run(f"head -c 30000 /dev/zero >{tmp_path}/file; stat -c %s {tmp_path}/file; exit 0")
    assert answer["stdout"] == "20480\n"
    assert server.lines(server.start("echo 1; echo 2")["id"]) == ["1", "2"]


# ---- signals ----


@pytest.mark.parametrize("name, number", [
    ("SIGRTMIN+3", 37), ("rtmin+3", 37), ("SIGRTMIN", 34), ("RTMIN+0", 34), ("SIGRTMAX", 64), ("SIGRTMAX-2", 62),
    ("SIGRTMIN+30", 64), ("SIGIOT", 6), ("cld", 17), ("SIGIO", 29), ("SIGPOLL", 29), ("37", 37), (37, 37),
])
def test_spellings_of_signals(sandbox, name, number):
    """Every spelling that answers use is taken, and those of kill(1)."""
    script = ("import signal; every = signal.valid_signals(); signal.pthread_sigmask(signal.SIG_BLOCK, every);"
              "print('ready', flush=True); print(int(signal.sigwait(every)))")
    job = sandbox.start(f"exec /usr/bin/python3 -c \"{script}\"")
    with sandbox.logs(job["id"]) as stream:
        assert stream.next().data["data"] == "ready"
        answer = sandbox.post("/kill_process", id=job["id"], signal=name)
        assert (answer.status_code, answer.json()) == (200, {"success": True, "message": "Signal sent"})
        assert stream.next().data["data"] == str(number)


@pytest.mark.parametrize("name", ["SIGRTMIN+31", "SIGRTMAX-31", "RTMIN+", "RTMAX+1", "SIG", "SIGSIGTERM", "RTMIN-1", "RTMAX-", "65", "0"])
def test_no_spellings_of_signals(sandbox, name):
    job = sandbox.start("sleep 1000")
    assert sandbox.post("/kill_process", id=job["id"], signal=name).status_code == 400


def test_a_signal_that_ended_a_job_can_be_sent(sandbox):
    job = sandbox.start("exec /usr/bin/python3 -c 'import os; os.kill(os.getpid(), 37)'")
    sandbox.ended(job["id"])
    name = sandbox.get(f"/get_process?id={job['id']}").json()["signal"]
    other = sandbox.start("sleep 1000")
    assert sandbox.post("/kill_process", id=other["id"], signal=name).status_code == 200
    sandbox.ended(other["id"])
    assert sandbox.get(f"/get_process?id={other['id']}").json()["signal"] == name
