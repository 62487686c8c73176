"""
SANDBOX_USER: commands and file operations are another user's, and nothing that this user does reaches the server. And what
every command gets and loses, with or without it: limits, rights, its place before the out-of-memory killer.
"""

import contextlib
import json
import os
import pathlib
import pwd
import re
import shutil
import stat
import struct
import subprocess
import sys

import pytest
import requests

from cgroups import IN_VM
from sandbox import (BIG_TIMEOUT, BIN, Launch, Port, Server, alive, cgroup_mount_point, cgroup_of, check_framing, home, in_threads,
                     make_directory, proc_file, proc_stat, user_ids, wait_until)

pytestmark = [pytest.mark.host, pytest.mark.skipif(os.geteuid() != 0, reason="only root can run commands as another user")]

PYTHON = "/usr/bin/python3 -I"
ATTACK = pathlib.Path(__file__).with_name("attack.py")

# An account, and numbers without one.
USERS = ["games", "54321:54322"]
USER = USERS[0]


def worker():
    return pwd.getpwnam("www-data")


@pytest.fixture(scope="module", params=USERS)
def box(request):
    """A server whose commands are another user's, shared by the tests of this file."""
    with Server({"SANDBOX_USER": request.param, "PATH": "/usr/local/bin:/usr/bin:/bin"}) as server:
        yield server


@pytest.fixture
def directory(box):
    """A directory of the commands' user."""
    path = make_directory(box.settings["SANDBOX_USER"])
    yield path
    subprocess.run(["rm", "-rf", path], check=False)


def values(text, name):
    """The values of a line of a /proc/<pid>/status."""
    return next(line.split()[1:] for line in text.decode().splitlines() if line.startswith(f"{name}:"))


def status(pid, name):
    return values(proc_file(pid, "status"), name)


def runners(server):
    return [pid for pid in server.launch.tree() if proc_file(pid, "cmdline").startswith(b"procd\0--runner\0")]


# ---- who is who ----


def test_the_command_is_the_user(box):
    uid, gid = user_ids(box.settings["SANDBOX_USER"])
    lines = dict(line.split(":\t", 1) for line in box.shell("cat /proc/self/status").splitlines() if ":\t" in line)
    assert lines["Uid"].split() == [str(uid)] * 4 and lines["Gid"].split() == [str(gid)] * 4
    assert lines["Groups"].split() == [str(gid)]
    assert {lines[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}
    assert lines["NoNewPrivs"] == "1"


def test_its_environment_is_clean(box):
    user = box.settings["SANDBOX_USER"]
    expected = {"PATH": box.settings["PATH"], "HOME": "/", "SHELL": "/bin/sh", "PWD": home(user), "MINE": "1"}
    if ":" not in user:
        account = pwd.getpwnam(user)
        expected |= {"HOME": account.pw_dir, "SHELL": account.pw_shell, "USER": user, "LOGNAME": user}
    shown = dict(line.split("=", 1) for line in box.shell("env", env={"MINE": "1"}).splitlines())
    kept = {name for name in shown if name in ("LANG", "TZ", "TERM", "_") or name.startswith("LC_")}
    assert {name: value for name, value in shown.items() if name not in kept} == expected
    assert all(shown[name] == os.environ[name] for name in kept - {"_"})


def test_it_starts_at_home(box):
    place = home(box.settings["SANDBOX_USER"])
    assert box.shell("pwd; cat /proc/self/oom_score_adj") == f"{place}\n500\n"
    assert "usr" in box.post("/list_dir", path=os.path.relpath("/", place)).json()["entries"]
    identifier = box.start("pwd")["id"]
    assert box.lines(identifier) == [place]
    assert next(process["cwd"] for process in box.processes(full=True) if process["id"] == identifier) == place


def test_fcgi_app_has_nothing_but_the_users_files(box):
    uid, gid = user_ids(box.settings["SANDBOX_USER"])
    in_threads(20, lambda _: box.run("sleep 0.1"))
    pids = [box.daemon("fcgi-app"), box.daemon("terminal")]  # which has one thread
    threads = [f"{pid}/task/{thread}" for pid in pids for thread in os.listdir(f"/proc/{pid}/task")]
    texts = [text for text in (proc_file(thread, "status") for thread in threads) if text]  # a thread may have ended since
    assert len(texts) > 2
    for text in texts:
        assert values(text, "Uid") == [str(worker().pw_uid)] * 3 + [str(uid)]
        assert values(text, "Gid") == [str(worker().pw_gid)] * 3 + [str(gid)]
        assert values(text, "Groups") == [str(gid)]
        assert [values(text, f"Cap{kind}") for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == [["0" * 16]] * 5
        assert (values(text, "NoNewPrivs"), values(text, "Seccomp")) == (["1"], ["2"])
    assert {os.stat(f"/proc/{pid}/fd").st_uid for pid in pids} == {0}  # what nobody may dump is root's
    assert status(box.daemon("guard"), "NoNewPrivs") == ["1"]
    assert all(status(runner, "Uid") == ["0"] * 4 for runner in runners(box))


@pytest.mark.parametrize("name", ["fcgi-app", "procd"])
def test_a_daemon_comes_back_as_it_was(make_server, name):
    server = make_server({"SANDBOX_USER": USER})
    identifier = server.start("echo first; cat", stdin=True)["id"]
    with server.logs(identifier) as stream:
        first = stream.next()
    before = [status(server.daemon(name), kind) for kind in ("Uid", "Gid", "Groups", "CapEff", "Seccomp")]
    server.back(name, server.kill_daemon(name))
    assert [status(server.daemon(name), kind) for kind in ("Uid", "Gid", "Groups", "CapEff", "Seccomp")] == before
    assert server.post("/write_stdin", id=identifier, data="second\n", eof=True).json()["written"] == 7
    with server.logs(identifier, headers={"Last-Event-ID": first.id}) as stream:
        assert [event.data.get("data", event.data) for event in stream.events()] == ["second", {"message": "stream ended"}]
    assert server.shell("id -un; id -ru") == f"{USER}\n{pwd.getpwnam(USER).pw_uid}\n"
    assert server.post("/bind_port", port=8080).status_code == 200


# ---- attacks ----


def is_refused(outcome):
    return outcome in ("EPERM", "EACCES", "EROFS", "not allowed to raise maximum limit")


def is_harmless(attack, target, outcome):
    """What is not refused for a reason: what this kernel has not got, and what has ended."""
    return (outcome in ("ENOENT", "ENOSYS") and attack in ("kcmp", "read stack")
            # nginx's master changes its session; a process that has ended is not there
            or outcome == "ESRCH" and attack == "pidfd_getfd")


def targets(server, user):
    """{what: pid} of every process of the server that is no command's, the attacker's own runner among them."""
    uid = str(user_ids(user)[0])
    pids = {f"{proc_file(pid, 'comm').decode().strip()} {pid}": pid for pid in server.launch.tree() if status(pid, "Uid")[0] != uid}
    names = {name.split()[0] for name in pids}
    assert {"s6-svscan", "s6-supervise", "nginx", "fcgi-app", "procd", "terminal", "guard", "runner"} <= names, names
    return pids


def cgroup_of_commands(server):
    """The directory with the cgroups of a server's runners, once these have moved there; None where a server has none."""
    run = os.stat(server.run_dir)
    place = cgroup_mount_point() and cgroup_of(server.launch.pid) / f"nginx-sandbox-{run.st_dev}-{run.st_ino}"
    if place is None or not place.exists():
        assert not IN_VM, "there are no cgroups"
        return None

    def all_but_one():  # which may have been given a job before it was idle
        pids = runners(server)
        return len(pids) > 1 and sum((place / str(pid)).exists() for pid in pids) >= len(pids) - 1

    wait_until(all_but_one, "the runners to have cgroups")
    return place


def make_target(make_server, user):
    """A server with something of everything that is attacked: itself, the attacks' input, the id of its job."""
    server = make_server({"SANDBOX_USER": user})
    job = server.start("cat; sleep 1000", stdin=True)["id"]
    assert server.post("/bind_port", port=8080).status_code == 200
    place = cgroup_of_commands(server)
    cgroups = [path for path in (place, *place.iterdir()) if path.is_dir()] if place else []
    files = [str(file) for path in cgroups for file in path.iterdir() if file.is_file() and file.stat().st_mode & 0o200]
    return server, {"run": str(server.run_dir), "job": job, "cgroups": [*map(str, cgroups), *([str(place.parent)] if place else [])],
                    "cgroup_files": files}


@pytest.mark.cgroup
def test_nothing_that_a_command_tries_reaches_the_server(make_server):
    server, wish = make_target(make_server, USER)
    pids = targets(server, USER)
    answer = server.post("/run", cmd=f'{PYTHON} -c "$ATTACK"', stdin=json.dumps({"pids": pids, **wish}), env={"ATTACK": ATTACK.read_text()},
                         timeout=BIG_TIMEOUT).json()
    assert answer["code"] == 0, answer["stderr"]
    outcomes = json.loads(answer["stdout"])
    assert len(outcomes) > 35 and len(outcomes["signal 0"]) == len(pids) > 12
    assert [*outcomes["leave its cgroup"]] == wish["cgroups"]
    done = {(attack, target): outcome for attack, results in outcomes.items() for target, outcome in results.items()
            if not is_refused(outcome) and not is_harmless(attack, target, outcome)}
    assert not done
    assert all(alive(pid) and proc_stat(pid)[0] not in "Tt" for pid in pids.values())
    assert server.status(wish["job"]) == "running" and server.shell("echo well") == "well\n"


WHAT_IS_THERE = """
import sys
wish = json.load(sys.stdin)
wanted = ("signal 0", "kill SIGSTOP", "kill SIGCONT", "renice", "taskset", "ionice", "pidfd_getfd", "prlimit", "read mem", "read environ", "read maps",
          "write oom_score_adj", "follow exe", "list fd", "list cwd", "kill SIGKILL")
print(json.dumps({name: {"guard": outcome(ON_PROCESSES[name], wish["pid"])} for name in wanted}
                 | on_paths(wish["run"], wish["job"], ("connect", "list", "enter", "read"))
                 | on_cgroups(wish["cgroups"], wish["cgroup_files"])))
print(json.dumps([f"{wish['run']}/{name}" for attack in ("write", "remove") for name in PATHS[attack]]))
"""


@pytest.mark.cgroup
def test_the_same_without_a_user_succeeds(make_server):
    """So the attacks are real, and their targets exist: the daemons' user can do nearly all of them."""
    server, wish = make_target(make_server, None)
    wish["pid"] = server.daemon("guard")
    script = ATTACK.read_text().replace("\nmain()\n", "") + WHAT_IS_THERE
    answer = server.run(f'{PYTHON} -c "$ATTACK"', stdin=json.dumps(wish), env={"ATTACK": script}, timeout=BIG_TIMEOUT)
    assert answer["code"] == 0, answer["stderr"]
    outcomes, others = map(json.loads, answer["stdout"].splitlines())
    assert not {(attack, target): outcome for attack, results in outcomes.items() for target, outcome in results.items()
                if outcome != "done" and attack != "read mem"}  # at address 0 there is nothing
    assert [path for path in others if not os.path.lexists(path)] == [f"{server.run_dir}/new"]


STOP_WHAT_COMES = """
import os, signal, sys, time
end = time.monotonic() + float(sys.argv[1])
own = os.getpid()
newest = os.open("/proc/loadavg", os.O_RDONLY)  # its last word is the newest pid
print("ready", flush=True)
while time.monotonic() < end:
    last = int(os.pread(newest, 100, 0).split()[-1])
    for pid in range(last - 3, last + 6):
        if pid > own:
            try:
                os.kill(pid, signal.SIGSTOP)
            except OSError:
                pass
"""


@pytest.mark.slow
def test_a_command_that_stops_others_as_they_start(make_server):
    """A child that is stopped between becoming the user and executing holds its runner in vfork(2): not for ever."""
    server = make_server({"SANDBOX_USER": "54400:54400"})  # not that of other tests' servers
    attacker = server.start(f'exec {PYTHON} -c "$SCRIPT" 30', env={"SCRIPT": STOP_WHAT_COMES})["id"]
    with server.logs(attacker) as stream:
        assert stream.next().data["data"] == "ready"

    def try_one(_):
        with contextlib.suppress(requests.RequestException):  # stopped for ever, until the client leaves
            server.call("POST", "/run", {"cmd": "true"}, timeout=0.3)

    def held():
        """Runners that wait for a child, and their children that are stopped."""
        return [pid for pid in server.launch.tree() if proc_file(pid, "cmdline").startswith(b"procd\0--runner\0") and (proc_stat(pid) or "-")[0] in "DT"]

    for _ in range(30):
        in_threads(6, try_one)
        if any((proc_stat(pid) or "-")[0] == "T" for pid in held()):  # has not executed: it has its runner's command line
            break
    server.kill(attacker)
    wait_until(lambda: not held(), "the end of the runners that are held", 30)
    server.healthy()
    assert server.shell("echo well") == "well\n"


# ---- descriptors ----


SAY = "echo out >/dev/stdout; echo err >/dev/stderr; echo fd >/proc/self/fd/1; cat /dev/stdin; cat /proc/self/fd/0"
LONG = ": " + "x" * 200_000 + "; "  # goes through a memory file


@pytest.mark.parametrize("prefix", ["", LONG], ids=["short", "long"])
def test_descriptors_can_be_opened_again(box, prefix):
    answer = box.run(prefix + SAY, stdin="text\n")
    assert (answer["stdout"], answer["stderr"]) == ("out\nfd\ntext\ntext\n", "err\n")
    assert box.shell(prefix + "ls /proc/self/fd") == "0\n1\n2\n3\n"  # 3 is the directory that ls reads


def test_descriptors_can_be_opened_again_streaming(box):
    with box.stream(SAY, stdin="x" * 400_000) as stream:
        events = stream.events()
        check_framing(bytes(stream.raw))
    assert sorted(event.data["data"][:3] for event in events[:-1]) == ["err", "fd", "out", "xxx"]
    assert events[-1].data["code"] == 0


def test_descriptors_of_a_process_can_be_opened_again(box):
    identifier = box.start("echo out >/dev/stdout; echo err >/dev/stderr; read line </dev/stdin; echo $line >/proc/self/fd/2", stdin=True)["id"]
    assert box.post("/write_stdin", id=identifier, data="text\n", eof=True).json()["written"] == 5
    assert sorted(box.lines(identifier)) == ["err", "out", "text"]


# ---- files ----


def owner(path):
    return os.lstat(path).st_uid, os.lstat(path).st_gid


@pytest.mark.parametrize("tmpfile", [True, False], ids=["in /tmp", "in /dev/shm"])
def test_what_is_made_is_the_users(box, directory, tmpfile):
    if not tmpfile:
        directory = os.path.join("/dev/shm", os.path.basename(directory))
        os.mkdir(directory)
        os.chown(directory, *user_ids(box.settings["SANDBOX_USER"]))
    try:
        for _ in range(2):  # made, and replaced
            assert box.post("/write_file", path=f"{directory}/file", content="x").json() == {"success": True}
            assert owner(f"{directory}/file") == user_ids(box.settings["SANDBOX_USER"])
        assert box.post("/make_dir", path=f"{directory}/a/b").json() == {"success": True}
        assert {owner(f"{directory}/a"), owner(f"{directory}/a/b")} == {user_ids(box.settings["SANDBOX_USER"])}
        assert box.shell(f"cat {directory}/file; rm -r {directory}/*; echo $?") == "x0\n"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def test_write_leaves_owner_and_group(box, directory):
    """A file of root's that the user's group may write stays root's, as a shell's redirection leaves it."""
    gid = user_ids(box.settings["SANDBOX_USER"])[1]
    files = [pathlib.Path(directory, name) for name in ("written", "redirected")]
    for file in files:
        file.write_text("old " * 1000)
        os.chown(file, 0, gid)
        file.chmod(0o660)
    for content in ("new", "longer " * 20_000, ""):
        assert box.post("/write_file", path=str(files[0]), content=content).json() == {"success": True}
        box.shell(f"printf %s \"$CONTENT\" >{files[1]}", env={"CONTENT": content[:1000]})
        assert files[0].read_text() == content
        assert [(owner(file), stat.S_IMODE(file.stat().st_mode)) for file in files] == [((0, gid), 0o660)] * 2
    assert sorted(os.listdir(directory)) == ["redirected", "written"]


def test_write_takes_rights_from_a_program_that_changes(box, directory):
    """Set-user-ID and capabilities do not outlive a write, also where root gave them."""
    uid, gid = user_ids(box.settings["SANDBOX_USER"])
    file = pathlib.Path(directory, "program")
    file.write_text("old")
    os.chown(file, uid, gid)
    file.chmod(0o6755)
    assert box.post("/write_file", path=str(file), content="new").json() == {"success": True}
    assert (file.read_text(), owner(file), stat.S_IMODE(file.stat().st_mode)) == ("new", (uid, gid), 0o755)


def test_write_where_nothing_may_be_made(box):
    """A file of a directory that is closed to the user: all of its content is there before it is changed."""
    gid = user_ids(box.settings["SANDBOX_USER"])[1]
    top = pathlib.Path(make_directory("root"))
    try:
        top.chmod(0o755)
        (top / "file").write_text("old " * 100_000)
        os.chown(top / "file", 0, gid)
        (top / "file").chmod(0o664)
        body = json.dumps({"path": f"{top}/file", "content": "x" * 1_000_000}).encode()
        assert box.call("POST", "/write_file", body[:-2]).status_code == 400  # the end is missing
        assert (top / "file").read_text() == "old " * 100_000
        assert box.call("POST", "/write_file", body).json() == {"success": True}
        assert (top / "file").read_text() == "x" * 1_000_000 and owner(top / "file") == (0, gid)
    finally:
        shutil.rmtree(top)


def test_delete_dir_of_locked_directories(box, directory):
    """Directories of mode 0555 that are the user's own, as a module cache has them, go; another's stop it and are named."""
    box.shell(f"cd {directory} && mkdir -p tree/a/b/c tree/d && touch tree/a/b/file tree/d/file && chmod -R a-w tree && chmod 0 tree/d")
    assert box.post("/delete_dir", path=f"{directory}/tree").json() == {"success": True}
    assert box.post("/list_dir", path=directory).json() == {"entries": []}
    box.shell(f"mkdir -p {directory}/tree/a/b")
    os.mkdir(f"{directory}/tree/a/b/roots")
    os.mkdir(f"{directory}/tree/a/b/roots/dir")
    answer = box.post("/delete_dir", path=f"{directory}/tree").json()
    assert answer == {"success": False, "error": f"remove {directory}/tree/a/b/roots/dir: Permission denied", "error_code": "permission_denied"}


REFUSED = [
    ("read_file", "root/secret", {}), ("read_file", "closed/file", {}), ("read_file", "link", {}), ("read_file", "/etc/shadow", {}),
    ("write_file", "root/secret", {"content": ""}), ("write_file", "root/new", {"content": ""}), ("write_file", "link", {"content": ""}),
    ("write_file", "closed/file", {"content": ""}), ("write_file", "root/readable", {"content": ""}),
    ("delete_file", "root/secret", {}), ("delete_file", "sticky/roots", {}), ("delete_dir", "root", {}), ("delete_dir", "sticky/roots", {}),
    ("list_dir", "closed", {}), ("make_dir", "root/new", {}), ("make_dir", "closed/new", {}),
]


@pytest.mark.parametrize("endpoint, name, fields", REFUSED, ids=[f"{endpoint} {name}" for endpoint, name, _ in REFUSED])
def test_what_is_not_the_users_is_refused(box, endpoint, name, fields):
    top = pathlib.Path(make_directory("root"))
    top.chmod(0o755)
    try:
        for place, mode in (("root", 0o755), ("closed", 0o700), ("sticky", 0o1777)):
            (top / place).mkdir()
            (top / place).chmod(mode)
        for file, mode in (("root/secret", 0o600), ("root/readable", 0o644), ("closed/file", 0o666), ("sticky/roots", 0o666)):
            (top / file).write_text("root's")
            (top / file).chmod(mode)
        (top / "link").symlink_to("root/secret")
        answer = box.post(f"/{endpoint}", path=str(top / name), **fields)
        assert answer.status_code == 200 and ("denied" in answer.json()["error"] or "not permitted" in answer.json()["error"]), answer.text
        assert (top / "root/secret").read_text() == (top / "closed/file").read_text() == (top / "sticky/roots").read_text() == "root's"
        assert not (top / "root/new").exists()
    finally:
        shutil.rmtree(top)


def test_the_groups_of_the_user_count(make_server):
    """And those that root had do not."""
    server = make_server({"SANDBOX_USER": f"{USER}:54323"})
    top = pathlib.Path(make_directory("root"))
    try:
        os.chown(top, 0, 54323)
        top.chmod(0o770)
        (top / "file").write_text("text")
        os.chown(top / "file", 0, 54323)
        (top / "file").chmod(0o660)
        assert server.post("/read_file", path=str(top / "file")).json() == {"content": "text"}
        assert server.post("/write_file", path=str(top / "file"), content="new").json() == {"success": True}
        assert stat.S_IMODE((top / "file").stat().st_mode) == 0o660 and owner(top / "file")[1] == 54323
        assert server.shell(f"cat {top}/file; id -g") == "new54323\n"
        os.chown(top, 0, 0)
        assert "denied" in server.post("/read_file", path=str(top / "file")).json()["error"]
    finally:
        shutil.rmtree(top)


def test_what_fcgi_apps_own_descriptors_lead_to(make_server):
    """Its client's own data. What somebody puts in the place of the bound port is no port, and unbinding removes it."""
    server = make_server({"SANDBOX_USER": USER})
    server.start("echo kept")
    reached = {}
    for number in range(40):
        path = f"/proc/self/fd/{number}"
        entries = server.post("/list_dir", path=path).json().get("entries")
        if entries is not None:
            reached[os.readlink(f"/proc/{server.daemon('fcgi-app')}/fd/{number}")] = path
        for name in ("..", "jobs", "procd.sock", "../procd.sock", "../fcgi-app.sock"):
            assert "error" in server.post("/list_dir", path=f"{path}/{name}").json()
            assert "error" in server.post("/delete_file", path=f"{path}/{name}").json()
        assert "error" in server.post("/delete_file", path=path).json()
    assert {os.path.basename(place) for place in reached} == {"spool", "port", "uploads"}, reached
    port = reached[str(server.run_dir / "port")]
    assert server.post("/write_file", path=f"{port}/target", content="no port").json() == {"success": True}
    assert server.post("/bind_port", port=8080).status_code == 500
    assert server.post("/unbind_port").status_code == server.post("/bind_port", port=8080).status_code == 200
    assert server.post("/delete_dir", path=port).json()["success"] is False
    assert server.post("/read_file", path="/proc/self/environ").json()["error"].endswith("Permission denied")
    assert server.post("/read_file", path="/proc/self/mem").json()["error"].endswith("Permission denied")
    server.healthy()


def test_fcgi_app_talks_to_itself_by_nothing_that_has_a_name(make_server):
    """A pipe can be opened again by its name in /proc, and written to. Those of a command are there while it runs."""
    server = make_server({"SANDBOX_USER": USER})
    directory = f"/proc/{server.daemon('fcgi-app')}/fd"
    pipes = [number for number in os.listdir(directory) if int(number) > 2 and os.readlink(f"{directory}/{number}").startswith("pipe:")]
    assert not pipes


# ---- what the launcher refuses ----


def start_fails(settings, prefix=(), **options):
    ports = Port(), Port()
    launch = Launch({"SANDBOX_SECRET": "secret", "PORT": str(ports[0].number), "PROXY_PORT": str(ports[1].number), **settings}, prefix, **options)
    code, out, err = launch.wait()
    for port in ports:
        port.free()
    assert code != 0 and out == "" and len(err.splitlines()) == 1, (code, out, err)
    return err


@pytest.mark.parametrize("user, prefix, words", [
    ("no-such-user", (), "there is no such user"),
    ("-1", (), "there is no such user"),
    ("4294967295", (), "there is no such user"),
    ("", (), None),
    ("games:no-such-group", (), "there is no such group"),
    ("0:54321", (), "whose groups do not change"),
    ("games:", (), "there is no such group"),
    ("www-data", (), "nginx's workers"),
    ("33", (), "nginx's workers"),
    ("games:www-data", (), "nginx's workers"),
    ("54321:33", (), "nginx's workers"),
    ("games", ("setpriv", "--reuid=54321", "--clear-groups"), "only root"),
    ("games", ("setpriv", "--inh-caps=-kill", "--bounding-set=-kill"), "CAP_KILL"),
    ("games", ("setpriv", "--inh-caps=-setuid", "--bounding-set=-setuid"), "CAP_SETUID"),
])
def test_users_that_are_refused(user, prefix, words):
    if words is not None:
        err = start_fails({"SANDBOX_USER": user}, prefix)
        assert err.startswith("nginx-sandbox: SANDBOX_USER: ") and words in err
    else:
        with Server({"SANDBOX_USER": user}) as server:
            assert server.shell("id -u") == "0\n"


@pytest.mark.parametrize("user", ["root", "0", "0:0"])
def test_our_own_user_changes_nothing(make_server, user):
    server = make_server({"SANDBOX_USER": user, "SHOWN": "yes"})
    assert server.shell("id -u; id -g; echo $SHOWN; pwd -P") == f"0\n0\nyes\n{os.getcwd()}\n"
    assert status(server.daemon("fcgi-app"), "Uid") == ["0"] * 4


def test_a_run_directory_that_the_user_may_replace():
    place = make_directory(USER)
    os.chmod(place, 0o755)
    try:
        err = start_fails({"SANDBOX_USER": USER, "SANDBOX_RUN_DIR": f"{place}/run"})
        assert "may change" in err and place in err
        os.chown(place, 0, 0)
        os.chmod(place, 0o777)
        assert "may change" in start_fails({"SANDBOX_USER": USER, "SANDBOX_RUN_DIR": f"{place}/run"})
    finally:
        shutil.rmtree(place)


def test_who_calls_itself_a_daemon(make_server):
    """While fcgi-app is away a command may get the number that it had, and it may take any name."""
    server = make_server({"SANDBOX_USER": USER})
    job = server.start("exec bash -c 'exec -a x/fcgi-app sleep 86400'")
    wait_until(lambda: proc_file(job["pid"], "cmdline").startswith(b"x/fcgi-app\0"), "it to have its name")
    server.supervise("fcgi-app", "d")
    leader = server.run_dir / "service/fcgi-app/leader"
    leader.unlink(missing_ok=True)
    leader.symlink_to(str(job["pid"]))
    assert server.get("/list_processes", timeout=BIG_TIMEOUT).status_code == 503
    server.supervise("fcgi-app", "u")
    server.healthy()
    assert server.status(job["id"]) == "running"


PEEP = """
import os, sys
names = [f"{sys.argv[1]}/{name}" for name in ("spool", "port", "nginx")]
print("begun", flush=True)
while True:
    for name in names:
        try:
            os.open(name, os.O_PATH)
        except OSError:
            continue
        print(name, flush=True)
        sys.exit()
"""


def test_no_moment_of_a_start_opens_the_run_directory():
    """A process of that user which outlived the server, or another sandbox's, tries all the while. In a directory of its own it
    could put more than is removed, so that the server never starts."""
    place = make_directory("root")
    os.chmod(place, 0o755)
    run = pathlib.Path(place, "run")
    with Server({"SANDBOX_USER": USER}, run_dir=run) as server:
        server.healthy()
        for number in range(3000):  # what is to be removed takes its time
            (run / f"spool/{number}").touch()
    user, group = user_ids(USER)
    with subprocess.Popen(["/usr/bin/python3", "-I", "-c", PEEP, run], user=user, group=group, extra_groups=[], stdout=subprocess.PIPE, text=True) as peep:
        try:
            assert peep.stdout.readline() == "begun\n"
            for _ in range(3):
                with Server({"SANDBOX_USER": USER}, run_dir=run) as server:
                    server.healthy()
            assert peep.poll() is None, peep.stdout.read()
        finally:
            peep.kill()
    shutil.rmtree(place)


@pytest.mark.parametrize("make", [True, False], ids=["there", "not there"])
def test_an_access_log_that_the_user_may_replace(make_server, make):
    place = make_directory(USER)
    os.chmod(place, 0o755)
    try:
        log = f"{place}/access.log"
        if make:
            pathlib.Path(log).touch()
        assert "may change" in start_fails({"SANDBOX_USER": USER, "SANDBOX_ACCESS_LOG": log})
        os.chown(place, 0, 0)
        server = make_server({"SANDBOX_USER": USER, "SANDBOX_ACCESS_LOG": log})
        assert server.run("true")["code"] == 0
        wait_until(lambda: os.path.getsize(log) > 0, "the line")
    finally:
        shutil.rmtree(place)


def test_a_claim_that_the_user_may_replace(make_server):
    """The file of a pool's secret: who may make it may claim the sandbox, or give it to another."""
    place = make_directory(USER)
    os.chmod(place, 0o755)
    settings = {"SANDBOX_USER": USER, "SANDBOX_AUTH_MODE": "pool", "SANDBOX_SECRET_PATH": f"{place}/claim"}
    try:
        assert "may change" in start_fails({**settings, "SANDBOX_SECRET": ""})
        os.chown(place, 0, 0)
        make_server({**settings, "SANDBOX_SECRET": None}).healthy()
    finally:
        shutil.rmtree(place)


def test_the_digest_of_a_claim(make_server, tmp_path):
    """nginx's workers read it for each request: they alone do, and neither a command nor fcgi-app may read, write or replace it."""
    place = tmp_path / "claim"
    server = make_server({"SANDBOX_USER": USER, "SANDBOX_AUTH_MODE": "pool", "SANDBOX_SECRET_PATH": str(place), "SANDBOX_SECRET": None})
    digest = server.run_dir / "claimed"
    forgery = f"mv {server.home}/forged {digest}; ln -s /dev/null {digest}; echo forged >{digest}; rm -f {digest}; cat {digest} {place}"
    assert server.run(f"{forgery}; {forgery}")["stdout"] == ""
    assert (digest.stat().st_mode, digest.stat().st_uid, digest.stat().st_gid) == (stat.S_IFREG | 0o640, 0, worker().pw_gid)
    text = digest.read_text()
    assert server.secret not in text and text.split()[0] == place.read_text().split()[1] and text.split()[1] == place.read_text().split()[3]
    assert "content" not in server.post("/read_file", path=str(digest)).json()
    assert not server.post("/write_file", path=str(digest), content="forged").json()["success"]
    assert not server.post("/delete_file", path=str(digest)).json()["success"]
    assert digest.read_text() == text
    assert server.get("/list_processes", token=False, headers={"Authorization": "Bearer forged"}).status_code == 401
    assert server.shell("echo mine") == "mine\n"


def test_a_link_as_access_log(make_server, tmp_path):
    """Which the user may turn to another file: root would write to that."""
    place = make_directory(USER)
    os.chmod(place, 0o755)
    os.chmod(tmp_path, 0o755)
    try:
        root_only = tmp_path / "access.log"
        (tmp_path / "link").symlink_to(root_only)  # to what is not there yet
        server = make_server({"SANDBOX_USER": USER, "SANDBOX_ACCESS_LOG": f"{tmp_path}/link"})
        conf = (server.run_dir / "nginx/nginx.conf").read_text()
        assert f"access_log {root_only} " in conf and root_only.exists()
        os.symlink(root_only, f"{place}/log")
        (tmp_path / "by").symlink_to(f"{place}/log")
        for spelling in (f"{place}/log", f"{tmp_path}/by", f"/dev/..{place}/log", f"/dev/shm/../..{place}/log"):
            assert "may change" in start_fails({"SANDBOX_USER": USER, "SANDBOX_ACCESS_LOG": spelling})
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("mode", [0o1777, 0o1775])
def test_an_access_log_that_the_user_may_be_first_to_make(tmp_path, mode, is_there):
    """When it is rotated, root makes it again, and what is sticky protects only what is there."""
    os.chown(tmp_path, 0, user_ids(USER)[1])
    os.chmod(tmp_path, mode)
    log = tmp_path / "access.log"
    if is_there:
        log.touch()
    assert f"may make {log}" in start_fails({"SANDBOX_USER": USER, "SANDBOX_ACCESS_LOG": str(log)})


@pytest.mark.parametrize("entry", ["{place}", "{place}/not-there", "{place}/link", "/tmp/nxs-not-there/bin", ".", ""])
def test_a_search_path_that_the_user_may_change(entry):
    place = make_directory(USER)
    os.chmod(place, 0o755)
    os.symlink("/usr/bin", f"{place}/link")
    try:
        path = f"{entry.format(place=place)}:{os.environ['PATH']}"
        assert re.search("may change|may make|not absolute", start_fails({"SANDBOX_USER": USER, "PATH": path}))
    finally:
        shutil.rmtree(place)


def test_a_run_script_that_the_user_may_change(tmp_path):
    shutil.copytree(BIN, tmp_path / "bin", symlinks=False)
    (tmp_path / "share/nginx-sandbox").mkdir(parents=True)
    shutil.copytree(pathlib.Path(__file__).parents[2] / "nginx", tmp_path / "share/nginx-sandbox/nginx")
    place = make_directory("root")
    shutil.move(tmp_path / "bin", f"{place}/bin")
    shutil.move(tmp_path / "share", f"{place}/share")
    try:
        os.chmod(place, 0o755)
        script = f"{place}/share/nginx-sandbox/nginx/service/guard/run"
        os.chown(script, user_ids(USER)[0], 0)
        err = start_fails({"SANDBOX_USER": USER}, launcher=pathlib.Path(place, "bin/nginx-sandbox"))
        assert "may change" in err and script in err
    finally:
        shutil.rmtree(place)


def test_an_access_control_list_counts():
    place = make_directory("root")
    os.chmod(place, 0o755)
    try:
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in (
            (1, 7, 0xFFFFFFFF), (2, 7, user_ids(USER)[0]), (4, 5, 0xFFFFFFFF), (16, 7, 0xFFFFFFFF), (32, 5, 0xFFFFFFFF)))  # acl_ea.h of Linux
        try:
            os.setxattr(place, "system.posix_acl_access", acl)
        except OSError as error:
            pytest.skip(f"no access control lists here: {error}")
        assert "may change" in start_fails({"SANDBOX_USER": USER, "SANDBOX_RUN_DIR": f"{place}/run"})
    finally:
        shutil.rmtree(place)


def test_the_operators_keys_are_not_the_commands(make_server):
    """A process inherits the session keyring unless it joins another (session-keyring(7))."""
    server = make_server()
    ids = "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True); print(libc.syscall({number}, 0, -3, 0))"
    number = {"x86_64": 250, "aarch64": 219}.get(os.uname().machine)
    if number is None:
        pytest.skip("the number of keyctl(2) is not known here")
    own = subprocess.run([sys.executable, "-c", ids.format(number=number)], capture_output=True, text=True, check=True).stdout
    theirs = server.shell(f"{sys.executable} -c '{ids.format(number=number)}'")
    if own == "-1\n":
        pytest.skip("no keys here")
    assert theirs != own


# ---- limits ----


def test_limits(make_server):
    limits = {"SANDBOX_LIMIT_NOFILE": "77", "SANDBOX_LIMIT_NPROC": "99", "SANDBOX_LIMIT_FSIZE": "10k", "SANDBOX_LIMIT_CPU": "1500ms",
              "SANDBOX_LIMIT_AS": "1g"}
    server = make_server(limits)
    for flag in "S", "H":
        cpu = "2" if flag == "S" else "3"
        assert server.shell(f"ulimit -{flag}n; ulimit -{flag}p; ulimit -{flag}f; ulimit -{flag}t; ulimit -{flag}v") == f"77\n99\n20\n{cpu}\n1048576\n"
    answer = server.run("head -c 20000 /dev/zero >/dev/shm/nxs-$$; echo $?; stat -c %s /dev/shm/nxs-$$; rm /dev/shm/nxs-$$")
    assert answer["stdout"].endswith("\n10240\n") and not answer["stdout"].startswith("0\n")
    # A log is the server's, whatever the command may write.
    identifier = server.start("seq 9000; ulimit -n")["id"]  # fewer lines than a stream begins with
    assert server.lines(identifier) == [*map(str, range(1, 9001)), "77"]
    assert all(proc_file(pid, "limits").count(b"10240") == 0 for pid in runners(server))


@pytest.mark.parametrize("path", ["/run", "/run_streaming", "/start_process"])
def test_cpu_time_ends(make_server, path):
    server = make_server({"SANDBOX_LIMIT_CPU": "1"})
    if path == "/run":
        assert server.run("while :; do :; done", timeout=BIG_TIMEOUT)["signal"] == "SIGXCPU"
    elif path == "/run_streaming":
        with server.stream("trap '' XCPU; while :; do :; done") as stream:
            assert stream.events()[-1].data["signal"] == "SIGKILL"
    else:
        identifier = server.start("while :; do :; done")["id"]
        assert server.ended(identifier, BIG_TIMEOUT) == "failed"


def test_a_hard_limit_stays(make_server):
    server = make_server({"SANDBOX_LIMIT_NOFILE": "5000"}, prefix=["prlimit", "--nofile=512:1024"])
    assert server.shell("ulimit -Sn; ulimit -Hn") == "1024\n1024\n"


@pytest.mark.parametrize("path, kind, uid", [("/run", 200, 54401), ("/run_streaming", 200, 54402), ("/start_process", 201, 54403)])
def test_too_many_processes(make_server, path, kind, uid):
    """The limit counts the processes of a user, so each test has one of its own."""
    server = make_server({"SANDBOX_USER": f"{uid}:{uid}", "SANDBOX_LIMIT_NPROC": "4"})
    jobs = [server.start("exec sleep 1000")["id"] for _ in range(5)]
    answer = server.post(path, cmd="true")
    assert answer.status_code == 503 and answer.headers["Retry-After"] and "too many processes" in answer.json()["error"]
    for job in jobs[:2]:
        assert server.kill(job).status_code == 200
    assert server.post(path, cmd="true").status_code == kind


def test_the_order_of_the_out_of_memory_killer(make_server):
    server = make_server(prefix=["sh", "-c", 'echo 100 >/proc/self/oom_score_adj; exec "$@"', "sh"])
    assert server.shell("cat /proc/self/oom_score_adj; sh -c 'cat /proc/self/oom_score_adj'") == "500\n500\n"
    daemons = {pid: proc_file(pid, "oom_score_adj").strip() for pid in server.launch.tree()}
    assert set(daemons.values()) == {b"100"}
    server.stop()
    server = make_server(prefix=["sh", "-c", 'echo 700 >/proc/self/oom_score_adj; exec "$@"', "sh"])
    assert server.shell("cat /proc/self/oom_score_adj") == "700\n"


# ---- set-user-ID programs ----


@pytest.fixture
def setuid():
    """A directory with id and sleep as root's set-user-ID programs."""
    place = pathlib.Path(make_directory("root"))
    place.chmod(0o755)
    for name in ("id", "sleep"):
        shutil.copy(f"/usr/bin/{name}", place / name)
        (place / name).chmod(0o4755)
    if os.statvfs(place).f_flag & os.ST_NOSUID:
        pytest.skip("/tmp is mounted nosuid")
    yield place
    shutil.rmtree(place)


def test_rights_are_gained_only_where_that_is_allowed(box, make_server, setuid):
    assert box.shell(f"{setuid}/id -u") == f"{user_ids(box.settings['SANDBOX_USER'])[0]}\n"
    server = make_server({"SANDBOX_USER": USER, "SANDBOX_ALLOW_SETUID": "1"})
    assert server.shell(f"{setuid}/id -u; id -u") == f"0\n{pwd.getpwnam(USER).pw_uid}\n"


def test_what_gained_rights_is_killed_all_the_same(make_server, make_marker, setuid):
    server, marker = make_server({"SANDBOX_USER": USER, "SANDBOX_ALLOW_SETUID": "1"}), make_marker()
    job = server.start(f"setsid {setuid}/{marker.sleep} & {setuid}/{marker.sleep}")
    wait_until(lambda: len([pid for pid in marker.pids(server) if status(pid, "Uid")[1] == "0"]) >= 2, "root's sleeps")
    assert server.kill(job["id"]).status_code == 200
    marker.gone(server)


# ---- every command, with and without a user ----


@pytest.mark.parametrize("user", [None, USER])
def test_signals_are_as_in_a_fresh_process(make_server, user):
    server = make_server({"SANDBOX_USER": user}, prefix=["sh", "-c", "trap '' INT QUIT PIPE USR1 RTMIN RTMAX; exec \"$@\"", "sh"])
    ignored = server.shell("grep -E '^Sig(Blk|Ign)' /proc/self/status").split()
    assert ignored == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]
    assert server.shell("test $(ps -o sid= -p $$) = $$ && echo own session") == "own session\n"
