"""PUT of an archive: its members come beneath the directory and nowhere else, and what is not whole is an error that says how far it came."""

import base64
import ctypes
import gzip
import hashlib
import io
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import tarfile
import urllib.parse

import pytest

from sandbox import BIG_TIMEOUT, RawConnection, Server, http_request, make_directory, mounting_is_allowed, user_ids, wait_until, with_a_small_disk
from test_archives import BSDTAR, KINDS, ZSTD, archive, tars_in, tree, tree_of  # noqa: F401 (a fixture)
from test_files_raw import error_of, give, quoted

pytestmark = pytest.mark.host


def put(sandbox, path, body, kind="tar", query="", **headers):
    return sandbox.call("PUT", f"{quoted(path)}?archive={kind}{query}", body, timeout=BIG_TIMEOUT,
                        headers={name.replace("_", "-"): value for name, value in headers.items()})


def extracted(answer):
    assert answer.status_code == 200, (answer.status_code, answer.text[:500])
    return answer.json()["members"]


def tar_of(*members, **options):
    """An archive of these: (name, bytes), or (name, {attributes of a TarInfo})."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT, **options) as opened:
        for name, what in members:
            member = tarfile.TarInfo(name)
            content = what if isinstance(what, bytes) else what.pop("content", b"")
            member.size, member.mode = len(content), 0o644
            for key, value in ({} if isinstance(what, bytes) else what).items():
                setattr(member, key, value)
            opened.addfile(member, io.BytesIO(content))
    return out.getvalue()


def link(target):
    return {"type": tarfile.SYMTYPE, "linkname": target}


def hard_link(target):
    return {"type": tarfile.LNKTYPE, "linkname": target}


def packed(content, kind):
    program = {"tar": ["cat"], "tar.gz": ["gzip", "-c"], "tar.zst": ["zstd", "-c"]}[kind]
    return subprocess.run(program, input=content, capture_output=True, check=True).stdout


@pytest.fixture
def target(workdir):
    path = pathlib.Path(workdir, "target")
    path.mkdir()
    return give(path)


def top_of(server):
    """The same at a server of the test's own."""
    path = pathlib.Path(server.home, "top")
    path.mkdir()
    return give(path)


# ---- what is made ----


@pytest.mark.parametrize("command", ["tar", pytest.param("bsdtar", marks=pytest.mark.skipif(BSDTAR is None, reason="needs bsdtar (libarchive-tools)"))])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tree(sandbox, tree, target, kind, command):  # noqa: F811
    plain = subprocess.run([command, "-c", "-f", "-", "-C", tree, "."], capture_output=True, check=True).stdout
    assert extracted(put(sandbox, target, packed(plain, kind), kind)) == 17
    assert tree_of(target) == tree_of(tree)
    assert os.path.samefile(target / "run.sh", target / "src" / "same.sh")


@pytest.mark.skipif(BSDTAR is None, reason="needs bsdtar (libarchive-tools)")
@pytest.mark.parametrize(("kind", "option"), [("tar.gz", "--gzip"), pytest.param("tar.zst", "--zstd", marks=pytest.mark.skipif(ZSTD is None, reason="needs zstd"))])
def test_zeros_behind_what_bsdtar_compresses(sandbox, target, kind, option, workdir):
    """It fills what it writes to a pipe up to a multiple of 10 KiB."""
    pathlib.Path(workdir, "a").write_text("x")
    content = subprocess.run([BSDTAR, "-c", option, "-f", "-", "-C", workdir, "a"], capture_output=True, check=True).stdout
    assert len(content) == 10240 and content.endswith(bytes(1024))
    assert extracted(put(sandbox, target, content, kind)) == 1
    assert (target / "a").read_text() == "x"


def test_there_and_back(sandbox, tree, target):  # noqa: F811
    for kind in ("tar", "tar.gz", *(["tar.zst"] if ZSTD else [])):
        copy = target / kind
        assert extracted(put(sandbox, copy, archive(sandbox, tree, kind).content, kind, "&parents=1")) == 17
        assert tree_of(copy) == tree_of(tree)


def test_chunks(sandbox, tree, target):  # noqa: F811
    content = archive(sandbox, tree).content
    assert extracted(put(sandbox, target, iter([content[at:at + 7777] for at in range(0, len(content), 7777)]))) == 17
    assert tree_of(target) == tree_of(tree)


def test_attributes(sandbox, target):
    """Modes whatever the umask, times to the nanosecond where the archive has them; the owner is the user of commands."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as opened:
        for name, mode, kind in (("d", 0o2775, tarfile.DIRTYPE), ("d/f", 0o666, tarfile.REGTYPE), ("d/s", 0o4755, tarfile.REGTYPE), ("a", 0o400, tarfile.REGTYPE)):
            member = tarfile.TarInfo(name)
            member.mode, member.type, member.uid, member.uname, member.mtime = mode, kind, 12345, "daemon", 1_500_000_000.25
            opened.addfile(member)
    assert extracted(put(sandbox, target, out.getvalue(), "tar")) == 4
    user, root = target.stat().st_uid, target.stat().st_uid == 0
    for name, mode in (("d", 0o2775), ("d/f", 0o666), ("d/s", 0o755 if root else 0o4755), ("a", 0o400)):
        status = (target / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_uid) == (mode, 1_500_000_000_250_000_000, user), name


def test_odd_names(sandbox, target, workdir):
    source = pathlib.Path(workdir, "source")
    source.mkdir()
    for name in [b"-rf", b"--checkpoint-action=exec=sh", b"$(touch pwned)", b"a\nb: c", b"** End of File **", b"** Block of NULs **", b"n" * 255, b"\xff\xfe"] + [
            bytes([byte]) for byte in range(1, 256) if byte not in b"/."]:
        with open(os.path.join(os.fsencode(source), name), "wb") as file:
            file.write(b"of " + name)
    plain = subprocess.run(["tar", "-c", "-C", source, "."], capture_output=True, check=True).stdout
    assert extracted(put(sandbox, target, plain)) >= 260
    assert tree_of(target).keys() == tree_of(source).keys()


def test_sparse_files(sandbox, target, workdir):
    with open(f"{workdir}/sparse", "wb") as file:
        file.seek(4 << 30)
        file.write(b"end")
    plain = subprocess.run(["tar", "-c", "-S", "-C", workdir, "sparse"], capture_output=True, check=True).stdout
    assert extracted(put(sandbox, target, plain)) == 1
    assert (target / "sparse").stat().st_size == (4 << 30) + 3 and (target / "sparse").stat().st_blocks < 1000


def test_what_is_there(sandbox, target):
    """Files are replaced, not written through; directories are joined; the rest stays."""
    outside = pathlib.Path(target.parent, "outside")
    outside.write_bytes(b"old")
    (target / "d").mkdir()
    (target / "d" / "stays").write_bytes(b"stays")
    (target / "file").write_bytes(b"old")
    os.link(target / "file", target / "other")
    (target / "link").symlink_to("../outside")
    for path in (outside, target / "d", target / "d" / "stays", target / "file", target / "link"):
        give(path)
    assert extracted(put(sandbox, target, tar_of(("file", b"new"), ("link", b"new"), ("d/more", b"new")))) == 3
    assert (target / "file").read_bytes() == (target / "link").read_bytes() == (target / "d" / "more").read_bytes() == b"new"
    assert not (target / "link").is_symlink() and outside.read_bytes() == b"old"
    assert (target / "d" / "stays").read_bytes() == b"stays" and (target / "other").read_bytes() == b"old"


def test_the_directory(sandbox, target):
    """It must be there, or is made by wish."""
    content = tar_of(("a", b"x"))
    assert error_of(put(sandbox, target / "new" / "deep", content), 409) == "not_found"
    assert extracted(put(sandbox, target / "new" / "deep", content, query="&parents=1")) == 1
    assert extracted(put(sandbox, target / "new" / "deep", content)) == 1
    assert error_of(put(sandbox, target / "new" / "deep" / "a", content), 409) == "not_a_directory"
    assert error_of(put(sandbox, "/proc/self", content), 403) == "permission_denied"


@pytest.mark.slow
def test_many_files(sandbox, target):
    plain = tar_of(*((f"d{number % 100}/{number}", b"") for number in range(100_000)))
    assert extracted(put(sandbox, target, plain)) == 100_000
    assert sum(len(files) for _, _, files in os.walk(target)) == 100_000


# ---- archives that want out ----


EVIL = {
    "dots": [("../evil", b"x")],
    "dots inside": [("a/../../evil", b"x")],
    "absolute": [("{outside}/evil", b"x")],
    "a link that is absolute": [("l", link("{outside}")), ("l/evil", b"x")],
    "a link with dots": [("l", link("../outside")), ("l/evil", b"x")],
    "a link to a link": [("a", link("../outside")), ("b", link("a")), ("b/evil", b"x")],
    "a link below a directory": [("d", {"type": tarfile.DIRTYPE, "mode": 0o755}), ("d/l", link("../../outside")), ("d/l/evil", b"x")],
    "a link over a directory": [("d", {"type": tarfile.DIRTYPE, "mode": 0o755}), ("d", link("../outside")), ("d/evil", b"x")],
    "a link that is harmless by itself": [("up", link(".")), ("up/l", link("../outside")), ("l/evil", b"x")],
    "a hard link to outside": [("h", hard_link("{outside}/secret"))],
    "a hard link with dots": [("h", hard_link("../outside/secret"))],
    "a hard link through a link": [("l", link("../outside")), ("h", hard_link("l/secret"))],
    "a file over a link": [("l", link("{outside}/secret")), ("l", b"overwritten")],
    "a file over a hard link": [("h", hard_link("{outside}/secret")), ("h", b"overwritten")],
    "a hard link to a link": [("l", link("{outside}/secret")), ("h", hard_link("l")), ("h", b"overwritten")],
    "a directory over a link": [("l", link("{outside}")), ("l", {"type": tarfile.DIRTYPE, "mode": 0o700}), ("l/evil", b"x")],
    "two names of a link": [("l", link("{outside}")), ("k", hard_link("l")), ("k/evil", b"x")],
}


@pytest.mark.parametrize("members", EVIL.values(), ids=EVIL)
def test_nothing_leaves_the_directory(sandbox, target, members):
    outside = pathlib.Path(target.parent, "outside")
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    give(outside / "secret")
    give(outside)
    before = outside.stat()

    def put_in(value):
        return value.replace("{outside}", str(outside)) if isinstance(value, str) else value

    content = tar_of(*((put_in(name), what if isinstance(what, bytes) else {key: put_in(value) for key, value in what.items()}) for name, what in members))
    for _ in range(2):  # the second finds what the first has left
        answer = put(sandbox, target, content)
        assert answer.status_code in (200, 400, 403, 409), answer.text
        assert os.listdir(outside) == ["secret"] and (outside / "secret").read_bytes() == b"secret", answer.text
        assert (outside / "secret").stat().st_nlink == 1 and outside.stat().st_mode == before.st_mode
        assert sorted(os.listdir(target.parent)) == ["outside", "target"]


LANDLOCK = ctypes.CDLL(None).syscall(444, None, 0, 1) >= 2  # landlock_create_ruleset(2): which version there is


@pytest.mark.skipif(not LANDLOCK, reason="needs a kernel with Landlock, ABI 2")
def test_links_that_were_there(sandbox, target):
    """One that leads out leads no member out; one that stays inside works."""
    outside = pathlib.Path(target.parent, "outside")
    (outside / "d").mkdir(parents=True)
    (outside / "secret").write_bytes(b"secret")
    (target / "inside").mkdir()
    (target / "out").symlink_to("../outside")
    (target / "in").symlink_to("inside")
    for path in (outside, outside / "d", outside / "secret", target / "inside", target / "out", target / "in"):
        give(path)
    for members in ([("out/evil", b"x")], [("out/secret", b"x")], [("out/d/evil", b"x")], [("h", hard_link("out/secret"))], [("out/l", link("x"))]):
        answer = put(sandbox, target, tar_of(*members, ("good", b"good")))
        assert answer.status_code in (400, 403, 409) and "2 members came" in answer.json()["error"], answer.text
        assert sorted(os.listdir(outside)) == ["d", "secret"] and os.listdir(outside / "d") == []
        assert (outside / "secret").read_bytes() == b"secret" and (outside / "secret").stat().st_nlink == 1
    assert (target / "good").read_bytes() == b"good"
    assert extracted(put(sandbox, target, tar_of(("in/file", b"x"), ("d/file", b"y"), ("in/h", hard_link("d/file"))))) == 3
    assert (target / "inside" / "file").read_bytes() == b"x" and os.path.samefile(target / "inside" / "h", target / "d" / "file")


@pytest.mark.skipif(not LANDLOCK, reason="needs a kernel with Landlock, ABI 2")
def test_no_device_is_made(sandbox, target):
    answer = put(sandbox, target, tar_of(("null", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}), ("fifo", {"type": tarfile.FIFOTYPE})))
    assert error_of(answer, 403) == "permission_denied" and os.listdir(target) == ["fifo"]


# ---- what is no archive ----


def test_faults(sandbox, target):
    content = tar_of(("a", b"x"), ("b", b"y" * 3000), ("c", b"z"))
    for body, kind, said in ((b"", "tar", "no member"), (bytes(10240), "tar", "empty"), (b"x" * 5000, "tar", "not look like a tar"),
                             (gzip.compress(bytes(10240)), "tar.gz", "empty"), (content, "tar.gz", "not in gzip format"), (gzip.compress(content), "tar", "compressed")):
        answer = put(sandbox, target, body, kind)
        assert error_of(answer, 400) == "invalid_request" and said in answer.json()["error"], answer.text
    assert os.listdir(target) == []
    for body, kind in ((content, "zip"), (content, "tar%00")):
        assert error_of(put(sandbox, target, body, kind), 400) == "invalid_request"
    for query in ("&include=a", "&exclude=b"):
        assert error_of(put(sandbox, target, content, query=query), 400) == "invalid_request"
    assert error_of(put(sandbox, target, content, Content_Range=f"bytes 0-{len(content) - 1}/{len(content)}"), 400) == "invalid_request"
    assert error_of(put(sandbox, target, content, Content_Encoding="gzip"), 415) == "unsupported"
    assert os.listdir(target) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_was_cut(sandbox, target, kind):
    """Wherever: between members, within a header, within content."""
    plain = tar_of(("a", os.urandom(5000)), ("b", os.urandom(700)), ("c", os.urandom(1000)))
    content = packed(plain, kind)
    points = [512, 600, 5632, 5700, 6144, 6200, 6656, 7000, 7168, 7680, 7700, 8000, 8704] if kind == "tar" else range(1, len(content) - 1, len(content) // 15)
    for point in points:
        answer = put(sandbox, target, content[:point], kind)
        assert error_of(answer, 400) == "invalid_request", point
        if kind == "tar" and point == 5632:
            assert "1 members came, the last is a" in answer.json()["error"], answer.text


@pytest.mark.parametrize(("name", "what"), [
    ("d/f", b""), (" d -> e", b""), ("l -> m", b""), ("link", link("a -> b")), ("hard", hard_link("a")), ("old", {"mtime": -10**11}), ("late", {"mtime": 2**55})])
def test_how_far_an_archive_came(sandbox, target, name, what):
    """Whatever its last member is: its name, and directories that tar makes beside it do not count."""
    plain = tar_of(("a", b""), (name, what), ("c", b""))
    answer = put(sandbox, target, plain[:1024])
    assert answer.status_code == 400 and f"(2 members came, the last is {name})" in answer.json()["error"], answer.text


def test_set_id_bits_of_an_archive_that_was_cut(sandbox, target):
    """Those of root's files go all the same; others' stay."""
    is_root = target.stat().st_uid == 0
    for mode in (0o4755, 0o2755, 0o6711):
        answer = put(sandbox, target, tar_of(("f", {"mode": mode}), ("c", b"x"))[:1024])
        assert answer.status_code == 400, answer.text
        assert stat.S_IMODE((target / "f").stat().st_mode) == (mode & 0o777 if is_root else mode)


@pytest.mark.parametrize("end", ["the client leaves", "the body is too large"])
def test_set_id_bits_of_an_archive_that_was_given_up(make_server, end):
    server = make_server({"SANDBOX_MAX_UPLOAD": "1M"})
    target = pathlib.Path(make_directory())
    member, others = tar_of(("f", {"mode": 0o6755}))[:512], tar_of(("g", b""))[:512] * 511
    expected = 0o755 if target.stat().st_uid == 0 else 0o6755
    with server.raw() as connection:
        connection.send(http_request("PUT", f"/files{target}?archive=tar", [("Host", "x"), server.bearer(), ("Transfer-Encoding", "chunked")]))
        connection.send(b"40000\r\n" + member + others + b"\r\n")
        wait_until(lambda: (target / "f").exists() and stat.S_IMODE((target / "f").stat().st_mode) == 0o6755, "a file with bits")
        if end == "the body is too large":
            connection.send((b"3fe00\r\n" + others + b"\r\n") * 5)
            assert connection.response()[0] == 413
    wait_until(lambda: stat.S_IMODE((target / "f").stat().st_mode) == expected, "no bits")
    shutil.rmtree(target)


def test_set_id_bits_of_a_file_that_tar_lists_as_a_directory(sandbox, target):
    """A sparse member whose name ends with a slash."""
    member = tarfile.TarInfo("f")
    member.mode, member.size = 0o6755, 5
    head = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    head[:2], head[156:157] = b"f/", tarfile.GNUTYPE_SPARSE
    head[386:410], head[483:495] = b"%011o\0%011o\0" % (0, 5), b"%011o\0" % 5
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    extracted(put(sandbox, target, bytes(head) + b"hello".ljust(512, b"\0") + b"\0" * 1024))
    assert (target / "f").read_bytes() == b"hello"
    assert stat.S_IMODE((target / "f").stat().st_mode) == (0o755 if target.stat().st_uid == 0 else 0o6755)


def test_a_digest(sandbox, target):
    content = tar_of(("a", b"x"))
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert extracted(put(sandbox, target, content, Content_Digest=f"sha-256=:{digest}:")) == 1
    answer = put(sandbox, target, content + b"more", Content_Digest=f"sha-256=:{digest}:")
    assert error_of(answer, 400) == "invalid_request" and "digest" in answer.json()["error"]


def test_what_follows_the_end(sandbox, target):
    assert extracted(put(sandbox, target, tar_of(("a", b"x")) + os.urandom(3_000_000))) == 1
    assert extracted(put(sandbox, target, tar_of(("a", b"x")))) == 1


def test_content_that_does_not_fit(sandbox, target):
    """A file where a directory is, and a directory where a file is, with the names; the rest is extracted."""
    (target / "d").mkdir()
    (target / "d" / "x").touch()
    (target / "f").touch()
    for path in (target / "d", target / "d" / "x", target / "f"):
        give(path)
    answer = put(sandbox, target, tar_of(("d", b"file"), ("f/g", b"x"), ("good", b"good")))
    assert answer.status_code == 409 and "3 members came, the last is good" in answer.json()["error"], answer.text
    assert (target / "good").read_bytes() == b"good" and (target / "d").is_dir()


# ---- limits ----


@pytest.mark.own_user
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_user(make_server, workdir):
    server = make_server({"SANDBOX_USER": "nobody"})
    os.chmod(workdir, 0o755)
    target = pathlib.Path(workdir, "theirs")  # noqa: F811
    target.mkdir()
    answer = put(server, target, tar_of(("a", b"x"), ("b", b"y")))
    assert error_of(answer, 403) == "permission_denied" and "Permission denied" in answer.json()["error"]
    os.chown(target, *user_ids("nobody"))
    assert extracted(put(server, target, tar_of(("a", b"x"), ("d/b", {"mode": 0o4777, "uid": 0, "content": b"y"})))) == 2
    status = (target / "d" / "b").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (user_ids("nobody")[0], 0o4777)


def test_large_files(make_server):
    """SANDBOX_MAX_UPLOAD holds for the body, and for each file of an archive."""
    server = make_server({"SANDBOX_MAX_UPLOAD": "100k"})
    top = top_of(server)
    content = tar_of(("small", b"x"), ("large", bytes(200_000)), ("next", b"y"))
    assert put(server, top, content).status_code == 413
    assert put(server, top, iter([content])).status_code == 413
    answer = put(server, top, gzip.compress(content), "tar.gz")
    assert error_of(answer, 413) == "too_large" and "large" in answer.json()["error"]
    assert (top / "next").read_bytes() == b"y" and (top / "large").stat().st_size <= 102_400


@pytest.mark.skipif(not mounting_is_allowed(), reason="mounting is not allowed here")
def test_a_full_disk(workdir):
    disk = pathlib.Path(workdir, "disk")
    disk.mkdir()
    with Server(prefix=with_a_small_disk(str(disk))) as server:
        for kind in ("tar", "tar.gz"):
            content = packed(tar_of(("a", b"x" * 300_000), ("b", b"x" * 3_000_000)), kind)
            answer = put(server, disk, iter([content]), kind)
            assert error_of(answer, 507) == "no_space" and "the last is b" in answer.json()["error"], answer.text
            assert kind != "tar" or error_of(put(server, disk, content), 507) == "no_space"
    with Server({"SANDBOX_MIN_FREE": "200k"}, prefix=with_a_small_disk(str(disk))) as server:
        assert error_of(put(server, disk, tar_of(("a", b"x" * 1_000_000))), 507) == "no_space"
        assert server.get(quoted(disk)).json() == {"entries": []}
        bomb = gzip.compress(tar_of(*((f"{number}", bytes(20_000)) for number in range(1000))))
        assert error_of(put(server, disk, iter([bomb[at:at + 100] for at in range(0, len(bomb), 100)]), "tar.gz"), 507) == "no_space"


# ---- what happens meanwhile ----


def half_put(server, path, kind="tar"):
    """A connection over which half of an archive went."""
    raw = RawConnection(server.host, server.port)
    content = tar_of(("a", os.urandom(300_000)), ("b", os.urandom(3_000_000)))
    request = http_request("PUT", f"{quoted(path)}?archive={kind}", [("Host", "x"), server.bearer(), ("Content-Length", str(len(content)))])
    raw.send(request + content[:1_000_000])
    wait_until(lambda: (path / "b").exists(), "half of it to be extracted")
    return raw, content[1_000_000:]


def test_a_hang_up_ends_it(sandbox, target):
    raw, _ = half_put(sandbox, target)
    assert tars_in(target)
    raw.socket.close()
    wait_until(lambda: not tars_in(target), "tar to end")


def test_back_pressure(server):
    """A tar that is slow makes the client wait."""
    top = top_of(server)
    raw, rest = half_put(server, top)
    with raw:
        (tar,) = tars_in(top)
        os.kill(tar, signal.SIGSTOP)
        raw.socket.settimeout(2)
        with pytest.raises(TimeoutError):
            raw.socket.sendall(rest + bytes(30_000_000))
        os.kill(tar, signal.SIGCONT)
    wait_until(lambda: not tars_in(top), "tar to end")


def test_a_tar_that_is_killed(server):
    top = top_of(server)
    raw, rest = half_put(server, top)
    with raw:
        os.kill(tars_in(top)[0], signal.SIGKILL)
        raw.send(rest)
        status, _, body = raw.response()
        assert status == 409 and b"may_have_run" in body
    raw, rest = half_put(server, top)
    with raw:
        os.kill(server.daemon("fcgi-app"), signal.SIGKILL)
        wait_until(lambda: not tars_in(top), "tar to end")
    server.healthy()
