"""PUT and DELETE of /files: a body becomes the file at once or not at all; digests, conditions, full disks, trees."""

import base64
import hashlib
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess

import pytest

from sandbox import RawConnection, Server, descriptors, http_request, in_threads, mounting_is_allowed, user_ids, wait_until, with_a_small_disk
from test_files_raw import error_of, get, give, quoted

pytestmark = pytest.mark.host

CONTENT = bytes(range(256)) * 40


def put(sandbox, path, body, query="", **headers):
    return sandbox.call("PUT", quoted(path) + query, body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def delete(sandbox, path, query="", **headers):
    return sandbox.call("DELETE", quoted(path) + query, headers={name.replace("_", "-"): value for name, value in headers.items()})


def names(directory):
    return sorted(os.listdir(directory))


@pytest.fixture
def place(workdir):
    return pathlib.Path(workdir)


@pytest.fixture
def file(place):
    path = place / "file"
    path.write_bytes(b"old")
    return give(path)


# ---- a file ----


def test_a_new_file_and_its_next_content(sandbox, place):
    path = place / "new"
    answer = put(sandbox, path, CONTENT)
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (201, b"", "0")
    assert path.read_bytes() == CONTENT and stat.S_IMODE(path.stat().st_mode) == 0o644
    assert answer.headers["ETag"] == get(sandbox, path).headers["ETag"]
    path.chmod(0o751)
    answer = put(sandbox, path, b"next")
    assert (answer.status_code, answer.content) == (204, b"") and "Content-Length" not in answer.headers
    assert path.read_bytes() == b"next" and stat.S_IMODE(path.stat().st_mode) == 0o751
    assert answer.headers["ETag"] == get(sandbox, path).headers["ETag"]
    assert names(place) == ["new"]


@pytest.mark.parametrize("size", [0, 1, 8191, 65536, 65537, 1_000_000, 20_000_000])
def test_sizes(sandbox, place, size):
    content = os.urandom(size)
    assert put(sandbox, place / "sized", content).status_code == 201
    assert (place / "sized").read_bytes() == content


def test_without_a_length(sandbox, place):
    """In chunks, and a request that has no body at all."""
    pieces = [b"a" * 100_000, b"b", b"c" * 50_000]
    assert put(sandbox, place / "chunked", iter(pieces)).status_code == 201
    assert (place / "chunked").read_bytes() == b"".join(pieces)
    with sandbox.raw() as raw:
        assert raw.exchange(http_request("PUT", quoted(place / "empty"), [("Host", "x"), sandbox.bearer()]), "PUT")[0] == 201
        assert raw.exchange(http_request("GET", quoted(place / "empty"), [("Host", "x"), sandbox.bearer()]))[2] == b""


@pytest.mark.parametrize("name", [b"a b%", b"\xff\xfe", "ü".encode(), b"a?b#c", b"a\nb", b"n" * 255])
def test_names(sandbox, place, name):
    path = os.path.join(os.fsencode(place), name)
    assert put(sandbox, path, b"of it").status_code == 201
    assert os.listdir(os.fsencode(place)) == [name]
    with open(path, "rb") as file:
        assert file.read() == b"of it"
    assert delete(sandbox, path).status_code == 204 and not os.listdir(os.fsencode(place))


def test_a_link_is_followed(sandbox, file):
    link = file.with_name("link")
    link.symlink_to(file.name)
    assert put(sandbox, link, b"new").status_code == 204
    assert link.is_symlink() and file.read_bytes() == b"new"
    file.unlink()
    assert put(sandbox, link, b"newer").status_code == 201 and file.read_bytes() == b"newer"


def test_what_must_be_written_in_place(sandbox, file):
    """A file with two names keeps them."""
    os.link(file, f"{file}2")
    inode = file.stat().st_ino
    answer = put(sandbox, file, CONTENT)
    assert answer.status_code == 204 and file.stat().st_ino == inode and file.with_name("file2").read_bytes() == CONTENT
    assert answer.headers["ETag"] == get(sandbox, file).headers["ETag"]
    assert put(sandbox, file, b"x", "?mode=0600&mtime=5").status_code == 204
    assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_mtime, file.read_bytes()) == (0o600, 5, b"x")


def test_parents_mode_and_time(sandbox, place):
    path = place / "a/b c/file"
    answer = put(sandbox, path, b"x")
    assert error_of(answer, 409) == "not_found" and names(place) == []
    assert put(sandbox, path, b"x", "?parents=1&mode=0755&mtime=1700000000.25").status_code == 201
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o755 and status.st_mtime_ns == 1_700_000_000_250_000_000
    assert stat.S_IMODE((place / "a").stat().st_mode) == 0o755
    assert put(sandbox, path, b"y", "?parents=true&mode=600&mtime=-1").status_code == 204
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_mtime, path.read_bytes()) == (0o600, -1, b"y")
    for query in ("?mode=8", "?mode=10000", "?mode=x", "?mode=-1", "?mtime=x", "?mtime=1.", "?mtime=1.1234567890", "?mtime=1x", "?mtime=99999999999999999999", "?mtime=-0.5",
                  "?mtime=+1", "?parents=2"):
        assert error_of(put(sandbox, path, b"z", query), 400) == "invalid_request", query
    assert path.read_bytes() == b"y"


def test_what_cannot_be_written(sandbox, file):
    assert error_of(put(sandbox, file.parent, b"x"), 409) == "is_a_directory"
    assert error_of(put(sandbox, f"{file.parent}/new/", b"x"), 409) == "is_a_directory"
    assert error_of(put(sandbox, file / "x", b"x"), 409) == "not_a_directory"
    assert error_of(put(sandbox, file / "x", b"x", "?parents=1"), 409) in ("exists", "not_a_directory")
    assert error_of(put(sandbox, file.with_name("n" * 256), b"x"), 400) == "invalid_path"
    for path in ("/proc/self/comm", "/dev/fd/0"):
        assert error_of(put(sandbox, path, b"x"), 403) == "permission_denied"
        assert error_of(delete(sandbox, path), 403) == "permission_denied"
    assert error_of(put(sandbox, file, b"x", Content_Encoding="gzip"), 415) == "unsupported"
    assert put(sandbox, "/dev/null", b"x").status_code == 204
    assert error_of(put(sandbox, "/dev/full", b"x"), 507) == "no_space"
    assert file.read_bytes() == b"old"


# ---- what it must be ----


def digest(body):
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


@pytest.mark.parametrize("header", ["Content_Digest", "Repr_Digest"])
def test_a_digest(sandbox, file, header):
    for value in (digest(CONTENT), "sha-512=:AAAA:, " + digest(CONTENT), digest(CONTENT) + ";x, md5=:AA==:", "md5=:AA==:"):
        assert put(sandbox, file, CONTENT, **{header: value}).status_code == 204, value
    for value in (digest(b"other"), digest(CONTENT).replace("sha-256=:", "sha-256=:A", 1), "sha-256=x", "sha-256=::", "sha-256=:AAAA:", digest(CONTENT)[:-1]):
        answer = put(sandbox, file, CONTENT[::-1], **{header: value})
        assert error_of(answer, 400) == "invalid_request" and "digest" in answer.json()["error"]
    assert file.read_bytes() == CONTENT and names(file.parent) == ["file"]
    assert put(sandbox, file, b"x", Content_Digest=digest(b"x"), Repr_Digest=digest(b"y")).status_code == 400


def test_a_content_range(sandbox, file):
    """curl sends it with -C - -T: of the whole it means nothing, a part is for another protocol."""
    assert put(sandbox, file, b"0123456789", Content_Range="bytes 0-9/10").status_code == 204
    assert put(sandbox, file, iter([b"01234", b"56789"]), Content_Range="bytes 0-9/10").status_code == 204
    for value in ("bytes 0-4/10", "bytes 5-9/10", "bytes 0-9/*", "bytes 0-10/11", "bytes */10", "bytes 0-9/10x", "x", "bytes 0-99999999999999999999/99999999999999999999"):
        answer = put(sandbox, file, b"9876543210", Content_Range=value)
        assert error_of(answer, 400) == "invalid_request", value
    assert "a part cannot be put" in put(sandbox, file, b"98765", Content_Range="bytes 0-4/10").json()["error"]
    assert file.read_bytes() == b"0123456789"


def test_conditions(sandbox, file):
    tag = get(sandbox, file).headers["ETag"]
    new = file.with_name("new")
    for path, headers in ((file, {"If_None_Match": "*"}), (file, {"If_Match": '"other"'}), (file, {"If_None_Match": tag}), (new, {"If_Match": "*"}), (new, {"If_Match": tag}),
                          (file, {"If_Match": f"W/{tag}"}), (file, {"If_Unmodified_Since": "Sun, 09 Sep 2001 01:46:40 GMT"})):
        assert error_of(put(sandbox, path, b"x", **headers), 412) == "precondition_failed", headers
        assert error_of(delete(sandbox, path, **headers), 412) == "precondition_failed", headers
    assert names(file.parent) == ["file"] and file.read_bytes() == b"old"
    next_tag = put(sandbox, file, b"1", If_Match=tag).headers["ETag"]
    assert error_of(put(sandbox, file, b"2", If_Match=tag), 412) == "precondition_failed"
    assert put(sandbox, file, b"3", If_Match=f'"x", {next_tag}').status_code == 204
    assert put(sandbox, new, b"4", If_None_Match="*").status_code == 201
    assert error_of(delete(sandbox, new, If_Match=next_tag), 412) == "precondition_failed"
    assert delete(sandbox, new, If_Match=get(sandbox, new).headers["ETag"]).status_code == 204


def test_one_of_many_makes_the_file(sandbox, place):
    """If-None-Match: * and If-Match hold at the moment of the change."""
    path = place / "one"
    statuses = in_threads(12, lambda number: put(sandbox, path, b"%d" % number * 1000, If_None_Match="*").status_code)
    assert sorted(statuses) == [201] + [412] * 11 and path.read_bytes() == b"%d" % statuses.index(201) * 1000
    tag = get(sandbox, path).headers["ETag"]
    statuses = in_threads(12, lambda number: put(sandbox, path, b"%d" % number * 1001, If_Match=tag).status_code)
    assert sorted(statuses) == [204] + [412] * 11 and path.read_bytes() == b"%d" % statuses.index(204) * 1001
    assert names(place) == ["one"]


def test_the_largest_file(make_server):
    server = make_server({"SANDBOX_MAX_UPLOAD": "100k", "SANDBOX_MAX_BODY": "1k"})
    os.chmod(server.home, 0o777)
    path = pathlib.Path(server.home, "file")
    assert put(server, path, b"x" * 102400).status_code == 201
    answer = put(server, path, b"y" * 102401)
    assert error_of(answer, 413) == "too_large" and "SANDBOX_MAX_UPLOAD" in answer.json()["error"]
    with server.raw() as raw:
        chunks = b"".join(b"2800\r\n" + b"z" * 10240 + b"\r\n" for _ in range(20)) + b"0\r\n\r\n"
        assert raw.exchange(http_request("PUT", quoted(path), [("Host", "x"), server.bearer(), ("Transfer-Encoding", "chunked")], chunks), "PUT")[0] == 413
    wait_until(lambda: names(server.home).count("file") == 1 and path.read_bytes() == b"x" * 102400, "the old file")
    assert error_of(server.call("POST", "/run", b" " * 2000), 413) == "too_large"


# ---- at once or not at all ----


def begin(server, path, announced=1 << 20, sent=1 << 19):
    """A PUT of which half is on its way, and the daemon has it."""
    raw = RawConnection(server.host, server.port)
    raw.send(http_request("PUT", quoted(path), [("Host", "x"), server.bearer(), ("Content-Length", str(announced))], b"n" * sent))

    def is_written():
        pid = server.daemon("fcgi-app")
        return any(os.path.dirname(name) == str(path.parent) for name in descriptors(pid))

    wait_until(is_written, "the temporary file")
    return raw


@pytest.fixture
def home(server):
    os.chmod(server.home, 0o777)
    directory = pathlib.Path(server.home, "files")
    directory.mkdir()
    (directory / "file").write_bytes(b"old")
    give(directory / "file")
    return give(directory)


def test_a_hang_up_changes_nothing(server, home):
    with begin(server, home / "file"):
        assert get(server, home / "file").content == b"old"
    wait_until(lambda: not any(name.startswith(str(home)) for name in descriptors(server.daemon("fcgi-app"))), "the end of the upload")
    assert names(home) == ["file"] and (home / "file").read_bytes() == b"old"


def test_a_daemon_that_dies_changes_nothing(server, home):
    with begin(server, home / "file") as raw:
        os.kill(server.daemon("fcgi-app"), signal.SIGKILL)
        status, _, body = raw.response("PUT")
        assert (status, json.loads(body)["error_code"]) in ((409, "may_have_run"), (503, "unavailable"))
    server.healthy()
    assert names(home) == ["file"] and (home / "file").read_bytes() == b"old"


def test_readers_see_one_or_the_other(sandbox, file):
    contents = {b"%d" % number * 300_000 for number in range(4)}
    file.write_bytes(b"0" * 300_000)

    def act(number):
        return all(put(sandbox, file, b"%d" % number * 300_000).status_code == 204 if number < 4 else get(sandbox, file).content in contents for _ in range(10))

    assert all(in_threads(8, act))


def test_a_place_among_the_transfers(make_server):
    server = make_server({"SANDBOX_MAX_TRANSFERS": "1"})
    os.chmod(server.home, 0o777)
    path = pathlib.Path(server.home, "file")
    with begin(server, path):
        answer = put(server, path.with_name("other"), b"x" * 100_000)
        assert error_of(answer, 503) == "unavailable" and "SANDBOX_MAX_TRANSFERS" in answer.json()["error"] and answer.headers["Retry-After"]
    wait_until(lambda: put(server, path, b"x").status_code == 201, "its place")


@pytest.mark.skipif(not mounting_is_allowed(), reason="may not mount")
def test_a_full_disk(tmp_path):
    """And one that would be: the old file stays, and nothing of the new."""
    disk = tmp_path / "disk"
    disk.mkdir()
    os.chmod(tmp_path, 0o755)
    with Server({"SANDBOX_MIN_FREE": "200k"}, prefix=with_a_small_disk(str(disk))) as server:
        assert put(server, disk / "file", b"o" * 100_000).status_code == 201
        for body in (b"x" * 2_000_000, b"x" * 800_000, iter([b"x" * 500_000] * 4)):
            assert error_of(put(server, disk / "file", body), 507) == "no_space"
        assert get(server, disk / "file").content == b"o" * 100_000
        assert server.get(quoted(disk)).json() == {"entries": ["file"]}
        assert put(server, disk / "file", b"n" * 100_000).status_code == 204


@pytest.mark.own_user
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_as_the_commands_user(make_server, place):
    server = make_server({"SANDBOX_USER": "nobody"})
    os.chmod(place, 0o755)
    assert error_of(put(server, place / "file", b"x"), 403) == "permission_denied"
    (place / "file").write_bytes(b"root's")
    assert error_of(delete(server, place / "file"), 403) == "permission_denied"
    os.chmod(place, 0o777)
    assert error_of(put(server, place / "file", b"x"), 403) == "permission_denied" and (place / "file").read_bytes() == b"root's"
    assert put(server, place / "own", b"x", "?mode=0600&mtime=9").status_code == 201
    status = (place / "own").stat()
    assert (status.st_uid, status.st_gid) == user_ids("nobody") and (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o600, 9)


# ---- delete ----


def test_delete(sandbox, place, file):
    link = place / "link"
    link.symlink_to("file")
    (place / "full/sub").mkdir(parents=True)
    give(place / "full"), give(place / "full/sub")
    assert delete(sandbox, link).status_code == 204 and not link.is_symlink() and file.exists()
    assert delete(sandbox, file).status_code == 204
    for query in ("", "?recursive=1"):
        assert error_of(delete(sandbox, file, query), 404) == "not_found"
    assert error_of(delete(sandbox, place / "full"), 409) == "not_empty"
    assert delete(sandbox, place / "full/sub").status_code == 204
    (place / "full/sub").mkdir()
    give(place / "full/sub")
    (place / "full/sub/link").symlink_to(place)
    answer = delete(sandbox, place / "full", "?recursive=1")
    assert (answer.status_code, answer.content) == (204, b"") and names(place) == []
    assert error_of(delete(sandbox, place / "none/x"), 404) == "not_found"
    assert error_of(sandbox.call("DELETE", "/files/"), 409) in ("in_use", "not_empty")
    assert error_of(delete(sandbox, place, "?recursive=2"), 400) == "invalid_request"


# ---- clients ----


def test_curl_puts(sandbox, place):
    """By -T, and by -T -C -, which announces a Content-Range of the whole; from a pipe, too."""
    source = place / "source"
    source.write_bytes(os.urandom(3_000_000))
    curl = ["curl", "-sf", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Bearer {sandbox.secret}"]
    for number, more in enumerate((["-T", source], ["-C", "-", "-T", source], ["-T", "-"])):
        target = place / f"target{number}"
        with open(source, "rb") as file:
            done = subprocess.run([*curl, *more, sandbox.url + quoted(target)], stdin=file, stdout=subprocess.PIPE, check=True)
        assert done.stdout == b"201" and target.read_bytes() == source.read_bytes()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_expect_of_a_refused_body(sandbox, file):
    """curl waits for 100 before it sends a large body; what is refused gets its answer."""
    done = subprocess.run(["curl", "-s", "-H", f"Authorization: Bearer {sandbox.secret}", "-H", "If-None-Match: *", "-H", "Expect: 100-continue", "-T", "-",
                           sandbox.url + quoted(file)], input=b"x" * 5_000_000, stdout=subprocess.PIPE, check=True)
    assert json.loads(done.stdout)["error_code"] == "precondition_failed" and file.read_bytes() == b"old"
