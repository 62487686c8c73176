"""GET and HEAD of /files: bytes as they are, ranges, conditions, and what is no plain file."""

import email.utils
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import urllib.parse

import pytest

from sandbox import BIG_TIMEOUT, TEST_USER, RawConnection, descriptors, http_request, user_ids, wait_until

pytestmark = pytest.mark.host

CONTENT = bytes(range(256)) * 40


def quoted(path):
    """The target of a path, each byte that may be as %xx."""
    return "/files" + urllib.parse.quote(os.fsencode(path))


def get(sandbox, path, **headers):
    return sandbox.get(quoted(path), headers={name.replace("_", "-"): value for name, value in headers.items()})


def error_of(answer, status):
    assert answer.status_code == status, (answer.status_code, answer.text[:300])
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["error"]
    return answer.json()["error_code"]


def give(path):
    """Makes something here that of the user whom the tests' servers have for commands."""
    if TEST_USER:
        os.chown(path, *user_ids(TEST_USER), follow_symlinks=False)
    return path


@pytest.fixture
def file(workdir):
    path = pathlib.Path(workdir, "file.txt")
    path.write_bytes(CONTENT)
    return give(path)


@pytest.fixture
def old_file(file):
    """One that was changed last at a whole second of the past: its date is as strong as its tag."""
    os.utime(file, (1_000_000_000, 1_000_000_000))
    return file


DATE = email.utils.formatdate(1_000_000_000, usegmt=True)
BEFORE, AFTER = (email.utils.formatdate(1_000_000_000 + seconds, usegmt=True) for seconds in (-1, 1))


# ---- a file ----


def test_a_file(sandbox, old_file):
    answer = get(sandbox, old_file)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    headers = answer.headers
    assert headers["Content-Length"] == str(len(CONTENT)) and headers["Accept-Ranges"] == "bytes"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert headers["Last-Modified"] == DATE and re.fullmatch(r'"[0-9a-f.-]+"', headers["ETag"])
    assert headers["Cache-Control"] == "no-cache" and "Content-Disposition" not in headers
    head = sandbox.call("HEAD", quoted(old_file))
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Accept-Ranges"):
        assert head.headers[name] == headers[name]


@pytest.mark.parametrize("size", [0, 1, 6143, 6144, 6145, 65527, 65528, 65529, 131056, 131057, 262144, 1 << 20, 3_000_001])
def test_sizes(sandbox, workdir, size):
    path = pathlib.Path(workdir, "sized")
    content = os.urandom(size)
    path.write_bytes(content)
    answer = get(sandbox, path)
    assert answer.content == content and answer.headers["Content-Length"] == str(size)
    if size:
        answer = get(sandbox, path, Range=f"bytes={size // 3}-")
        assert (answer.status_code, answer.content) == (206, content[size // 3:])


def test_the_tag_changes_with_the_file(sandbox, file):
    """Also within a second, in place, and when the date is set back."""
    seen = {get(sandbox, file).headers["ETag"]}
    status = file.stat()
    for change in (lambda: file.write_bytes(CONTENT[::-1]), lambda: file.write_bytes(CONTENT + b"x"), lambda: os.utime(file, ns=(0, status.st_mtime_ns)),
                   lambda: os.replace(shutil.copy2(file, f"{file}2"), file)):
        before = file.stat().st_ctime_ns
        while file.stat().st_ctime_ns == before:  # the clock of files ticks every few milliseconds
            change()
        seen.add(get(sandbox, file).headers["ETag"])
    assert len(seen) == 5


def test_types(sandbox, workdir):
    """By the extension, as the system's list has it."""
    listed = pathlib.Path("/etc/mime.types")
    types = {}
    for line in listed.read_text().splitlines() if listed.exists() else ():
        kind, *extensions = line.partition("#")[0].split() or [""]
        types.update(dict.fromkeys(extensions, kind))
    for name, extension in (("a.html", "html"), ("b.PNG", "png"), ("c.tar.gz", "gz"), ("d.unknown-extension", None), ("plain", None), (".json", "json"),
                            ("e.", None), ("f.css", "css")):
        path = pathlib.Path(workdir, name)
        path.write_bytes(b"<script>")
        assert get(sandbox, path).headers["Content-Type"] == types.get(extension, "application/octet-stream"), name


def test_download(sandbox, workdir):
    for name, expected in (("plain.txt", 'attachment; filename="plain.txt"; filename*=UTF-8\'\'plain.txt'),
                           ('a "b"\\;\n%', 'attachment; filename="a _b_____"; filename*=UTF-8\'\'a%20%22b%22%5C%3B%0A%25'),
                           ("ü", 'attachment; filename="__"; filename*=UTF-8\'\'%C3%BC'), (b"\xff.x", 'attachment; filename="_.x"')):
        path = os.path.join(os.fsencode(workdir), os.fsencode(name))
        with open(path, "wb") as file:
            file.write(b"x")
        answer = sandbox.get(quoted(path) + "?download=1")
        assert (answer.content, answer.headers["Content-Disposition"]) == (b"x", expected)
    longest = "é" * 127
    pathlib.Path(workdir, longest).write_bytes(b"y")
    answer = sandbox.get(quoted(f"{workdir}/{longest}") + "?download=true")
    assert answer.headers["Content-Disposition"].endswith("%C3%A9" * 127) and answer.headers["ETag"]
    assert "Content-Disposition" not in sandbox.get(quoted(f"{workdir}/plain.txt") + "?download=0").headers
    assert error_of(sandbox.get(quoted(f"{workdir}/plain.txt") + "?download=2"), 400) == "invalid_request"


# ---- names ----


@pytest.mark.parametrize("name", [b"a b", b"%", b"%41", b"a?b#c", b"\xff\xfe", "ü✓".encode(), b"+", b"a\nb\r", b"\\", b";'\"", b"\x01\x7f", b"a&b=c", b"...", b"n" * 255])
def test_names(sandbox, workdir, name):
    """Any bytes; escaped where they must be, and everywhere."""
    path = os.path.join(os.fsencode(workdir), name)
    with open(path, "wb") as file:
        file.write(b"of " + name)
    everywhere = "/files" + "".join(f"%{byte:02x}" if byte != 0x2f else "/" for byte in path)
    slashes = "/files/" + "".join(f"%{byte:02X}" for byte in path)
    for target in (quoted(path), everywhere, slashes, quoted(path).replace("/nxs", "//nxs").replace("/files/", "/files//")):
        with sandbox.raw() as raw:
            status, _, body = raw.exchange(http_request("GET", target, [("Host", "x"), sandbox.bearer()]))
        assert (status, body) == (200, b"of " + name), target


def test_paths_that_are_none(sandbox, file):
    def ask(target):
        with sandbox.raw() as raw:
            status, _, body = raw.exchange(http_request("GET", target, [("Host", "x"), sandbox.bearer()]))
        return status, json.loads(body)["error_code"]

    assert ask(f"/files{file.parent}/x/../file.txt") == (400, "invalid_path")
    assert ask(f"/files{file.parent}/%2e%2E/x") == (400, "invalid_path")
    assert ask(f"/files{file.parent}%2f..%2fx") == (400, "invalid_path")
    assert ask(f"/files{file}%00") == (400, "invalid_request")
    assert ask(f"//files{file}") == ask(f"/x/../files{file}") == ask(f"/%66iles{file}") == ask(f"/filesx{file}") == (404, "not_found")
    assert ask(f"/files{file}/") == (404, "not_a_directory")
    assert ask(f"/files{file.parent}/{'n' * 256}") == (400, "invalid_path")
    assert ask(f"/files{file.parent}{'/n' * 2500}") == (400, "invalid_path")


def test_the_token(sandbox, file):
    answer = sandbox.get(quoted(file), token=False)
    assert error_of(answer, 401) == "unauthorized" and answer.headers["WWW-Authenticate"]


def test_below_a_prefix(make_server, file):
    server = make_server({"SANDBOX_PREFIX": "/box,/a/b"})
    for prefix in ("", "/box", "/a/b"):
        answer = server.get(prefix + quoted(file))
        assert (answer.status_code, answer.content) == (200, CONTENT)
        assert error_of(server.get(prefix + quoted(file), token=False), 401) == "unauthorized"


# ---- ranges ----


SIZE = len(CONTENT)
RANGES = [
    ("bytes=0-0", 0, 1), ("bytes=0-", 0, SIZE), ("bytes=5-9", 5, 10), (f"bytes={SIZE - 1}-", SIZE - 1, SIZE), ("bytes=-1", SIZE - 1, SIZE),
    ("bytes=-99999999999999999999999", 0, SIZE), (f"bytes=9-{SIZE}", 9, SIZE), ("bytes=9-99999999999999999999999", 9, SIZE), ("Bytes=1-2", 1, 3),
    ("bytes= 1-2 ", 1, 3), (f"bytes=1-{SIZE - 1}", 1, SIZE), (f"bytes=-{SIZE}", 0, SIZE),
]


@pytest.mark.parametrize("value, first, end", RANGES)
def test_a_range(sandbox, file, value, first, end):
    answer = get(sandbox, file, Range=value)
    assert (answer.status_code, answer.content) == (206, CONTENT[first:end])
    assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/{SIZE}" and answer.headers["Content-Length"] == str(end - first)
    assert answer.headers["ETag"] == get(sandbox, file).headers["ETag"]
    head = sandbox.call("HEAD", quoted(file), headers={"Range": value})
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(SIZE))


@pytest.mark.parametrize("value", ["bytes=0-1,4-5", "bytes=0-1,", "bytes=5-4", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "lines=0-1", "bytes=1-2x", "bytes 1-2",
                                   "bytes=1 -2", "bytes=--1", "bytes=0x1-2", "x"])
def test_what_is_no_range_gives_all(sandbox, file, value):
    answer = get(sandbox, file, Range=value)
    assert (answer.status_code, answer.content) == (200, CONTENT) and "Content-Range" not in answer.headers


@pytest.mark.parametrize("value", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=99999999999999999999999-", "bytes=-0"])
def test_a_range_behind_the_end(sandbox, file, value):
    answer = get(sandbox, file, Range=value)
    assert error_of(answer, 416) == "invalid_request" and answer.headers["Content-Range"] == f"bytes */{SIZE}"


def test_ranges_of_an_empty_file(sandbox, workdir):
    path = pathlib.Path(workdir, "empty")
    path.touch()
    assert error_of(get(sandbox, path, Range="bytes=0-"), 416) == "invalid_request"
    answer = get(sandbox, path, Range="bytes=-5")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_range_beyond_4_gib(sandbox, workdir):
    path = pathlib.Path(workdir, "sparse")
    with open(path, "wb") as file:
        file.seek(5 << 30)
        file.write(b"end")
    answer = get(sandbox, path, Range="bytes=-3")
    assert (answer.status_code, answer.content, answer.headers["Content-Range"]) == (206, b"end", f"bytes {5 << 30}-{(5 << 30) + 2}/{(5 << 30) + 3}")


def test_if_range(sandbox, old_file):
    tag = get(sandbox, old_file).headers["ETag"]
    for value, status in ((tag, 206), (tag[:-1] + '0"', 200), ("W/" + tag, 200), (DATE, 206), (AFTER, 200), (BEFORE, 200), ("x", 200), (tag.strip('"'), 200)):
        answer = get(sandbox, old_file, Range="bytes=1-2", If_Range=value)
        assert answer.status_code == status, value
        assert answer.content == (CONTENT[1:3] if status == 206 else CONTENT)
    assert get(sandbox, old_file, Range=f"bytes={SIZE}-", If_Range='"other"').status_code == 200
    assert get(sandbox, old_file, Range=f"bytes={SIZE}-", If_Range=tag).status_code == 416
    # A date does not tell apart what happens in its second.
    ahead = 4_000_000_000
    os.utime(old_file, (ahead, ahead))
    assert get(sandbox, old_file, Range="bytes=1-2", If_Range=email.utils.formatdate(ahead, usegmt=True)).status_code == 200


# ---- conditions ----


def conditions(tag):
    """(headers, status): section 13.2.2 of RFC 9110, row by row."""
    other, weak = '"other"', f"W/{tag}"
    yield from ((f"If-Match: {value}", status) for value, status in (
        (tag, 200), ("*", 200), (other, 412), (weak, 412), (f"{other}, {tag}", 200), (f'"a,b" ,{tag}', 200), (f"{other},{other}", 412), ("x", 412), (f"x, {tag}", 412)))
    yield from ((f"If-Unmodified-Since: {value}", status) for value, status in ((DATE, 200), (AFTER, 200), (BEFORE, 412), ("x", 200)))
    yield from ((f"If-None-Match: {value}", status) for value, status in (
        (tag, 304), (weak, 304), ("*", 304), (other, 200), (f"{other}, {tag}", 304), (f"{other}, {weak}", 304), ("x", 200), (tag.strip('"'), 200)))
    yield from ((f"If-Modified-Since: {value}", status) for value, status in ((DATE, 304), (AFTER, 304), (BEFORE, 200), ("x", 200)))
    # The first of each pair decides.
    yield f"If-Match: {tag}|If-Unmodified-Since: {BEFORE}", 200
    yield f"If-Match: {other}|If-Unmodified-Since: {AFTER}", 412
    yield f"If-None-Match: {other}|If-Modified-Since: {AFTER}", 200
    yield f"If-None-Match: {tag}|If-Modified-Since: {BEFORE}", 304
    yield f"If-Match: {tag}|If-None-Match: {tag}", 304
    yield f"If-Match: {other}|If-None-Match: {tag}", 412
    yield f"If-Unmodified-Since: {BEFORE}|If-Modified-Since: {AFTER}", 412
    # A range comes after all of them.
    yield f"Range: bytes={SIZE}-|If-Match: {other}", 412
    yield f"Range: bytes=0-1|If-None-Match: {tag}", 304
    yield f"Range: bytes=0-1|If-Match: {tag}", 206
    # All three forms of a date.
    yield "If-Modified-Since: Sunday, 09-Sep-01 01:46:40 GMT", 304
    yield "If-Modified-Since: Sun Sep  9 01:46:40 2001", 304
    yield "If-Modified-Since: Sun Sep  9 01:46:39 2001", 200
    yield f"If-Modified-Since: {DATE} x", 200


def test_conditions(sandbox, old_file):
    tag = get(sandbox, old_file).headers["ETag"]
    count = 0
    for lines, status in conditions(tag):
        headers = dict(line.split(": ", 1) for line in lines.split("|"))
        for method in ("GET", "HEAD"):
            answer = sandbox.call(method, quoted(old_file), headers=headers)
            assert answer.status_code == (200 if (method, status) == ("HEAD", 206) else status), (method, lines)
            if status == 304:
                assert answer.content == b"" and answer.headers["ETag"] == tag
            if status == 412 and method == "GET":
                assert error_of(answer, 412) == "precondition_failed"
        count += 1
    assert count > 30
    assert error_of(get(sandbox, f"{old_file}-none", If_Match="*"), 404) == "not_found"


# ---- what is no plain file ----


def test_a_directory(sandbox, workdir):
    for name in ("b", "ä", "a"):
        pathlib.Path(workdir, name).touch()
    with open(os.path.join(os.fsencode(workdir), b"z\xff"), "wb"):
        pass
    for target in (quoted(workdir), quoted(workdir) + "/"):
        answer = sandbox.get(target)
        assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
        assert answer.json() == {"entries": ["a", "b", "z\ufffd", "ä"]} and "ETag" not in answer.headers
    assert sandbox.call("HEAD", quoted(workdir)).status_code == 200
    assert error_of(get(sandbox, workdir, If_Match='"x"'), 412) == "precondition_failed"
    names = os.listdir("/")
    assert set(names) <= set(sandbox.get("/files").json()["entries"]) | set(names) and sandbox.get("/files/").json() == sandbox.get("/files").json()


def test_links_are_followed(sandbox, file):
    link = file.with_name("link")
    link.symlink_to(file.name)
    assert get(sandbox, link).content == CONTENT and get(sandbox, link).headers["Content-Type"] == "application/octet-stream"
    file.unlink()
    assert error_of(get(sandbox, link), 404) == "not_found"
    link.with_name("round").symlink_to("round")
    assert error_of(get(sandbox, link.with_name("round")), 400) == "invalid_path"


def test_what_has_no_size(sandbox):
    for path in ("/proc/version", "/proc/cpuinfo", "/sys/kernel/mm/transparent_hugepage/enabled"):
        if os.path.exists(path):
            answer = get(sandbox, path)
            assert answer.status_code == 200 and answer.content and "Content-Length" not in answer.headers and "ETag" not in answer.headers, path
            assert path == "/proc/cpuinfo" or answer.content == pathlib.Path(path).read_bytes()
            assert sandbox.call("HEAD", path=quoted(path)).status_code == 200
    # Larger than what is read at once.
    identifier = sandbox.start("exec python3 -c 'import mmap,time\nm = [mmap.mmap(-1, 4096 * (1 + i % 2), prot=1 + i % 2) for i in range(3000)]\nprint(1, flush=True)\ntime.sleep(1000)'")
    with sandbox.logs(identifier["id"]) as logs:
        logs.next()
    answer = get(sandbox, f"/proc/{identifier['pid']}/maps")
    assert answer.status_code == 200 and len(answer.content) > 70000 and answer.content.endswith(b"\n")


@pytest.mark.parametrize("path", ["/proc/self", "/proc/self/status", "/proc/thread-self/status", "/dev/fd/0", "/proc/self/fd/0", "/dev/stdin", "/proc/self/cwd"])
def test_what_is_the_servers_own(sandbox, workdir, path):
    answer = get(sandbox, path)
    assert error_of(answer, 403) == "permission_denied" and "server's own" in answer.json()["error"]
    link = pathlib.Path(workdir, "link")
    link.symlink_to(path)
    assert error_of(get(sandbox, link), 403) == "permission_denied"
    assert sandbox.call("DELETE", quoted(link)).status_code == 204 and not link.is_symlink()


def test_the_servers_own_threads_are_its_own(sandbox):
    """Each has a directory in /proc, beside those of the processes, that a list of /proc does not show."""
    if not sandbox.local:
        pytest.skip("the server's threads are elsewhere")
    for thread in os.listdir(f"/proc/{sandbox.daemon('fcgi-app')}/task"):
        assert error_of(get(sandbox, f"/proc/{thread}/comm"), 403) == "permission_denied"


def test_kinds_that_are_refused(sandbox, workdir):
    fifo, listening = f"{workdir}/fifo", f"{workdir}/socket"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(listening)
        for path in ("/dev/null", "/dev/zero", "/dev/tty", fifo, listening):
            answer = get(sandbox, path)
            assert error_of(answer, 403) == "unsupported" and "Not a regular file" in answer.json()["error"], path


def test_errors(sandbox, file):
    assert error_of(get(sandbox, f"{file}-none"), 404) == "not_found"
    assert error_of(get(sandbox, f"{file}/x"), 404) == "not_a_directory"
    answer = sandbox.post("/run", cmd="exec cat /proc/self/status")
    assert answer.status_code == 200
    for method in ("POST", "PATCH"):
        answer = sandbox.call(method, quoted(file), b"x")
        assert error_of(answer, 405) == "method_not_allowed" and answer.headers["Allow"] == "GET, HEAD, PUT, DELETE, OPTIONS"
    assert sandbox.call("OPTIONS", quoted(file)).headers["Allow"] == "GET, HEAD, PUT, DELETE, OPTIONS"


@pytest.mark.own_user
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_as_the_commands_user(make_server, workdir):
    server = make_server({"SANDBOX_USER": "nobody"})
    os.chmod(workdir, 0o755)
    secret, open_file = pathlib.Path(workdir, "secret"), pathlib.Path(workdir, "open")
    for path, mode, owner in ((secret, 0o600, (0, 0)), (open_file, 0o600, user_ids("nobody"))):
        path.write_bytes(b"x")
        os.chmod(path, mode)
        os.chown(path, *owner)
    assert error_of(get(server, secret), 403) == "permission_denied"
    assert get(server, open_file).content == b"x"
    assert error_of(get(server, "/proc/self/status"), 403) == "permission_denied"


# ---- cuts ----


def get_large(server, path):
    """Makes a file of 1 GiB, and has curl read its first MiB."""
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    os.chmod(server.home, 0o755)
    os.chmod(path, 0o644)
    curl = subprocess.Popen(["curl", "-s", "-H", f"Authorization: Bearer {server.secret}", server.url + quoted(path)], stdout=subprocess.PIPE)
    curl.stdout.read(1 << 20)
    return curl


def test_a_file_that_shrinks_is_a_cut(server):
    """While it is sent to a client that reads slowly: curl exits with 18."""
    path = pathlib.Path(server.home, "shrinks")
    curl = get_large(server, path)
    wait_until(lambda: str(path) in descriptors(server.daemon("fcgi-app")), "the file to be sent")
    os.truncate(path, 1 << 20)
    with curl.stdout:
        rest = sum(len(piece) for piece in iter(lambda: curl.stdout.read(1 << 20), b""))
    assert curl.wait(BIG_TIMEOUT) == 18 and rest < (1 << 30) - (1 << 20)
    assert get(server, path).status_code == 200


def test_a_daemon_that_dies_is_a_cut(server):
    path = pathlib.Path(server.home, "large")
    curl = get_large(server, path)
    os.kill(server.daemon("fcgi-app"), signal.SIGKILL)
    with curl.stdout:
        for _ in iter(lambda: curl.stdout.read(1 << 20), b""):
            pass
    assert curl.wait(BIG_TIMEOUT) == 18
    server.healthy()


def test_a_hang_up(server):
    """The file is closed when its client has left."""
    path = pathlib.Path(server.home, "large")
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    os.chmod(server.home, 0o755)
    os.chmod(path, 0o644)

    def is_open():
        return str(path) in descriptors(server.daemon("fcgi-app"))

    with RawConnection(server.host, server.port) as raw:
        raw.send(http_request("GET", quoted(path), [("Host", "x"), server.bearer()]))
        raw.socket.recv(1000)
        wait_until(is_open, "the file to be sent")
    wait_until(lambda: not is_open(), "the file to be closed")
    assert get(server, path, Range="bytes=-5").content == b"\0" * 5


def test_at_most_so_many_at_once(make_server):
    server = make_server({"SANDBOX_MAX_TRANSFERS": "1"})
    path = pathlib.Path(server.home, "large")
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    os.chmod(server.home, 0o755)
    os.chmod(path, 0o644)
    with RawConnection(server.host, server.port) as raw:
        raw.send(http_request("GET", quoted(path), [("Host", "x"), server.bearer()]))
        raw.socket.recv(1000)
        wait_until(lambda: str(path) in descriptors(server.daemon("fcgi-app")), "the file to be sent")
        answer = get(server, path)
        assert error_of(answer, 503) == "unavailable" and answer.headers["Retry-After"] and "SANDBOX_MAX_TRANSFERS" in answer.json()["error"]
        assert server.run("echo on")["stdout"] == "on\n"
    wait_until(lambda: get(server, path, Range="bytes=0-0").status_code == 206, "its place")


# ---- clients ----


def test_curl_resumes(sandbox, workdir):
    source, target = pathlib.Path(workdir, "source"), pathlib.Path(workdir, "target")
    source.write_bytes(os.urandom(3_000_000))
    target.write_bytes(source.read_bytes()[:1_234_567])
    curl = ["curl", "-sf", "-H", f"Authorization: Bearer {sandbox.secret}", sandbox.url + quoted(source), "-o", target]
    subprocess.run([*curl, "-C", "-"], check=True)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.skipif(shutil.which("wget") is None, reason="needs wget")
def test_wget_resumes(sandbox, workdir):
    source, target = pathlib.Path(workdir, "source"), pathlib.Path(workdir, "target")
    source.write_bytes(os.urandom(3_000_000))
    target.write_bytes(source.read_bytes()[:1_234_567])
    wget = ["wget", "-q", "-c", "--header", f"Authorization: Bearer {sandbox.secret}", "-O", target, sandbox.url + quoted(source)]
    for _ in range(2):  # the second has nothing to do
        subprocess.run(wget, check=True)
        assert target.read_bytes() == source.read_bytes()


def test_the_access_log(server):
    """It has the class of the path, and nothing that a client has chosen."""
    pathlib.Path(server.home, "hidden-name").touch()
    os.chmod(server.home, 0o755)
    assert get(server, f"{server.home}/hidden-name", X_Request_ID="the-one").status_code == 200
    log = server.run_dir / "nginx/access.log"
    wait_until(lambda: "the-one" in log.read_text(), "the line")
    line = next(json.loads(line) for line in log.read_text().splitlines() if "the-one" in line)
    assert (line["endpoint"], line["uri"], line["status"]) == ("/files", "/files/...", 200) and "hidden-name" not in log.read_text()
