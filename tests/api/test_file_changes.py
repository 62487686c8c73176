"""/file_changes_streaming: what changes in a directory, told once, under the right name, or told as missing."""

import contextlib
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import urllib.parse

import pytest

from sandbox import DEADLINE, TEST_USER, EventStream, alive, check_framing, freeze, in_threads, make_directory, mounting_is_allowed, proc_file, user_ids, wait_until
from test_files_raw import error_of, give

pytestmark = pytest.mark.host

ID = re.compile(r"[0-9a-f]{8}-\d+")
ROOT = os.geteuid() == 0
NUMBERS = itertools.count()


class Watch(EventStream):
    """A stream of the changes below a directory."""

    def __init__(self, sandbox, root, last=None, **query):
        self.root = str(root)
        query = urllib.parse.urlencode({"path": self.root, "recursive": 1, **query})
        super().__init__(sandbox, "GET", f"/file_changes_streaming?{query}", headers={} if last is None else {"Last-Event-ID": last})

    def told(self, event):
        """(name, path, old path) of a change, below the root; (name, reason) of a gap."""
        if event.name == "gap":
            return event.name, event.data["reason"]
        names = [event.data[name] for name in ("path", "old_path") if name in event.data]
        return event.name, *(os.path.relpath(name, self.root) for name in names)

    def until(self, *expected):
        """What is told until all that is expected was told."""
        events, missing = [], set(expected)
        while missing:
            events.append(self.told(self.next()))
            missing.discard(events[-1])
        return events

    def so_far(self):
        """What is told before a change that is made now. (Not what a scan of a new directory finds.)"""
        mark = f".mark-{next(NUMBERS)}"
        give_file(pathlib.Path(self.root, mark))
        return self.until(("created", mark))[:-1]

    def news(self):
        """The same, without that a file was closed after it was told that it is there."""
        told = [event for event in self.so_far() if not event[1].startswith(".mark")]
        return [event for number, event in enumerate(told) if event[0] != "changed" or ("created", event[1]) not in told[:number]]

    def gap(self):
        """What is told up to a gap, and its reason."""
        events = []
        while not events or events[-1][0] != "gap":
            events.append(self.told(self.next()))
        return events[:-1], events[-1][1]


def give_file(path, content=""):
    path.write_text(content)
    return give(path)


@contextlib.contextmanager
def overlay():
    """A directory of an overlayfs with a lower layer: gone/ and kept are in it."""
    with tempfile.TemporaryDirectory(prefix="nxs-overlay-", dir="/dev/shm") as base:
        for name in ("lower", "upper", "work", "merged", "lower/gone"):
            os.mkdir(f"{base}/{name}")
        pathlib.Path(base, "lower/kept").write_text("kept\n")
        layers = ",".join(f"{name}dir={base}/{name}" for name in ("lower", "upper", "work"))
        made = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, f"{base}/merged"], capture_output=True, check=False)
        if made.returncode != 0:
            pytest.skip("no overlayfs can be mounted")
        try:
            os.chmod(base, 0o755)
            for path in ("merged", "merged/kept", "merged/gone"):
                give(f"{base}/{path}")
            yield pathlib.Path(base, "merged")
        finally:
            subprocess.run(["umount", "-l", f"{base}/merged"], check=True)


@pytest.fixture(params=["disk", "tmpfs", "overlay"])
def root(request, workdir):
    """A directory of each kind of file system."""
    if request.param == "disk":
        yield pathlib.Path(workdir)
    elif request.param == "tmpfs":
        with tempfile.TemporaryDirectory(prefix="nxs-", dir="/dev/shm") as path:
            yield pathlib.Path(give(path))
    else:
        with overlay() as path:
            yield path


@pytest.fixture
def work(workdir):
    return pathlib.Path(workdir)


def shell(script, cwd):
    subprocess.run(["sh", "-ec", script], cwd=cwd, check=True)


def watches(pid):
    """How many directories a process watches."""
    count = 0
    for name in os.listdir(f"/proc/{pid}/fdinfo"):
        count += proc_file(pid, f"fdinfo/{name}").count(b"inotify wd:")
    return count


# ---- what is told ----


def test_files(sandbox, root):
    with Watch(sandbox, root) as watch:
        shell("echo 1 >a; echo 2 >>a; chmod 600 a", root)
        assert watch.news() == [("created", "a")]
        shell("echo 3 >>a; echo 4 >>a", root)
        assert watch.news() == [("changed", "a")]
        shell("chmod 644 a", root)
        assert watch.news() == [("changed", "a")]
        shell("mv a b", root)
        assert watch.news() == [("renamed", "b", "a")]
        shell("ln b c; ln -s b d; mkfifo e", root)
        assert watch.news() == [("created", "c"), ("created", "d"), ("created", "e")]
        shell("rm b c d e", root)
        assert watch.news() == [("removed", name) for name in "bcde"]
        check_framing(bytes(watch.raw))


def test_what_is_one_change(sandbox, work):
    """What happens within 50 ms: so these are made while nobody looks, and told at once."""
    pid = sandbox.daemon("fcgi-app")
    give_file(work / "old")
    with Watch(sandbox, work) as watch:
        freeze(pid)
        try:
            for script in ("echo 1 >short; rm short", "echo 1 >t; mv t new", "echo 1 >u; mv u old", "mkdir d; echo 1 >d/f; rm -r d",
                           "echo 1 >a; rm a; echo 2 >a", "rm old; echo 3 >old", "mv new newer; mv newer newest", "echo 5 >newest"):
                shell(script, work)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert watch.so_far() == [("changed", "old"), ("created", "a"), ("created", "newest")]


def test_ids_and_members(sandbox, work):
    with Watch(sandbox, work) as watch:
        os.mkdir(work / "d")
        (work / "d/f").touch()
        os.rename(work / "d/f", work / "g")
        events = []
        while not events or events[-1].data["path"] != f"{work}/g":
            events.append(watch.next())
    assert all(ID.fullmatch(event.id) for event in events)
    numbers = [int(event.id[9:]) for event in events]
    assert numbers == list(range(len(numbers))) and len({event.id[:8] for event in events}) == 1
    assert events[0].name == "created" and events[0].data == {"path": f"{work}/d", "is_dir": True}
    assert events[-1].data["is_dir"] is False


def test_new_directories(sandbox, root):
    with Watch(sandbox, root) as watch:
        for number in range(20):
            shell(f"mkdir -p {number}/b/c; touch {number}/b/c/f", root)
            expected = [("created", f"{number}{rest}") for rest in ("", "/b", "/b/c", "/b/c/f")]
            told = watch.until(*expected)
            assert [event for event in told if event[0] != "changed"] == expected
            shell(f"echo 1 >{number}/b/c/f; mkdir {number}/b/d; touch {number}/b/d/g", root)
            watch.until(("changed", f"{number}/b/c/f"), ("created", f"{number}/b/d/g"))
        assert {event[0] for event in watch.news()} <= {"changed"}  # the last file may be closed a moment later


def test_nothing_is_told_twice(sandbox, root):
    """Directories are filled while they are found."""
    paths = [f"{thread}/{outer}/{inner}" for thread in range(4) for outer in range(10) for inner in range(10)]

    def fill(thread):
        for path in (path for path in paths if path.startswith(f"{thread}/")):
            os.makedirs(root / path)
            for number in range(4):
                (root / path / str(number)).touch()

    expected = {("created", path) for path in paths} | {("created", f"{path}/{number}") for path in paths for number in range(4)}
    expected |= {("created", str(thread)) for thread in range(4)} | {("created", f"{thread}/{outer}") for thread in range(4) for outer in range(10)}
    with Watch(sandbox, root) as watch:
        in_threads(4, fill)
        told = watch.until(*expected) + watch.news()
    created = [event for event in told if event[0] == "created"]
    assert len(created) == len(set(created)) == len(expected)


def test_a_tree_comes_and_goes(sandbox, root, open_directory):
    same = pathlib.Path(tempfile.mkdtemp(dir=root.parent)) if os.access(root.parent, os.W_OK) and os.stat(root.parent).st_dev == os.stat(root).st_dev else None
    inside = root / "watched"
    inside.mkdir()
    give(inside)
    outside = root / "outside"
    outside.mkdir()
    if same is not None:
        same.rmdir()
    shell("mkdir -p tree/a/b; touch tree/f tree/a/b/g", outside)
    tree = {("created", f"tree{rest}") for rest in ("", "/f", "/a", "/a/b", "/a/b/g")}
    with Watch(sandbox, inside) as watch:
        os.rename(outside / "tree", inside / "tree")
        assert sorted(watch.until(*tree)) == sorted(tree)
        shell("echo 1 >tree/a/b/g; mv tree wood", inside)
        assert watch.news() == [("changed", "tree/a/b/g"), ("renamed", "wood", "tree")]
        shell("echo 1 >wood/a/b/new; mv wood/a wood/c; echo 2 >wood/c/b/new", inside)
        assert watch.news() == [("created", "wood/a/b/new"), ("renamed", "wood/c", "wood/a"), ("changed", "wood/c/b/new")]
        os.rename(inside / "wood", outside / "wood")
        shell("echo 1 >wood/c/b/new; mkdir wood/d; touch wood/d/e", outside)
        assert watch.news() == [("removed", "wood")]
        shell("echo 2 >wood/c/b/new; rm -r wood/c", outside)
        assert watch.news() == []


def test_the_lower_layer(sandbox):
    """What an image has is copied up, or hidden, when it is changed."""
    with overlay() as root, Watch(sandbox, root) as watch:
        shell("echo 1 >>kept", root)
        assert watch.news() == [("changed", "kept")]
        shell("rm kept; rmdir gone", root)
        assert watch.news() == [("removed", "kept"), ("removed", "gone")]
        shell("mkdir gone; touch gone/f", root)
        watch.until(("created", "gone/f"))


def test_only_the_directory_itself(sandbox, work):
    shell("mkdir old; mkdir old/deep", work)
    with Watch(sandbox, work, recursive=0) as watch:
        shell("touch old/f; mkdir new; touch new/f g", work)
        assert watch.news() in ([("created", "new"), ("created", "g")], [("changed", "old"), ("created", "new"), ("created", "g")])


def test_globs(sandbox, work):
    with Watch(sandbox, work, glob="*.c") as watch, Watch(sandbox, work, glob="src/**/*.h") as other:
        shell("touch a.c a.h; mkdir -p src/x; touch src/x/b.c src/x/b.h src/c.h", work)
        assert sorted(watch.until(("created", "a.c"), ("created", "src/x/b.c"))) == [("created", "a.c"), ("created", "src/x/b.c")]
        assert sorted(other.until(("created", "src/x/b.h"), ("created", "src/c.h"))) == [("created", "src/c.h"), ("created", "src/x/b.h")]
        shell("mv a.c b.c; mv b.c b.o; mv b.o c.c; rm c.c a.h", work)
        shell("touch end.c", work)
        told = watch.until(("created", "end.c"))
        assert ("renamed", "b.c", "a.c") in told or ("removed", "a.c") in told
        assert not [event for event in told if "b.o" in event or "a.h" in event]


def test_names_that_are_no_text(sandbox, work):
    odd = os.fsencode(work) + b"/a\xff\xe2\x80\xa8\n%"
    with Watch(sandbox, work) as watch:
        os.mkdir(odd)
        event = watch.next()
        assert event.data["path"] == f"{work}/a\ufffd\u2028\n%" and event.data["path_escaped"].endswith("/a%FF%E2%80%A8%0A%25")
        os.rename(odd, work / "b")
        event = watch.next()
        assert (event.name, event.data["path"]) == ("renamed", f"{work}/b") and event.data["old_path_escaped"].endswith("/a%FF%E2%80%A8%0A%25")
        assert "path_escaped" not in event.data
        check_framing(bytes(watch.raw))


def test_relative_and_unusual_paths(sandbox, work):
    os.mkdir(work / "real")
    os.symlink("real", work / "link")
    for path in (f"{work}/link", f"{work}//real/", f"{work}/real/."):
        with Watch(sandbox, path) as watch:
            (work / "real/f").touch()
            event = watch.next()
            assert event.data["path"] == path + ("" if path.endswith("/") else "/") + "f"
            os.unlink(work / "real/f")


def test_links_are_not_followed(sandbox, work, open_directory):
    os.symlink(open_directory, work / "link")
    with Watch(sandbox, work) as watch:
        (open_directory / "f").touch()
        os.symlink(open_directory, work / "new")
        (open_directory / "g").touch()
        assert watch.news() == [("created", "new")]


def test_removed_files_that_are_still_written(sandbox, work):
    with open(give_file(work / "f"), "w", buffering=1) as file, Watch(sandbox, work) as watch:
        os.unlink(work / "f")
        assert watch.news() == [("removed", "f")]
        file.write("more\n")
        assert watch.news() == []


# ---- the server's own writes ----


def test_own_writes(sandbox, root):
    """Content that is not whole yet has a hidden name, or none: neither is told."""
    with Watch(sandbox, root) as watch:
        def tells(*expected):
            assert watch.news() == list(expected)
            assert b".sandbox-" not in watch.raw

        for name in ("written", "#123"):
            for word in ("created", "changed"):
                assert sandbox.post("/write_file", path=f"{root}/{name}", content=word).status_code == 200
                tells((word, name))
        for word, status in (("created", 201), ("changed", 204)):
            assert sandbox.call("PUT", f"/files{root}/put", b"x" * 100000).status_code == status
            tells((word, "put"))
        sandbox.post("/edit_file", path=f"{root}/written", edits=[{"old_str": "changed", "new_str": "edited"}]).raise_for_status()
        tells(("changed", "written"))
        for fields, word in (({}, "created"), ({"overwrite": True}, "changed")):
            assert sandbox.post("/copy_file", **{"from": f"{root}/written", "to": f"{root}/copy"}, **fields).json() == {"success": True}
            tells((word, "copy"))
        assert sandbox.post("/move_file", **{"from": f"{root}/copy", "to": f"{root}/moved"}).json() == {"success": True}
        tells(("renamed", "moved", "copy"))
        assert sandbox.post("/delete_file", path=f"{root}/moved").json() == {"success": True}
        tells(("removed", "moved"))


def test_own_trees(sandbox, root):
    with Watch(sandbox, root) as watch:
        assert sandbox.post("/make_dir", path=f"{root}/one/two").json() == {"success": True}
        sandbox.post("/write_file", path=f"{root}/one/two/f", content="x")
        watch.until(("created", "one/two/f"))
        assert sandbox.post("/copy_file", **{"from": f"{root}/one", "to": f"{root}/copy"}).json() == {"success": True}
        told = watch.until(("created", "copy"), ("created", "copy/two"), ("created", "copy/two/f"))
        assert len(told) == 3
        sandbox.post("/write_file", path=f"{root}/copy/two/f", content="y")
        assert watch.news() == [("changed", "copy/two/f")]
        assert sandbox.post("/copy_file", **{"from": f"{root}/one", "to": f"{root}/copy"}, overwrite=True).json() == {"success": True}
        told = watch.until(("created", "copy/two/f"))
        assert ("removed", "copy") not in told
        sandbox.post("/write_file", path=f"{root}/copy/two/g", content="y")
        watch.until(("created", "copy/two/g"))
        assert b".sandbox-" not in watch.raw


# ---- the end of a stream ----


@pytest.mark.parametrize("script", ["rmdir watched", "mv watched other", "rmdir watched; mkdir watched; touch watched/f", "mkdir o; mv -T o watched"])
@pytest.mark.parametrize("is_used", [False, True])
def test_the_root_goes(sandbox, work, script, is_used):
    """Also one that some process is in: then the kernel holds its own report back."""
    root = work / "watched"
    root.mkdir()
    give(root)
    holder = subprocess.Popen(["sleep", "1000"], cwd=root) if is_used else None
    try:
        with Watch(sandbox, root) as watch:
            shell(script, work)
            events = watch.events()
        assert [event.name for event in events] == ["removed", "complete"] and not watch.cut
        assert events[0].data == {"path": str(root), "is_dir": True} and events[1].data == {"message": "stream ended"}
        assert re.fullmatch(r"[0-9a-f]{8}-end", events[1].id)
        again = sandbox.get(f"/file_changes_streaming?path={root}", headers={"Last-Event-ID": events[1].id})
        assert again.status_code == 204
    finally:
        if holder is not None:
            holder.kill()
            holder.wait()


def test_a_server_that_stops(make_server, work):
    server = make_server()
    with Watch(server, work) as watch:
        threading.Thread(target=server.stop).start()
        assert watch.next().data == {"error": "The server is stopping", "error_code": "stopping"}
    wait_until(lambda: not server.running(), "the end")


# ---- gaps ----


def test_a_client_that_comes_back(sandbox, work):
    with Watch(sandbox, work) as watch:
        (work / "f").touch()
        last = watch.next().id
    for last in (last, "anything"):
        with Watch(sandbox, work, last=last) as watch:
            event = watch.next()
            assert watch.told(event) == ("gap", "resumed") and ID.fullmatch(event.id) and "anew" in event.data["message"]
            assert watch.news() == []


def test_fcgi_app_dies(server, work):
    work = pathlib.Path(make_directory())
    try:
        with Watch(server, work) as watch:
            (work / "f").touch()
            last = watch.next().id
            old = server.kill_daemon("fcgi-app")
            (work / "g").touch()
            watch.read_all()
            assert watch.cut
        server.back("fcgi-app", old)
        with Watch(server, work, last=last) as watch:
            assert watch.told(watch.next()) == ("gap", "resumed")
            (work / "h").touch()
            watch.until(("created", "h"))
    finally:
        shutil.rmtree(work)


def test_the_kernels_queue_is_full(server, work):
    """What is lost is told, once; and directories that were made meanwhile, and moved, are watched."""
    work = pathlib.Path(tempfile.mkdtemp(prefix="nxs-", dir="/dev/shm"))  # a disk may be slow, and guard ends what does not answer
    most = int(pathlib.Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 100000:
        pytest.skip("the queue is too long")
    try:
        shell("mkdir -p a/b gone/deep; touch a/b/f", work)
        for path in (work, *work.rglob("*")):
            give(path)
        pid = server.daemon("fcgi-app")
        with Watch(server, work) as watch:
            freeze(pid)
            try:
                for number in range(most // 2 + 10):
                    os.rename(work / "a/b", work / "a/c")
                    os.rename(work / "a/c", work / "a/b")
                shell("mkdir -p late/er; mv a z; rm -r gone; mkdir gone", work)
            finally:
                os.kill(pid, signal.SIGCONT)
            assert watch.gap()[1] == "overflow"
            shell("touch late/er/f; touch z/b/g gone/h", work)
            told = watch.until(("created", "late/er/f"), ("created", "z/b/g"), ("created", "gone/h"))
            assert len([event for event in told if event[0] != "changed"]) == 3
            shell("mv late/er z; touch z/er/i", work)
            assert watch.news() == [("renamed", "z/er", "late/er"), ("created", "z/er/i")]
    finally:
        shutil.rmtree(work)


def test_many_changes(sandbox, work):
    """10,000 as fast as they come: each is told, or that some are missing."""
    with Watch(sandbox, work) as watch:
        for number in range(10000):
            (work / f"{number}").touch()
        (work / "last").touch()
        told = []
        while ("created", "last") not in told and ("gap", "overflow") not in told and ("gap", "too_many") not in told:
            told.append(watch.told(watch.next()))
    created = [event for event in told if event[0] == "created"]
    assert len(created) == len(set(created)) and {event[0] for event in told} <= {"created", "changed", "gap"}
    assert len(created) == 10001 or told[-1][0] == "gap"


def test_a_client_that_does_not_read(server):
    """Its changes are kept in bounded memory; when it reads again it gets a gap."""
    work = pathlib.Path(make_directory())
    try:
        with Watch(server, work) as watch:
            before = memory(server.daemon("fcgi-app"))
            for number in range(40000):
                (work / f"{'x' * 240}{number}").touch()
            told, reason = watch.gap()
            assert memory(server.daemon("fcgi-app")) - before < 32 << 20
            assert reason in ("too_many", "overflow") and len(told) < 40000
            watch.so_far()
    finally:
        shutil.rmtree(work)


def memory(pid):
    return int(re.search(rb"VmRSS:\s+(\d+)", proc_file(pid, "status")).group(1)) << 10


# ---- several streams, and what they hold ----


def test_streams_share_watches(server):
    work = pathlib.Path(make_directory())
    try:
        shell("mkdir -p a/b", work)
        for path in (work, *work.rglob("*")):
            give(path)
        pid = server.daemon("fcgi-app")
        wait_until(lambda: watches(pid) == 0, "no watch")
        with Watch(server, work) as one:
            alone = watches(pid)
            with Watch(server, work) as other, Watch(server, work / "a") as third:
                (work / "a/b/f").touch()
                assert one.until(("created", "a/b/f")) == other.until(("created", "a/b/f")) == [("created", "a/b/f")]
                assert third.until(("created", "b/f")) == [("created", "b/f")]
                assert watches(pid) == alone
            (work / "a/b/g").touch()
            wait_until(lambda: watches(pid) == alone, "the others' watches to go")
            assert one.until(("created", "a/b/g")) == [("created", "a/b/g")]
            (work / "a/b/h").touch()
            assert one.until(("created", "a/b/h")) == [("created", "a/b/h")]
            shutil.rmtree(work / "a")
            one.until(("removed", "a"))
            wait_until(lambda: watches(pid) < alone, "the watches of what was removed to go")
        wait_until(lambda: watches(pid) == 0, "all watches to go")
        assert sum("inotify" in link for link in (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if os.path.lexists(f"/proc/{pid}/fd/{fd}"))) == 1
    finally:
        shutil.rmtree(work)


def test_logs_and_changes_of_one_directory(server):
    """A log's directory is watched for both at once."""
    identifier = server.start("while read line; do echo $line; done", stdin=True)["id"]
    directory = next(path for path in server.run_dir.rglob(identifier) if path.is_dir())
    if server.get(f"/file_changes_streaming?path={directory}", stream=True).status_code != 200:
        pytest.skip("the commands' user may not read it")
    with EventStream(server, "GET", f"/process_logs_streaming?id={identifier}") as log:
        with Watch(server, directory) as watch:
            server.post("/write_stdin", id=identifier, data="one\n")
            assert log.next().data["data"] == "one"
            assert watch.next().name in ("created", "changed")
        server.post("/write_stdin", id=identifier, data="two\n")
        assert log.next().data["data"] == "two"


def test_the_limit_of_streams(make_server, work):
    server = make_server({"SANDBOX_MAX_STREAMS": "2"})
    with Watch(server, work), Watch(server, work):
        answer = server.get(f"/file_changes_streaming?path={work}")
        assert error_of(answer, 429) == "too_many" and "SANDBOX_MAX_STREAMS" in answer.json()["error"]
        assert server.get("/health?full=1").json()["queue"]["streams"] == 2
    wait_until(lambda: server.get(f"/file_changes_streaming?path={work}", stream=True).status_code == 200, "a place")


def test_a_large_tree(server):
    """20,000 directories; other streams and requests go on meanwhile."""
    work = pathlib.Path(give(tempfile.mkdtemp(prefix="nxs-", dir="/dev/shm")))
    try:
        for outer in range(20):
            for inner in range(1000):
                os.makedirs(work / f"{outer}" / f"{inner}")
        pid = server.daemon("fcgi-app")
        with Watch(server, work) as watch:
            assert watches(pid) > 20000
            (work / "7/77/f").touch()
            assert watch.until(("created", "7/77/f")) == [("created", "7/77/f")]
            os.rename(work / "7", work / "8/moved")
            (work / "8/moved/77/g").touch()
            assert watch.until(("created", "8/moved/77/g")) == [("renamed", "8/moved", "7"), ("created", "8/moved/77/g")]
        wait_until(lambda: watches(pid) == 0, "all watches to go")
        assert server.shell("echo well") == "well\n"
    finally:
        shutil.rmtree(work)


# ---- what is refused ----


@pytest.mark.parametrize("query, status, code", [
    ("", 400, "invalid_request"),
    ("path=", 400, "invalid_request"),
    ("path=/tmp&recursive=2", 400, "invalid_request"),
    ("path=/tmp&glob=[a", 400, "invalid_request"),
    ("path=/none/such", 404, "not_found"),
    ("path=/etc/passwd", 404, "not_a_directory"),
    ("path=/proc", 403, "unsupported"),
    ("path=/sys/kernel", 403, "unsupported"),
    ("path=/proc/self", 403, "permission_denied"),
    ("path=/proc/self/fd", 403, "permission_denied"),
])
def test_refused(sandbox, query, status, code):
    assert error_of(sandbox.get(f"/file_changes_streaming?{query}"), status) == code


def test_head(sandbox, work):
    answer = sandbox.call("HEAD", f"/file_changes_streaming?path={work}")
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/event-stream; charset=utf-8" and not answer.content


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_another_user(make_server, open_directory):
    """What the commands' user may not read is not watched, and no error beneath the root."""
    server = make_server({"SANDBOX_USER": "nobody"})
    closed = open_directory / "closed"
    closed.mkdir()
    (open_directory / "open").mkdir()
    (closed / "deep").mkdir()
    closed.chmod(0o700)
    assert error_of(server.get(f"/file_changes_streaming?path={closed}"), 403) == "permission_denied"
    with Watch(server, open_directory) as watch:
        (closed / "f").touch()
        (open_directory / "open/f").touch()
        assert watch.news() == [("created", "open/f")]
        closed.chmod(0o755)
        watch.until(("changed", "closed"))
        watch.until(("created", "closed/f"))
        (closed / "deep/g").touch()
        watch.until(("created", "closed/deep/g"))


# ---- the kernel's limits ----


def with_limits(**limits):
    """A command that runs another one where a user may have only so many of something of inotify's."""
    script = " && ".join(f"echo {value} >/proc/sys/user/max_inotify_{name}" for name, value in limits.items())
    return ["unshare", "--user", "--map-root-user", "sh", "-c", f'{script} && exec "$@"', "sh"]


def limits_can_be_set():
    return subprocess.run([*with_limits(watches=10), "true"], capture_output=True, check=False).returncode == 0


needs_limits = pytest.mark.skipif(TEST_USER is not None or not limits_can_be_set(), reason="no user namespace with limits can be made")


@needs_limits
def test_too_many_directories(make_server, tmp_path):
    server = make_server(prefix=with_limits(watches=8))
    for number in range(10):
        (tmp_path / "many" / str(number)).mkdir(parents=True)
    answer = server.get(f"/file_changes_streaming?path={tmp_path}&recursive=1")
    assert error_of(answer, 503) == "unavailable" and "user.max_inotify_watches is 8" in answer.json()["error"]
    with Watch(server, tmp_path, recursive=0) as watch:  # what was refused holds none of them
        assert watch.news() == []


@needs_limits
def test_too_many_directories_later(make_server, tmp_path):
    server = make_server(prefix=with_limits(watches=8))
    with Watch(server, tmp_path) as watch:
        for number in range(10):
            (tmp_path / str(number)).mkdir()
        events = watch.events()
    assert events[-1].name == "error" and events[-1].data["error_code"] == "unavailable"
    assert "user.max_inotify_watches is 8" in events[-1].data["error"]


@needs_limits
def test_no_instance(make_server, tmp_path):
    server = make_server(prefix=with_limits(instances=0))
    answer = server.get(f"/file_changes_streaming?path={tmp_path}")
    assert error_of(answer, 503) == "unavailable" and "user.max_inotify_instances is 0" in answer.json()["error"]
