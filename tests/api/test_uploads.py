"""/uploads: tus 1.0. Pieces, offsets, checksums, cuts, daemons that die, expiry, starts, and what others do beside the target."""

import base64
import contextlib
import email.utils
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time

import pytest

from node_programs import npm_packages
from sandbox import BIG_TIMEOUT, RawConnection, Server, descriptors, http_request, in_threads, mounting_is_allowed, user_ids, wait_until, with_a_small_disk
from test_files_raw import error_of, give

pytestmark = pytest.mark.host

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
CONTENT = os.urandom(300_000)
TUS_CLIENT = "tus-js-client@4.3.1"


def base64_of(value):
    return base64.b64encode(value if isinstance(value, bytes) else os.fsencode(value)).decode()


def metadata(path, **more):
    return ",".join(f"{name} {base64_of(value)}" for name, value in {"path": path, **more}.items())


def create(sandbox, path, length, body=None, headers=None, **more):
    kind = TUS if body is None else BYTES
    return sandbox.call("POST", "/uploads", body, headers={**kind, "Upload-Length": str(length), "Upload-Metadata": metadata(path, **more), **(headers or {})})


def begin(sandbox, path, length, **more):
    """The target of a new upload."""
    answer = create(sandbox, path, length, **more)
    assert (answer.status_code, answer.content) == (201, b""), answer.text
    assert re.fullmatch(r"uploads/[0-9a-f]{32}", answer.headers["Location"])
    return "/" + answer.headers["Location"]


def head(sandbox, upload):
    return sandbox.call("HEAD", upload, headers=TUS)


def offset_of(sandbox, upload):
    answer = head(sandbox, upload)
    assert answer.status_code == 200, answer.status_code
    return int(answer.headers["Upload-Offset"])


def patch(sandbox, upload, offset, body, **headers):
    return sandbox.call("PATCH", upload, body, headers={**BYTES, "Upload-Offset": str(offset), **{name.replace("_", "-"): value for name, value in headers.items()}})


def names(directory):
    return sorted(os.listdir(directory))


def hidden(directory):
    return [name for name in names(directory) if name.startswith(".sandbox-")]


def records(server):
    return names(server.run_dir / "uploads")


@pytest.fixture
def place(workdir):
    return pathlib.Path(workdir)


@pytest.fixture
def home(server):
    return home_of(server)


def home_of(server):
    """A directory on a server of its own for files."""
    os.chmod(server.home, 0o755)
    directory = pathlib.Path(server.home, "files")
    directory.mkdir(exist_ok=True)
    return give(directory)


# ---- the protocol ----


def test_a_file_in_pieces(sandbox, place):
    upload = begin(sandbox, place / "new", len(CONTENT), filename="a name of its own")
    answer = head(sandbox, upload)
    assert (answer.status_code, answer.headers["Upload-Offset"], answer.headers["Upload-Length"]) == (200, "0", str(len(CONTENT)))
    assert answer.headers["Upload-Metadata"] == metadata(place / "new", filename="a name of its own")
    assert answer.headers["Cache-Control"] == "no-store" and answer.headers["Tus-Resumable"] == "1.0.0"
    left = email.utils.parsedate_to_datetime(answer.headers["Upload-Expires"]).timestamp() - time.time()
    assert 23 * 3600 < left <= 24 * 3600 + 1
    for begun, end in ((0, 100_000), (100_000, 100_000), (100_000, 299_999), (299_999, 300_000)):
        assert not (place / "new").exists() and len(names(place)) == 1
        answer = patch(sandbox, upload, begun, CONTENT[begun:end])
        assert (answer.status_code, answer.headers["Upload-Offset"], answer.content) == (204, str(end), b"")
        assert ("Upload-Expires" in answer.headers) == (end < 300_000)
    assert names(place) == ["new"] and (place / "new").read_bytes() == CONTENT and stat.S_IMODE((place / "new").stat().st_mode) == 0o644
    assert offset_of(sandbox, upload) == len(CONTENT)
    assert patch(sandbox, upload, len(CONTENT), b"").status_code == 204
    assert sandbox.call("DELETE", upload, headers=TUS).status_code == 204
    assert error_of(patch(sandbox, upload, 0, b""), 404) == "not_found" and (place / "new").read_bytes() == CONTENT


def test_a_file_at_once(sandbox, place):
    for number, body in enumerate((CONTENT, b"")):
        answer = create(sandbox, place / f"new{number}", len(body), body)
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, str(len(body)))
        assert (place / f"new{number}").read_bytes() == body
    answer = create(sandbox, place / "begun", 10, b"01234")
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "5")
    assert patch(sandbox, "/" + answer.headers["Location"], 5, iter([b"56", b"789"])).status_code == 204
    assert (place / "begun").read_bytes() == b"0123456789"
    assert create(sandbox, place / "empty", 0).status_code == 201 and (place / "empty").read_bytes() == b""


def test_options(sandbox):
    answer = sandbox.call("OPTIONS", "/uploads")
    assert answer.status_code == 204 and {"POST", "HEAD", "PATCH", "DELETE"} <= set(answer.headers["Allow"].split(", "))
    assert answer.headers["Tus-Version"] == answer.headers["Tus-Resumable"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) == {"creation", "creation-with-upload", "checksum", "termination", "expiration"}
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256" and answer.headers["Tus-Max-Size"] == str(16 << 30)


def test_versions(sandbox, place):
    for version in ({}, {"Tus-Resumable": "0.2.2"}, {"Tus-Resumable": "1.0"}):
        answer = sandbox.call("POST", "/uploads", headers={**version, "Upload-Length": "1", "Upload-Metadata": metadata(place / "x")})
        assert error_of(answer, 412) == "unsupported" and answer.headers["Tus-Version"] == "1.0.0"
    assert names(place) == []


def test_what_nginx_answers_has_the_version(sandbox):
    assert sandbox.call("HEAD", "/uploads/x", token=False).headers["Tus-Resumable"] == "1.0.0"
    assert "Tus-Resumable" not in sandbox.get("/health").headers


@pytest.mark.parametrize("name", [b"a b%", b"\xff\xfe", "ü".encode(), b"a?b#c,d", b"a\nb", b"n" * 255])
def test_names(sandbox, place, name):
    path = os.path.join(os.fsencode(place), name)
    assert create(sandbox, path, 5, b"of it").status_code == 201
    assert os.listdir(os.fsencode(place)) == [name]
    with open(path, "rb") as file:
        assert file.read() == b"of it"


def test_wrong_requests(sandbox, place):
    def post(**headers):
        given = {**TUS, "Upload-Length": "5", "Upload-Metadata": metadata(place / "x"), **{name.replace("_", "-"): value for name, value in headers.items()}}
        return sandbox.call("POST", "/uploads", headers={name: value for name, value in given.items() if value is not None})

    for length in (None, "", "-1", "5x", "0x5", "5 5", "99999999999999999999", str(1 << 63)):
        assert error_of(post(Upload_Length=length), 400) == "invalid_request", length
    for value in (None, "", "path", "path !", "path " + base64_of("relative"), metadata("/a/../b"), metadata(place / "..") , "path " + base64_of(b"/a\0b"),
                  metadata(place / "x") + "," + metadata(place / "y"), "," + metadata(place / "x"), metadata(place / "x") + ",,a", metadata(place / "x", mode="8"),
                  metadata(place / "x", mtime="y"), metadata(place / "x", parents="2"), metadata(place / "x")[:-1] + "!"):
        assert error_of(post(Upload_Metadata=value), 400) == "invalid_request", value
    assert error_of(create(sandbox, place / "x", 5, b"12345", {"Content-Type": "text/plain"}), 415) == "unsupported"
    assert error_of(create(sandbox, place / "x", 5, b"123456"), 413) == "too_large"
    assert error_of(create(sandbox, place / "x", 17 << 30), 413) == "too_large"
    assert error_of(create(sandbox, place / "none/x", 5), 409) == "not_found"
    assert error_of(create(sandbox, place, 5), 409) == "is_a_directory"
    assert error_of(create(sandbox, "/dev/null", 5), 403) == "unsupported"
    assert error_of(create(sandbox, "/proc/self/comm", 5), 403) == "permission_denied"
    assert names(place) == []


def test_wrong_pieces(sandbox, place):
    upload = begin(sandbox, place / "x", 10)
    for offset in ("", "-1", "x", "0 0"):
        assert error_of(patch(sandbox, upload, offset, b"01234"), 400) == "invalid_request"
    for offset in (1, 5, 11):
        answer = patch(sandbox, upload, offset, b"01234")
        assert error_of(answer, 409) == "precondition_failed" and answer.headers["Upload-Offset"] == "0"
    assert error_of(patch(sandbox, upload, 0, b"0" * 11), 413) == "too_large"
    assert error_of(patch(sandbox, upload, 0, b"01234", Content_Type="application/octet-stream"), 415) == "unsupported"
    assert error_of(patch(sandbox, upload, 0, b"01234", Content_Encoding="gzip"), 415) == "unsupported"
    assert offset_of(sandbox, upload) == 0
    assert error_of(patch(sandbox, upload, 0, iter([b"0" * 20])), 413) == "too_large"
    assert sandbox.call("DELETE", upload, headers=TUS).status_code == 204 and names(place) == []


@pytest.mark.parametrize("path", ["/uploads/x", "/uploads/" + "0" * 32, "/uploads/" + "0" * 33, "/uploads/..", "/uploads/%2e%2e", "/uploads/../files", "/uploads/%2E./x",
                                  "/uploads/" + "0" * 32 + ".done", "/uploads/" + "0" * 32 + "/", "/uploads//" + "0" * 32, "//uploads/x"])
def test_ids_are_no_paths(sandbox, path):
    with sandbox.raw() as raw:
        status, _, body = raw.exchange(http_request("PATCH", path, [("Host", "x"), sandbox.bearer(), *BYTES.items(), ("Upload-Offset", "0"), ("Content-Length", "0")]), "PATCH")
    assert (status, json.loads(body)["error_code"]) in ((404, "not_found"), (405, "method_not_allowed"))


def test_methods(sandbox, place):
    upload = begin(sandbox, place / "x", 2)
    assert error_of(sandbox.call("POST", upload, headers=TUS), 405) == "method_not_allowed"
    assert sandbox.call("HEAD", "/uploads", headers=TUS).status_code == 405
    answer = sandbox.call("POST", upload, b"0", headers={**BYTES, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"})
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "1")
    assert sandbox.call("POST", upload, headers={**TUS, "X-HTTP-Method-Override": "DELETE"}).status_code == 204
    assert names(place) == []


def test_the_location_is_relative_to_the_request(make_server):
    """Also behind a prefix, and behind the slash that some clients add."""
    server = make_server({"SANDBOX_PREFIX": "/a/box"})
    home = home_of(server)
    for path, expected in (("/uploads", "uploads/"), ("/uploads/", ""), ("/a/box/uploads", "uploads/"), ("/a/box/uploads/", "")):
        answer = server.call("POST", path, headers={**TUS, "Upload-Length": "1", "Upload-Metadata": metadata(home / "x")})
        assert re.fullmatch(expected + "[0-9a-f]{32}", answer.headers["Location"]), path
        upload = path[:path.rindex("/") + 1] + answer.headers["Location"]
        assert patch(server, upload, 0, b"x").status_code == 204 and (home / "x").read_bytes() == b"x"
        (home / "x").unlink()


# ---- checksums ----


def checksum(body, algorithm="sha1"):
    return f"{algorithm} {base64_of(hashlib.new(algorithm, body).digest())}"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_checksum(sandbox, place, algorithm):
    upload = begin(sandbox, place / "x", 10)
    answer = patch(sandbox, upload, 0, b"01234", Upload_Checksum=checksum(b"01235", algorithm))
    assert error_of(answer, 460) == "invalid_request" and offset_of(sandbox, upload) == 0
    assert patch(sandbox, upload, 0, b"01234", Upload_Checksum=checksum(b"01234", algorithm)).status_code == 204
    for value in ("md5 AAAA", "sha1", "sha1 AAAA", "sha1 !", checksum(b"56789") + "A", "sha256 " + checksum(b"56789").split()[1]):
        assert error_of(patch(sandbox, upload, 5, b"56789", Upload_Checksum=value), 400) == "invalid_request", value
    assert error_of(patch(sandbox, upload, 5, b"56780", Upload_Checksum=checksum(b"56789", algorithm)), 460) == "invalid_request"
    assert not (place / "x").exists() and offset_of(sandbox, upload) == 5
    assert patch(sandbox, upload, 5, b"56789", Upload_Checksum=checksum(b"56789", algorithm)).status_code == 204
    assert (place / "x").read_bytes() == b"0123456789"
    assert error_of(create(sandbox, place / "y", 5, b"01234", {"Upload-Checksum": checksum(b"x")}), 460) == "invalid_request"
    assert create(sandbox, place / "y", 5, b"01234", {"Upload-Checksum": checksum(b"01234")}).status_code == 201
    assert names(place) == ["x", "y"]


# ---- cuts ----


@contextlib.contextmanager
def half_sent(server, upload, home, offset=0, announced=1 << 20, sent=1 << 19, headers=()):
    """A PATCH of which so much is on its way, and written."""
    with RawConnection(server.host, server.port) as raw:
        raw.send(http_request("PATCH", upload, [("Host", "x"), server.bearer(), *BYTES.items(), ("Upload-Offset", str(offset)), ("Content-Length", str(announced)), *headers],
                              b"n" * sent))
        part, = hidden(home)
        wait_until(lambda: (home / part).stat().st_size >= offset + sent - 65536, "what was sent to be written")
        yield raw


def is_free(server, home):
    return not any(name.startswith(str(home)) for name in descriptors(server.daemon("fcgi-app")))


def test_a_hang_up_keeps_what_came(server, home):
    upload = begin(server, home / "x", 1 << 20)
    with half_sent(server, upload, home):
        pass
    wait_until(lambda: is_free(server, home), "the end of the request")
    assert offset_of(server, upload) == 1 << 19
    assert patch(server, upload, 1 << 19, b"m" * (1 << 19)).status_code == 204
    assert (home / "x").read_bytes() == b"n" * (1 << 19) + b"m" * (1 << 19) and names(home) == ["x"]


@pytest.mark.parametrize("daemon", ["fcgi-app", "nginx", "procd"])
def test_a_daemon_that_dies_costs_little(server, home, daemon):
    upload = begin(server, home / "x", 1 << 20)
    with half_sent(server, upload, home):
        old = server.kill_daemon(daemon)
        server.back(daemon, old)
        offset = offset_of(server, upload)
        assert (1 << 19) - 65536 <= offset <= 1 << 19
    if daemon == "procd":
        wait_until(lambda: is_free(server, home), "the end of the request")
        offset = offset_of(server, upload)
    assert patch(server, upload, offset, b"m" * ((1 << 20) - offset)).status_code == 204
    assert (home / "x").read_bytes() == b"n" * offset + b"m" * ((1 << 20) - offset) and names(home) == ["x"]


@pytest.mark.parametrize("dies", [False, True])
def test_a_checked_piece_counts_as_a_whole(server, home, dies):
    upload = begin(server, home / "x", 1 << 20)
    assert patch(server, upload, 0, b"01234").status_code == 204
    with half_sent(server, upload, home, 5, 1000_000, 1 << 19, [("Upload-Checksum", checksum(b"n" * 1000_000))]):
        assert offset_of(server, upload) == 5
        if dies:
            server.back("fcgi-app", server.kill_daemon("fcgi-app"))
    wait_until(lambda: is_free(server, home), "the end of the request")
    assert offset_of(server, upload) == 5
    rest = os.urandom((1 << 20) - 5)
    assert patch(server, upload, 5, rest, Upload_Checksum=checksum(rest)).status_code == 204
    assert (home / "x").read_bytes() == b"01234" + rest and [name for name in records(server) if ".mark" in name] == []


def test_two_writers(server, home):
    """The second is refused, unless the first has been silent for a while; then the first is ended."""
    upload = begin(server, home / "x", 1 << 20)
    with half_sent(server, upload, home) as first:
        answer = patch(server, upload, offset_of(server, upload), b"x")
        assert error_of(answer, 423) == "in_use" and answer.headers["Retry-After"] and answer.headers["Tus-Resumable"]
        offset = 1 << 19

        def goes_on():
            first.send(b"n" * 65536)
            return patch(server, upload, offset_of(server, upload), b"x").status_code

        assert goes_on() == 423
        wait_until(lambda: patch(server, upload, offset_of(server, upload), b"m").status_code == 204, "the place of a client that is silent")
        status, _, _ = first.response("PATCH")
        assert status == 409
    offset = (1 << 19) + 65536 + 1
    assert offset_of(server, upload) == offset
    assert patch(server, upload, offset, b"m" * ((1 << 20) - offset)).status_code == 204
    assert (home / "x").read_bytes() == b"n" * (offset - 1) + b"m" * ((1 << 20) - offset + 1)


def test_many_writers(sandbox, place):
    """Of many that send the same piece one does it."""
    upload = begin(sandbox, place / "x", 100_000)
    for offset in range(0, 100_000, 20_000):
        statuses = in_threads(6, lambda number, offset=offset: patch(sandbox, upload, offset, b"%d" % number * 20_000).status_code)
        assert statuses.count(204) == 1 and set(statuses) <= {204, 409, 423}
        assert offset_of(sandbox, upload) == offset + 20_000
    content = (place / "x").read_bytes()
    assert len(content) == 100_000 and all(len(set(content[begun:begun + 20_000])) == 1 for begun in range(0, 100_000, 20_000))


def test_a_removal_ends_what_is_sent(server, home):
    upload = begin(server, home / "x", 1 << 20)
    with half_sent(server, upload, home) as raw:
        assert server.call("DELETE", upload, headers=TUS).status_code == 204
        assert raw.response("PATCH")[0] in (404, 409)
    assert names(home) == [] and records(server) == []


def test_the_last_bytes_without_the_name(server, home):
    """A daemon may die between the two: the next who asks gets the file its name."""
    upload = begin(server, home / "x", 10)
    part, = hidden(home)
    (home / part).write_bytes(b"0123456789")
    assert offset_of(server, upload) == 10 and names(home) == ["x"] and (home / "x").read_bytes() == b"0123456789"


def test_the_name_without_a_word(server, home):
    """Or between the name and the record."""
    upload = begin(server, home / "x", 10)
    part, = hidden(home)
    (home / part).write_bytes(b"0123456789")
    (home / part).rename(home / "x")
    assert offset_of(server, upload) == 10
    assert patch(server, upload, 10, b"").status_code == 204 and (home / "x").read_bytes() == b"0123456789"
    assert records(server) == [upload.rpartition("/")[2] + ".done"]


# ---- the end ----


def test_parents_mode_and_time(sandbox, place):
    path = place / "a/b c/file"
    assert create(sandbox, path, 1, b"x", parents="1", mode="0755", mtime="1700000000.25").status_code == 201
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o755 and status.st_mtime_ns == 1_700_000_000_250_000_000
    assert create(sandbox, path, 1, b"y").status_code == 201 and stat.S_IMODE(path.stat().st_mode) == 0o755


def test_exclusive(sandbox, place):
    upload = begin(sandbox, place / "x", 1, exclusive="")
    (place / "x").write_bytes(b"other")
    give(place / "x")
    assert error_of(patch(sandbox, upload, 0, b"x"), 412) == "precondition_failed" and (place / "x").read_bytes() == b"other"
    (place / "x").unlink()
    assert patch(sandbox, upload, 1, b"").status_code == 204 and (place / "x").read_bytes() == b"x" and names(place) == ["x"]


def test_what_must_be_written_in_place(sandbox, place):
    """A file with two names keeps them; a link stays one."""
    (place / "x").write_bytes(b"old")
    give(place / "x")
    os.link(place / "x", place / "y")
    (place / "link").symlink_to("x")
    assert create(sandbox, place / "link", len(CONTENT), CONTENT).status_code == 201
    assert (place / "y").read_bytes() == CONTENT and (place / "link").is_symlink() and names(place) == ["link", "x", "y"]


def test_a_target_that_changes_meanwhile(sandbox, place):
    upload = begin(sandbox, place / "x", 10)
    assert patch(sandbox, upload, 0, b"01234").status_code == 204
    (place / "x").mkdir()
    assert error_of(patch(sandbox, upload, 5, b"56789"), 409) == "is_a_directory"
    assert head(sandbox, upload).status_code == 409
    (place / "x").rmdir()
    (place / "elsewhere").mkdir()
    give(place / "elsewhere")
    (place / "elsewhere/y").write_bytes(b"old")
    give(place / "elsewhere/y")
    (place / "x").symlink_to("elsewhere/y")
    assert offset_of(sandbox, upload) == 10
    assert (place / "elsewhere/y").read_bytes() == b"0123456789" and names(place) == ["elsewhere", "x"] and names(place / "elsewhere") == ["y"]


def test_a_directory_that_moves(sandbox, place):
    (place / "a").mkdir()
    give(place / "a")
    upload = begin(sandbox, place / "a/x", 10)
    (place / "a").rename(place / "b")
    assert head(sandbox, upload).status_code == 410 and error_of(patch(sandbox, upload, 0, b"x"), 410) == "not_found"
    (place / "b").rename(place / "a")
    assert patch(sandbox, upload, 0, b"0123456789").status_code == 204 and (place / "a/x").read_bytes() == b"0123456789"


def test_tampering(sandbox, place):
    """What lies in the place of the unfinished file is neither written nor removed, and not followed."""
    secret = place / "secret"
    for number, put in enumerate((lambda path: path.symlink_to(secret), lambda path: os.link(secret, path), lambda path: path.write_bytes(b"mine"), os.mkfifo, os.mkdir)):
        secret.write_bytes(b"old")
        give(secret)
        upload = begin(sandbox, place / f"x{number}", 10)
        part, = hidden(place)
        (place / part).unlink()
        put(place / part)
        give(place / part)
        assert error_of(patch(sandbox, upload, 0, b"0123456789"), 410) == "not_found"
        assert head(sandbox, upload).status_code == 410
        assert sandbox.call("DELETE", upload, headers=TUS).status_code == 204
        assert hidden(place) == [part] and secret.read_bytes() == b"old" and not (place / f"x{number}").exists()
        (os.rmdir if put is os.mkdir else os.unlink)(place / part)
    upload = begin(sandbox, place / "longer", 10)
    part, = hidden(place)
    (place / part).write_bytes(b"x" * 11)
    assert head(sandbox, upload).status_code == 410


def test_a_record_adds_no_header(server, home):
    """What clients and commands can write into a record becomes no header: nginx would obey some, and sign a grant."""
    upload = begin(server, home / "x", 5)
    record = server.run_dir / "uploads" / upload.rpartition("/")[2]
    content = record.read_bytes()
    orders = b"\r\nX-Accel-Redirect: @nginx_sandbox_signed\r\nX-Sandbox-Grant: file GET 99999999999999 /files/etc/passwd?"
    for added in (orders, b"\nX-Added: 1"):
        record.write_bytes(content[:-1] + added + b"\0")
        assert head(server, upload).status_code == 404
        assert error_of(server.call("POST", upload, headers={**TUS, "X-HTTP-Method-Override": "HEAD"}), 404) == "not_found"
    record.write_bytes(content)
    assert head(server, upload).status_code == 200


@pytest.mark.own_user
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_as_the_commands_user(make_server, place):
    server = make_server({"SANDBOX_USER": "nobody"})
    os.chmod(place, 0o755)
    assert error_of(create(server, place / "x", 5), 403) == "permission_denied"
    os.chmod(place, 0o777)
    upload = begin(server, place / "x", 5, mode="0600")
    part, = hidden(place)
    assert ((place / part).stat().st_uid, stat.S_IMODE((place / part).stat().st_mode)) == (user_ids("nobody")[0], 0o600)
    assert server.run(f"ls {server.run_dir}/uploads")["code"] != 0
    server.back("fcgi-app", server.kill_daemon("fcgi-app"))
    assert patch(server, upload, 0, b"01234").status_code == 204
    status = (place / "x").stat()
    assert (status.st_uid, status.st_gid) == user_ids("nobody") and stat.S_IMODE(status.st_mode) == 0o600


@pytest.mark.own_user
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_records_of_another_user(make_server, place):
    """A record that the commands' user could write gives a later server, which is root, no order."""
    server = make_server({"SANDBOX_USER": "nobody"})
    os.chmod(place, 0o777)
    (place / "victim").mkdir(mode=0o755)
    begin(server, place / "x", 5)
    record = server.run_dir / "uploads" / records(server)[0]
    victim = place / "victim/.sandbox-of-root"
    victim.write_bytes(b"root's")
    fields = record.read_bytes().split(b"\0")
    fields[3:6] = [b"%d" % victim.stat().st_ino, fields[4], os.fsencode(victim)]
    with open(record, "wb") as file:
        file.write(b"\0".join(fields))
    part, = hidden(place)
    server.crash()
    del server.settings["SANDBOX_USER"]
    server.boot()
    wait_until(lambda: records(server) == [], "the end of the record")
    assert victim.exists() and hidden(place) == [part]


# ---- limits, expiry, starts ----


def test_limits(make_server):
    server = make_server({"SANDBOX_MAX_UPLOADS": "2", "SANDBOX_MAX_UPLOAD": "100k"})
    home = home_of(server)
    assert server.call("OPTIONS", "/uploads").headers["Tus-Max-Size"] == "102400"
    assert error_of(create(server, home / "x", 102401), 413) == "too_large"
    uploads = [begin(server, home / f"{number}", 102400) for number in range(2)]
    answer = create(server, home / "x", 1)
    assert error_of(answer, 503) == "unavailable" and "SANDBOX_MAX_UPLOADS" in answer.json()["error"] and answer.headers["Retry-After"]
    assert len(hidden(home)) == 2
    assert patch(server, uploads[0], 0, b"x" * 102400).status_code == 204
    assert create(server, home / "x", 1, b"x").status_code == 201


def test_metrics(make_server):
    server = make_server({"SANDBOX_METRICS_LISTEN": "off"})
    home = home_of(server)
    begin(server, home / "x", 10)
    assert server.get("/health?full=1").json()["queue"]["uploads"] == 1


def test_expiry(make_server):
    server = make_server({"SANDBOX_UPLOAD_LIFETIME": "1s"})
    home = home_of(server)
    upload = begin(server, home / "x", 10)
    assert create(server, home / "y", 1, b"y").status_code == 201
    wait_until(lambda: names(home) == ["y"] and records(server) == [], "the end of the upload")
    assert error_of(patch(server, upload, 0, b"x"), 404) == "not_found"


def test_what_receives_does_not_expire(make_server):
    server = make_server({"SANDBOX_UPLOAD_LIFETIME": "1s"})
    home = home_of(server)
    upload, other = begin(server, home / "x", 1 << 20), home / "y"
    with half_sent(server, upload, home) as raw:
        begin(server, other, 10)
        wait_until(lambda: len(hidden(home)) == 1, "the end of the other")
        raw.send(b"n" * (1 << 19))
        assert raw.response("PATCH")[0] == 204
    assert (home / "x").read_bytes() == b"n" * (1 << 20)


def test_a_stop_ends_uploads(server, home):
    begin(server, home / "x", 10)
    assert len(hidden(home)) == 1
    server.stop()
    assert names(home) == []


@pytest.mark.parametrize("times", [1, 2])
def test_a_start_after_a_crash_ends_uploads(server, home, times):
    """Also of a server that died before its fcgi-app had done that."""
    upload = begin(server, home / "x", 10)
    done = create(server, home / "y", 1, b"y")
    for _ in range(times):
        server.crash()
        server.boot()
    wait_until(lambda: names(home) == ["y"] and records(server) == [], "the end of the uploads")
    assert head(server, upload).status_code == 404 and head(server, "/" + done.headers["Location"]).status_code == 404


@pytest.mark.skipif(not mounting_is_allowed(), reason="may not mount")
def test_a_full_disk(tmp_path):
    """What came stays, and goes on where there is room again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    os.chmod(tmp_path, 0o755)
    with Server({"SANDBOX_MIN_FREE": "100k"}, prefix=with_a_small_disk(str(disk))) as server:
        assert error_of(create(server, disk / "x", 2_000_000), 507) == "no_space"
        upload = begin(server, disk / "x", 700_000)
        assert patch(server, upload, 0, b"x" * 300_000).status_code == 204
        server.shell(f"head -c 500000 /dev/zero >{disk}/other")
        assert error_of(patch(server, upload, 300_000, b"x" * 400_000), 507) == "no_space"
        answer = patch(server, upload, 300_000, iter([b"x" * 50_000] * 8))
        assert error_of(answer, 507) == "no_space"
        offset = offset_of(server, upload)
        assert 300_000 <= offset < 700_000
        server.shell(f"rm {disk}/other")
        assert patch(server, upload, offset, b"x" * (700_000 - offset)).status_code == 204
        assert server.shell(f"ls -A {disk}; wc -c <{disk}/x").split() == ["x", "700000"]


# ---- a published client ----


@pytest.fixture(scope="module")
def modules():
    """Where node finds tus-js-client."""
    with npm_packages(TUS_CLIENT) as directory:
        yield directory


class TusClient:
    """tus_upload.js with a file; its requests wait for go()."""

    def __init__(self, modules, server, file, target, endpoint="/uploads"):
        script = pathlib.Path(__file__).with_name("tus_upload.js")
        self.process = subprocess.Popen(["node", script, server.url + endpoint, server.secret, file, target], env={**os.environ, "NODE_PATH": modules},
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def asks(self):
        """Waits until it wants to send a request."""
        line = self.process.stdout.readline()
        assert line == "may I\n", line

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def finish(self):
        """Lets it do what it wants until it has ended; what it says then."""
        while (line := self.process.stdout.readline()) == "may I\n":
            self.go()
        assert self.process.wait(BIG_TIMEOUT) == 0
        return json.loads(line)


@pytest.mark.slow
def test_a_client_whose_server_dies_six_times(server, home, modules, tmp_path):
    """
    200 MB while fcgi-app and nginx are killed three times each. What was written counts: sent twice is only what was on its way,
    in the buffers of sockets and of nginx. Linux lets each of these TCP connections hold up to tcp_wmem and tcp_rmem.
    """
    size, kills = 200_000_000, ["fcgi-app", "nginx"] * 3
    file = tmp_path / "file"
    file.write_bytes(os.urandom(size // 100) * 100)
    with TusClient(modules, server, file, home / "target") as client:
        client.asks()
        client.go()
        begun = 0
        for daemon in kills:
            pid = wait_until(lambda daemon=daemon: server.daemon(daemon), f"{daemon} to run")
            client.asks()
            while not hidden(home):
                pass
            part, = hidden(home)
            client.go()  # a HEAD after a cut, or a PATCH
            if begun:
                client.asks()
                client.go()
            while (home / part).stat().st_size < begun + 20_000_000:
                time.sleep(0.0005)
            os.kill(pid, signal.SIGKILL)
            server.back(daemon, pid)
            begun = (home / part).stat().st_size
            assert begun < size - 20_000_000
        end = client.finish()
    assert (home / "target").read_bytes() == file.read_bytes() and names(home) == ["target"]
    twice = end["sent"] - size
    print(f"sent twice: {twice} bytes, {twice // len(kills)} for each cut")
    most = sum(int(pathlib.Path(f"/proc/sys/net/ipv4/{name}").read_text().split()[2]) for name in ("tcp_wmem", "tcp_rmem"))
    assert 0 <= twice <= len(kills) * (most + 1_000_000) + 100_000


def test_a_client_behind_a_prefix(make_server, modules, tmp_path):
    server = make_server({"SANDBOX_PREFIX": "/a/box"})
    home = home_of(server)
    (tmp_path / "file").write_bytes(CONTENT)
    for endpoint in ("/a/box/uploads", "/a/box/uploads/"):
        with TusClient(modules, server, tmp_path / "file", home / "target", endpoint) as client:
            end = client.finish()
        assert re.fullmatch(r"http://[^/]+/a/box/uploads/[0-9a-f]{32}", end["url"]) and (home / "target").read_bytes() == CONTENT
        (home / "target").unlink()
