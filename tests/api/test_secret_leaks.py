"""The secret shows in no command, no process and no file."""

import base64
import hashlib
import os
import pathlib
import re
import stat

import pytest

from sandbox import http_request, proc_file, wait_until

pytestmark = pytest.mark.host

SECRET = "Kq9-distinct-secret-Zp4"


def provoke(server):
    """Requests of every kind that may make a server write what it was sent."""
    good, wrong = server.bearer(), ("Authorization", f"Bearer {SECRET}x")
    lines = [
        http_request("GET", "/list_processes", [("Host", "x"), good, good]),
        http_request("GET", "/list_processes", [("Host", "x"), good, wrong]),
        http_request("GET", "/list_processes", [("Host", "x"), wrong, good]),
        http_request("GET", "/list_processes", [("Host", "x"), ("Authorization", f"bearer {SECRET}")]),
        http_request("GET", "/list_processes", [("Host", "x"), good, ("Content-Length", "nonsense")]),
        http_request("GET", "/list_processes", [("Host", "x"), good, ("Transfer-Encoding", "gzip")]),
        http_request("GET", "/list_processes", [("Host", "x"), ("Authorization", f"Bearer {SECRET}" + "x" * 70000)]),
        http_request("GET", "/list_processes", [("Host", "x"), good, *[("X", "y" * 8000)] * 10]),
        http_request("GET", "/list_processes", [good]),
        http_request("GET", "/list_processes", [("Host", "x"), ("Authorization Bearer " + SECRET, "")]),
        http_request("GET", "/list_processes", [("Host", "x"), ("X-Request-ID", SECRET + " x"), good]),
        http_request("GET", "/list_processes", [("Host", "x"), good], version="HTTP/9.9"),
        http_request("G\x01T", "/list_processes", [("Host", "x"), good]),
        http_request("POST", "/run", [("Host", "x"), good, ("Content-Length", "10000000000000")]),
        http_request("POST", "/run", [("Host", "x"), good, ("Content-Length", "2")], b"{]"),
        http_request("POST", "/run", [("Host", "x"), good, ("Transfer-Encoding", "chunked")], b"zz\r\n"),
        b"Authorization: Bearer " + SECRET.encode() + b"\r\n\r\n",
        b"Bearer " + SECRET.encode() + b"\x00\r\n\r\n",
    ]
    for line in lines:
        with server.raw() as raw:
            raw.send(line)
            raw.drain()


def files_under(directory):
    for root, _, names in os.walk(directory):
        for name in names:
            path = pathlib.Path(root, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def tell_tales():
    """The secret, and what gives it away to someone who may guess or decode."""
    token = f"Bearer {SECRET}".encode()
    for text in (SECRET.encode(), token):
        yield text
        for digest in (hashlib.md5, hashlib.sha1, hashlib.sha256):
            raw = digest(text).digest()
            yield raw.hex().encode()
            yield base64.b64encode(raw).rstrip(b"=")
            yield base64.urlsafe_b64encode(raw).rstrip(b"=")
    yield base64.b64encode(SECRET.encode())[:-2]
    yield SECRET.encode().hex().encode()


@pytest.fixture(params=["environment", "file"])
def keeper(request, make_server, tmp_path):
    if request.param == "environment":
        return make_server(secret=SECRET)
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return make_server({"SANDBOX_SECRET": None, "SANDBOX_SECRET_FILE": str(path)}, secret=SECRET)


def test_commands_do_not_get_it(keeper):
    look = "env; tr '\\0' '\\n' </proc/self/environ; tr '\\0' '\\n' </proc/$PPID/environ; cat /proc/$PPID/cmdline; set"
    answer = keeper.run(look)
    assert "PATH=" in answer["stdout"] and SECRET not in answer["stdout"] + answer["stderr"]
    with keeper.stream(look) as stream:
        assert SECRET.encode() not in stream.read_all()
    lines = keeper.lines(keeper.start(look)["id"])
    assert any(line.startswith("PATH=") for line in lines) and SECRET not in "\n".join(lines)
    assert keeper.run("echo ${SANDBOX_SECRET-unset}")["stdout"] == "unset\n"


def test_a_command_may_be_given_it(keeper):
    """Only the server's own is withheld."""
    assert keeper.shell("echo $SANDBOX_SECRET", env={"SANDBOX_SECRET": "mine"}) == "mine\n"


def test_no_process_shows_it(keeper, tmp_path):
    keeper.start("sleep 60")
    keeper.shell("true")
    commands = [proc_file(pid, "cmdline") for pid in keeper.launch.tree()]
    assert any(b"procd" in line for line in commands) and any(b"nginx: worker" in line for line in commands)
    for pid in keeper.launch.tree():
        for name in ("environ", "cmdline", "comm"):
            assert SECRET.encode() not in proc_file(pid, name), (name, proc_file(pid, "cmdline"))


def test_no_file_and_no_output_shows_it(keeper):
    provoke(keeper)
    keeper.shell("echo made a file")
    keeper.start("echo in the log")
    with keeper.stream("echo x") as stream:
        stream.read_all()
    logs = [path for path in files_under(keeper.run_dir) if path.suffix == ".log"]
    wait_until(lambda: any(path.stat().st_size for path in logs), "something in a log")
    paths = list(files_under(keeper.run_dir))
    assert any("nginx" in str(path) for path in paths)
    tales = list(tell_tales())
    for path in paths:
        content = path.read_bytes()
        for tale in tales:
            assert tale not in content, path
    said = keeper.launch.stdout.text + keeper.launch.stderr.text
    for tale in tales:
        assert tale.decode() not in said


def salt_lines(server):
    """{path: the lines that hold digest and salt}"""
    lines = rb'^(?:_default "[\w-]{22}"|secure_link_md5 "[\w-]{22}\$nginx_sandbox_authorization");'
    found = {path: re.findall(lines, path.read_bytes(), re.M) for path in files_under(server.run_dir)}
    return {path: lines for path, lines in found.items() if lines}


def test_the_salt_is_for_no_other_user_to_read(keeper):
    lines = salt_lines(keeper)
    assert lines
    for path in lines:
        assert path.stat().st_mode & 0o077 == 0, path


def test_salts_differ(make_server):
    first, second = ({line for lines in salt_lines(make_server(secret=SECRET)).values() for line in lines} for _ in range(2))
    assert len(first) == 2 and not first & second
