"""GET of a tree as an archive: what tar(1) writes goes to the client, and what is not whole is not taken for whole by anyone."""

import io
import os
import pathlib
import random
import shutil
import signal
import stat
import subprocess
import tarfile
import threading
import urllib.parse

import pytest

from sandbox import BIG_TIMEOUT, RawConnection, alive, all_pids, http_request, proc_file, wait_until
from test_files_raw import error_of, give, quoted

pytestmark = pytest.mark.host

BSDTAR, ZSTD = shutil.which("bsdtar"), shutil.which("zstd")
KINDS = ["tar", "tar.gz", pytest.param("tar.zst", marks=pytest.mark.skipif(ZSTD is None, reason="needs zstd"))]
TYPES = {"tar": "application/x-tar", "tar.gz": "application/gzip", "tar.zst": "application/zstd"}
UNPACKERS = [["tar", "-x"], pytest.param(["bsdtar", "-x"], marks=pytest.mark.skipif(BSDTAR is None, reason="needs bsdtar (libarchive-tools)"))]


def archive(sandbox, path, kind="tar", more=(), **options):
    query = urllib.parse.urlencode([("archive", kind), *more])
    return sandbox.get(f"{quoted(path)}?{query}", timeout=BIG_TIMEOUT, **options)


def members(answer):
    """{name: TarInfo}, the names without the ./ before them."""
    assert answer.status_code == 200, (answer.status_code, answer.text[:300])
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as opened:
        return {member.name.removeprefix("./"): member for member in opened}


def names(sandbox, path, *more):
    return sorted(members(archive(sandbox, path, more=more)))


def unpack(content, target, command=("tar", "-x"), kind="tar"):
    """What the client's own tar makes of it."""
    os.makedirs(target, exist_ok=True)
    option = {"tar": [], "tar.gz": ["-z"], "tar.zst": ["--zstd"]}[kind]
    return subprocess.run([*command, *option, "-p", "-f", "-", "-C", target], input=content, capture_output=True, check=False, timeout=BIG_TIMEOUT)


def tree_of(top):
    """{name: what it is} of everything beneath, times in whole seconds."""
    top, found = os.fsencode(top), {}
    for directory, _, _ in os.walk(top):
        for entry in os.scandir(directory):
            status = entry.stat(follow_symlinks=False)
            content = os.readlink(entry.path) if entry.is_symlink() else b""
            if entry.is_file(follow_symlinks=False):
                with open(entry.path, "rb") as file:
                    content = file.read()
            found[os.path.relpath(entry.path, top)] = (stat.S_IFMT(status.st_mode), 0 if entry.is_symlink() else stat.S_IMODE(status.st_mode),
                                                       int(status.st_mtime), content)
    return found


def tars_in(directory):
    """The processes of tar that work there."""
    def works_there(pid):
        try:
            return os.readlink(f"/proc/{pid}/cwd") == str(directory) and proc_file(pid, "comm") == b"tar\n"
        except OSError:
            return False
    return [pid for pid in all_pids() if works_there(pid)]


@pytest.fixture
def tree(workdir):
    """One with everything that a tar keeps."""
    top = pathlib.Path(workdir, "tree")
    (top / "src" / "deep").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "src" / "main.c").write_bytes(b"int main;\n" * 1000)
    (top / "src" / "deep" / "util.c").write_bytes(b"x" * 5000)
    (top / "src" / "deep" / "util.o").write_bytes(os.urandom(3000))
    (top / "zeros").write_bytes(bytes(300_000))
    (top / "run.sh").write_bytes(b"#!/bin/sh\n")
    (top / "run.sh").chmod(0o750)
    (top / "nothing").touch()
    (top / "link").symlink_to("src/main.c")
    (top / "dangling").symlink_to("/nowhere/at all")
    os.link(top / "run.sh", top / "src" / "same.sh")
    (top / "n" / "node_modules" / "a").mkdir(parents=True)
    (top / "n" / "node_modules" / "a" / "b.js").write_bytes(b"1")
    for path in sorted(top.rglob("*"), reverse=True):
        os.utime(path, (1_500_000_000, 1_500_000_000), follow_symlinks=False)
        give(path)
    give(top)
    return top


# ---- what comes ----


@pytest.mark.parametrize("command", UNPACKERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_tree(sandbox, tree, workdir, kind, command):
    answer = archive(sandbox, tree, kind)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == TYPES[kind]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer.headers["Content-Disposition"] == f"attachment; filename=\"tree.{kind}\"; filename*=UTF-8''tree.{kind}"
    assert "Content-Length" not in answer.headers
    done = unpack(answer.content, f"{workdir}/copy", command, kind)
    assert (done.returncode, done.stderr) == (0, b"")
    assert tree_of(f"{workdir}/copy") == tree_of(tree)
    assert os.path.samefile(f"{workdir}/copy/run.sh", f"{workdir}/copy/src/same.sh")


def test_the_head(sandbox, tree):
    """The same headers, and no tar."""
    head, body = sandbox.call("HEAD", f"{quoted(tree)}?archive=tar.gz"), archive(sandbox, tree, "tar.gz")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Type", "Content-Disposition", "Content-Security-Policy", "X-Content-Type-Options", "Cache-Control"):
        assert head.headers[name] == body.headers[name]
    assert sandbox.call("HEAD", f"{quoted(tree / 'none')}?archive=tar").status_code == 404


@pytest.mark.parametrize("command", UNPACKERS)
def test_names_of_any_bytes(sandbox, workdir, command):
    top = pathlib.Path(workdir, "names")
    top.mkdir()
    odd = [b"-rf", b"--checkpoint-action=exec=sh", b"$(touch pwned)", b"`x`", b"a\nb", b"'\"\\", b"%s%n", b"\xff\xfe\x80", "ü✓".encode(), b"n" * 255, b"*?[", b" ", b"~", b"a b "]
    odd += [bytes([byte]) for byte in range(1, 256) if byte not in b"/."]
    for name in odd:
        with open(os.path.join(os.fsencode(top), name), "wb") as file:
            file.write(b"of " + name)
    give(top)
    answer = archive(sandbox, top)
    assert answer.status_code == 200
    done = unpack(answer.content, f"{workdir}/copy", command)
    assert done.returncode == 0, done.stderr
    assert tree_of(f"{workdir}/copy").keys() == tree_of(top).keys()


@pytest.mark.parametrize("name", [b"-rf", b"--help", b"a\nb", b"'; touch pwned; '", b"$(touch pwned)", b"\xff\xfe", b"\\", b"%41", b"n" * 255] +
                         [bytes(range(begin, begin + 51)).replace(b"/", b"").replace(b".", b"") for begin in range(1, 256, 51)])
def test_the_name_of_the_directory(sandbox, workdir, name):
    top = os.path.join(os.fsencode(workdir), name)
    os.mkdir(top)
    with open(os.path.join(top, b"file"), "wb") as file:
        file.write(b"content")
    give(top)
    assert sorted(members(archive(sandbox, top))) == [".", "file"]
    assert [entry for entry in os.listdir(os.fsencode(workdir)) if b"pwned" in entry] in ([], [name])


def test_deep_and_long_paths(sandbox, workdir):
    top = pathlib.Path(workdir, "deep")
    path = top.joinpath(*["d" * 200] * 15)
    path.mkdir(parents=True)
    (path / ("f" * 255)).write_bytes(b"x")
    give(top)
    assert unpack(archive(sandbox, top).content, f"{workdir}/copy").returncode == 0
    assert tree_of(f"{workdir}/copy").keys() == tree_of(top).keys()


def test_sparse_files(sandbox, workdir):
    """A hole of 4 GiB is none in the archive."""
    top = pathlib.Path(workdir, "sparse")
    top.mkdir()
    with open(top / "file", "wb") as file:
        file.write(b"begin")
        file.seek(4 << 30)
        file.write(b"end")
    give(top)
    answer = archive(sandbox, top)
    assert len(answer.content) < 200_000
    assert unpack(answer.content, f"{workdir}/copy").returncode == 0
    copy = os.stat(f"{workdir}/copy/file")
    assert copy.st_size == (4 << 30) + 3 and copy.st_blocks < 1000


def test_zeros_are_content(sandbox, workdir):
    """They are held back where they may be the end, and nothing of them is lost."""
    top = pathlib.Path(workdir, "zeros")
    top.mkdir()
    for number, size in enumerate([1, 511, 512, 65024, 65536, 130_000, 131_072, 131_073, 1 << 20, 5_000_001]):
        (top / f"{number}").write_bytes(bytes(size))
        (top / f"{number}x").write_bytes(b"x" + bytes(size) + b"\xff")
    give(top)
    for kind in ("tar", "tar.gz"):
        assert unpack(archive(sandbox, top, kind).content, f"{workdir}/{kind}", kind=kind).returncode == 0
        assert [content[3] for _, content in sorted(tree_of(f"{workdir}/{kind}").items())] == [content[3] for _, content in sorted(tree_of(top).items())]


@pytest.mark.slow
def test_many_files(sandbox, workdir):
    top = pathlib.Path(workdir, "many")
    for number in range(100_000):
        if number % 1000 == 0:
            (top / f"d{number}").mkdir(parents=True)
        (top / f"d{number - number % 1000}" / f"{number}").touch()
    give(top)
    assert len(members(archive(sandbox, top))) == 100_101


# ---- include and exclude ----


def test_globs(sandbox, tree):
    everything = names(sandbox, tree)
    assert "." in everything and len(everything) == 17
    assert names(sandbox, tree, ("exclude", "node_modules")) == [name for name in everything if "node_modules" not in name]
    assert names(sandbox, tree, ("exclude", "*.o"), ("exclude", "*.c")) == [name for name in everything if not name.endswith((".o", ".c"))]
    assert names(sandbox, tree, ("exclude", "/src/")) == [name for name in everything if not name.startswith("src")]
    assert names(sandbox, tree, ("exclude", "/deep")) == everything
    assert names(sandbox, tree, ("exclude", "src/deep")) == [name for name in everything if not name.startswith("src/deep")]
    assert names(sandbox, tree, ("include", "*.c")) == ["src/deep/util.c", "src/main.c"]
    assert names(sandbox, tree, ("include", "deep")) == ["src/deep", "src/deep/util.c", "src/deep/util.o"]
    assert names(sandbox, tree, ("include", "/deep")) == []
    assert names(sandbox, tree, ("include", "/src/"), ("include", "run.sh"), ("exclude", "*.o")) == [
        "run.sh", "src", "src/deep", "src/deep/util.c", "src/main.c", "src/same.sh"]
    assert names(sandbox, tree, ("include", "nothing at all")) == []


@pytest.mark.parametrize("glob", ["'", '"', "$(touch pwned)", "`touch pwned`", "; touch pwned", "-delete", "--to-command=sh", "\\", "a\nb", "%s", "(", "!", "-o", "\udcff"])
@pytest.mark.parametrize("parameter", ["include", "exclude"])
def test_no_glob_is_anything_else(sandbox, tree, parameter, glob):
    found = names(sandbox, tree, (parameter, os.fsencode(glob)))
    assert found == ([] if parameter == "include" else names(sandbox, tree))
    assert "pwned" not in os.listdir(tree)
    odd = tree / glob
    odd.write_bytes(b"x")
    give(odd)
    if "\\" not in glob:
        assert (glob in names(sandbox, tree, (parameter, os.fsencode(glob)))) == (parameter == "include")


def test_too_many_globs(sandbox, tree):
    assert error_of(archive(sandbox, tree, more=[("exclude", "x")] * 65), 400) == "invalid_request"
    assert len(members(archive(sandbox, tree, more=[("exclude", "x")] * 64 + [("include", "*")] * 64))) == 17
    assert error_of(sandbox.get(f"{quoted(tree)}?archive=tar&exclude=a%00b"), 400) == "invalid_request"


# ---- what is refused ----


def test_refusals(sandbox, tree):
    for kind in ("zip", "TAR", "tar.bz2", "tar%00"):
        assert error_of(sandbox.get(f"{quoted(tree)}?archive={kind}"), 400) == "invalid_request"
    assert sandbox.get(f"{quoted(tree)}?archive=").json()["entries"]  # as without
    assert error_of(archive(sandbox, tree / "run.sh"), 400) == "not_a_directory"
    assert error_of(archive(sandbox, tree / "none"), 404) == "not_found"
    assert error_of(archive(sandbox, "/proc/self"), 403) == "permission_denied"
    assert error_of(archive(sandbox, "/dev/null"), 403) == "unsupported"


@pytest.mark.own_user
def test_a_program_that_is_missing(make_server, tree, workdir):
    """What there is still works."""
    programs = pathlib.Path(workdir, "programs")
    programs.mkdir()
    for program in ("sh", "tar", "nginx", "s6-svscan", "s6-supervise", "s6-svc", "env", "cat", "sleep", "rm", "mkdir", "ln", "id"):
        if shutil.which(program):
            (programs / program).symlink_to(shutil.which(program))
    server = make_server({"PATH": str(programs)})
    answer = archive(server, tree, "tar.zst")
    assert error_of(answer, 501) == "unsupported" and "zstd is not installed" in answer.json()["error"]
    assert len(members(archive(server, tree))) == 17


@pytest.mark.own_user
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_the_user_may_not_read(make_server, tree, workdir):
    """A small archive is an error with its reason, a large one a cut that also tar sees."""
    server = make_server({"SANDBOX_USER": "nobody"})
    os.chmod(workdir, 0o755)
    (tree / "zeros").unlink()
    answer = archive(server, tree)
    assert error_of(answer, 403) == "permission_denied" and "run.sh" in answer.json()["error"], answer.text
    assert len(names(server, tree, ("exclude", "run.sh"), ("exclude", "same.sh"))) == 14
    (tree / "empty").chmod(0o700)
    for more in ([], [("include", "*")]):
        assert error_of(archive(server, tree, more=[("exclude", "*.sh"), *more]), 403) == "permission_denied"
    (tree / "empty").chmod(0o755)
    (tree / "aa").write_bytes(os.urandom(3_000_000))
    for command in (["tar", "-x"], *([["bsdtar", "-x"]] if BSDTAR else [])):
        curl = subprocess.run(["curl", "-s", "--fail", "-H", f"Authorization: Bearer {server.secret}", f"{server.url}{quoted(tree)}?archive=tar"],
                              capture_output=True, check=False, timeout=BIG_TIMEOUT)
        assert curl.returncode == 18 and len(curl.stdout) > 3_000_000
        assert unpack(curl.stdout, f"{workdir}/copy", command).returncode != 0
    curl = subprocess.run(["curl", "-s", "--fail", "-H", f"Authorization: Bearer {server.secret}", f"{server.url}{quoted(tree)}?archive=tar.gz"],
                          capture_output=True, check=False, timeout=BIG_TIMEOUT)
    assert curl.returncode == 18 and unpack(curl.stdout, f"{workdir}/copy", kind="tar.gz").returncode != 0


# ---- what happens meanwhile ----


@pytest.mark.parametrize("more", [[], [("include", "*")]])
def test_a_tree_that_changes(sandbox, workdir, more):
    top = pathlib.Path(workdir, "busy")
    top.mkdir()
    for number in range(300):
        (top / f"{number}").write_bytes(b"x" * 20_000)
    give(top)
    stop = threading.Event()

    def change():
        while not stop.is_set():
            path = top / f"{random.randrange(300)}"
            path.unlink(missing_ok=True)
            path.write_bytes(b"y" * random.randrange(40_000))
            (top / f"new{random.randrange(50)}").touch()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(20):
            assert unpack(archive(sandbox, top, more=more).content, f"{workdir}/copy").returncode == 0
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def large(server):
    """A tree of 400 MiB that a server's commands may read."""
    top = pathlib.Path(server.home, "large-tree")
    top.mkdir()
    for number in range(4):
        with open(top / f"{number}", "wb") as file:
            for _ in range(100):
                file.write(os.urandom(4096) * 256)
    os.chmod(server.home, 0o755)
    return top


def slow_curl(server, top, kind="tar"):
    """It has read a mebibyte."""
    curl = subprocess.Popen(["curl", "-s", "--fail", "-H", f"Authorization: Bearer {server.secret}", f"{server.url}{quoted(top)}?archive={kind}"],
                            stdout=subprocess.PIPE)
    return curl, curl.stdout.read(1 << 20)


@pytest.mark.parametrize("victim", ["tar", "fcgi-app"])
def test_a_death_is_a_cut(server, large, victim):
    curl, content = slow_curl(server, large)
    wait_until(lambda: tars_in(large), "tar")
    os.kill(tars_in(large)[0] if victim == "tar" else server.daemon("fcgi-app"), signal.SIGKILL)
    with curl.stdout:
        content += curl.stdout.read()
    assert curl.wait(BIG_TIMEOUT) == 18 and len(content) < 400 << 20
    assert unpack(content, f"{server.home}/copy").returncode != 0
    wait_until(lambda: not tars_in(large), "tar to end")
    server.healthy()


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_hang_up_ends_it(server, large, kind):
    with RawConnection(server.host, server.port) as raw:
        raw.send(http_request("GET", f"{quoted(large)}?archive={kind}", [("Host", "x"), server.bearer()]))
        raw.socket.recv(1000)
        pids = tars_in(large)
        assert pids
    wait_until(lambda: not tars_in(large) and not any(alive(pid) for pid in pids), "tar to end")


def test_a_stop_of_the_server_is_a_cut(server, large):
    curl, content = slow_curl(server, large)
    thread = threading.Thread(target=server.stop)
    thread.start()
    with curl.stdout:
        content += curl.stdout.read()
    thread.join()
    assert curl.wait(BIG_TIMEOUT) == 18
    assert unpack(content, f"{server.home}/copy").returncode != 0


def test_the_environment_steers_no_tar(make_server):
    server = make_server({"TAR_OPTIONS": "--exclude=*", "POSIXLY_CORRECT": "1"})
    top = pathlib.Path(server.home, "top")
    top.mkdir()
    (top / "file").write_bytes(b"x")
    assert names(server, top) == [".", "file"]


def test_the_longest_time_of_a_command(make_server):
    server = make_server({"SANDBOX_MAX_TIMEOUT": "1s"})
    top = pathlib.Path(server.home, "top")
    top.mkdir()
    (top / "file").write_bytes(os.urandom(4_000_000))
    with RawConnection(server.host, server.port) as raw:
        raw.send(http_request("GET", f"{quoted(top)}?archive=tar", [("Host", "x"), server.bearer()]))
        assert raw.socket.recv(10).startswith(b"HTTP/1.1")
        wait_until(lambda: not tars_in(top), "tar to end")


def test_it_counts_as_a_transfer(make_server):
    server = make_server({"SANDBOX_MAX_TRANSFERS": "1"})
    top = pathlib.Path(server.home, "top")
    top.mkdir()
    (top / "file").write_bytes(os.urandom(10_000_000))
    curl, content = slow_curl(server, top)
    assert error_of(archive(server, top), 503) == "unavailable"
    with curl.stdout:
        content += curl.stdout.read()
    assert curl.wait(BIG_TIMEOUT) == 0 and len(members_of(content)) == 2


def members_of(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        return opened.getnames()
