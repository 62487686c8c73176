"""What bin/nginx-sandbox refuses: one line that names the variable or the file, and nothing left behind."""

import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess

import pytest

from foreground import LAUNCHER, Foreground, own_tmp
from sandbox import BIN, DEADLINE, REPOSITORY, Sandbox


def start(settings=None, command=None, **options):
    return Foreground(command or LAUNCHER, {"SANDBOX_SECRET": "launcher", **(settings or {})}, **options)


@pytest.mark.parametrize("name, value", [
    ("PORT", "http"), ("PORT", "0"), ("PORT", "65536"), ("PORT", "-1"), ("PORT", "80 "), ("PROXY_PORT", "x"),
    ("SANDBOX_MAX_BODY", "lots"), ("SANDBOX_LOG_MAX", "1"), ("SANDBOX_MAX_CONNECTIONS", "0"),
    ("SANDBOX_ACCESS_LOG", "relative/path"), ("SANDBOX_ACCESS_LOG", "/tmp/a b;c"), ("SANDBOX_ACCESS_LOG", "/none/such"), ("SANDBOX_ACCESS_LOG", "/tmp"),
    ("SANDBOX_PREFIX", "relative"), ("SANDBOX_PREFIX", "/a b"), ("SANDBOX_PREFIX", "/a;b"), ("SANDBOX_PREFIX", "/run,/a//b"),
    ("SANDBOX_RUN_DIR", "/proc/self/none"), ("SANDBOX_RUN_DIR", "/dev/null/x"), ("SANDBOX_RUN_DIR", "{own}/" + "x" * 100),
])
def test_a_bad_value_is_named(name, value, tmp_path):
    with start({name: value.format(own=tmp_path)}) as server:
        assert server.fails(name).startswith("nginx-sandbox: ")


def test_one_port_for_both():
    with start({"PROXY_PORT": None, "PORT": "3031"}) as server:
        server.fails("PROXY_PORT")


@pytest.mark.parametrize("family, address", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")])
@pytest.mark.parametrize("name", ["PORT", "PROXY_PORT"])
def test_a_port_in_use(name, family, address):
    try:
        taken = socket.socket(family)
        taken.bind((address, 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with taken:
        taken.listen()
        with start({name: str(taken.getsockname()[1])}) as server:
            server.fails(f"{name}: ", "in use")


@pytest.mark.parametrize("settings, words", [
    ({"SANDBOX_SECRET": None}, ["SANDBOX_SECRET"]),
    ({"SANDBOX_SECRET": ""}, ["SANDBOX_SECRET"]),
    ({"SANDBOX_SECRET": "a\nb\rc"}, ["SANDBOX_SECRET", "control"]),
    ({"SANDBOX_SECRET": "a\tb"}, ["SANDBOX_SECRET", "control"]),
    ({"SANDBOX_SECRET": "a\x7f"}, ["SANDBOX_SECRET", "control"]),
    ({"SANDBOX_SECRET": "a "}, ["SANDBOX_SECRET", "space"]),
    ({"SANDBOX_SECRET": "x" * 4097}, ["SANDBOX_SECRET", "4096"]),
    ({"SANDBOX_SECRET": None, "SANDBOX_SECRET_FILE": "/none/such"}, ["SANDBOX_SECRET_FILE", "/none/such"]),
    ({"SANDBOX_SECRET": None, "SANDBOX_SECRET_FILE": "/tmp"}, ["SANDBOX_SECRET_FILE", "/tmp"]),
    ({"SANDBOX_SECRET": None, "SANDBOX_SECRET_FILE": "/dev/null"}, ["SANDBOX_SECRET_FILE", "empty"]),
    ({"SANDBOX_SECRET": None, "SANDBOX_SECRET_FILE": "/dev/zero"}, ["SANDBOX_SECRET_FILE", "4096"]),
])
def test_a_bad_secret(settings, words):
    with start(settings) as server:
        complaint = server.fails(*words)
        assert "x" * 100 not in complaint


@pytest.mark.parametrize("content, good", [
    ("from a file", True), ("from a file\n", True), ("from a file\r\n", True), ("", False), ("\n", False),
    ("former\nfrom a file\n", True), ("\ufefffrom a file", True), ("\ufeff", False), ("one\n \n", False), ("nul\0byte", False), (" ", False),
])
def test_a_secret_file(tmp_path, content, good):
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    with start({"SANDBOX_SECRET": None, "SANDBOX_SECRET_FILE": str(path)}) as server:
        if not good:
            server.fails("SANDBOX_SECRET_FILE")
            return
        sandbox = Sandbox(server.url, ("127.0.0.1", server.proxy_port), "from a file")
        assert sandbox.shell("echo \"${SANDBOX_SECRET_FILE-none}\"") == "none\n"
        server.end()


def test_both_secrets(tmp_path):
    path = tmp_path / "secret"
    path.write_text("one")
    with start({"SANDBOX_SECRET": "other", "SANDBOX_SECRET_FILE": str(path)}) as server:
        server.fails("SANDBOX_SECRET", "SANDBOX_SECRET_FILE")


def test_an_empty_file_beside_a_secret_counts_as_none():
    """docker-compose.yml sets both variables whichever is used."""
    with start({"SANDBOX_SECRET_FILE": "/dev/null"}) as server:
        assert Sandbox(server.url, ("127.0.0.1", 1), "launcher").shell("echo in") == "in\n"
        server.end()


def test_where_the_access_log_goes(tmp_path):
    for value, path in (("off", None), ("/dev/stdout", None), (str(tmp_path / "log"), tmp_path / "log")):
        with start({"SANDBOX_ACCESS_LOG": value}) as server:
            Sandbox(server.url, ("127.0.0.1", 1), "launcher").shell("true")
            assert not (server.run_dir / "nginx/access.log").exists()
            assert server.end() == 0
            text = path.read_text() if path else server.stdout.text
            assert ('"uri":"/run"' in text) == (value != "off")


def test_a_prefix_beside_the_root():
    with start({"SANDBOX_PREFIX": "/koyeb-sandbox, /run"}) as server:
        for prefix in ("", "/koyeb-sandbox", "/run"):
            sandbox = Sandbox(server.url + prefix, ("127.0.0.1", server.proxy_port), "launcher")
            assert sandbox.get("/health", token=False).status_code == 200
            assert sandbox.shell("echo below") == "below\n"
            assert sandbox.get("/nothing", token=False).status_code == 401 and sandbox.get("/nothing").status_code == 404
        assert server.end() == 0


@pytest.mark.parametrize("wrong, right", [
    ("SANDBOX_MAX_RUN", "SANDBOX_MAX_RUNS"), ("SANDBOX_MAX_RNUS", "SANDBOX_MAX_RUNS"), ("SANDBOX_SECRETS_FILE", "SANDBOX_SECRET_FILE"),
    ("SANDBOX_PORT", "PORT"), ("SANDBOX_LOG_LEVEL", "LOG_LEVEL"), ("SANDBOX_USERS", "SANDBOX_USER"), ("SANDBOX_STOP", "SANDBOX_STOP_GRACE"),
    ("SANDBOX_LISTENS", "SANDBOX_LISTEN"), ("SANDBOX_METRICS", "SANDBOX_METRICS_LISTEN"),
])
def test_a_name_that_is_near_to_a_setting(wrong, right):
    """It is one warning, and the server does not start for another reason only: its secret is wrong."""
    with start({wrong: "1", "SANDBOX_SECRET": "a\tb"}) as server:
        status, _, said = server.wait(DEADLINE)
        lines = said.splitlines()
        assert status == 1 and lines[0] == f"nginx-sandbox: warning: {wrong} is no setting and does nothing: did you mean {right}?"
        assert len(lines) == 2 and lines[1].startswith("nginx-sandbox: SANDBOX_SECRET")


@pytest.mark.parametrize("settings", [
    {"SANDBOX_TOKEN": "x"}, {"SANDBOX_URL": "x"}, {"SANDBOX_PORT": "tcp://10.0.0.1:3030"}, {"SANDBOX_SERVICE_HOST": "10.0.0.1"}, {"SANDBOX_MAX": "1"},
    {"SANDBOX_": "1"}, {"SANDBOX_" + "X" * 500: "1"}, {"MAX_RUN": "1"}, {"SANDBOX_MAX_RUNS": "9"},
])
def test_names_that_are_near_to_none(settings):
    with start({**settings, "SANDBOX_SECRET": "a\tb"}) as server:
        server.fails("SANDBOX_SECRET")


def test_a_near_name_does_not_keep_the_server_from_starting():
    with start({"SANDBOX_MAX_RUN": "7"}) as server:
        assert Sandbox(server.url, ("127.0.0.1", server.proxy_port), "launcher").shell("echo up") == "up\n"
        assert server.end() == 0
        assert server.stderr.text.count("did you mean SANDBOX_MAX_RUNS") == 1


def test_an_unknown_subcommand_is_named():
    """A command beside the server needs `--` before it, which the message says."""
    with start(command=[*LAUNCHER, "sleep", "3"]) as server:
        status, _, complaint = server.wait()
        assert status == 2 and complaint.startswith("nginx-sandbox: unknown subcommand: sleep\n")
        assert "nginx-sandbox -- COMMAND" in complaint and "  render " in complaint


def test_a_run_directory_serves_one_server(tmp_path):
    run_dir = tmp_path / "run"
    os.chmod(tmp_path, 0o755)
    with start({"SANDBOX_RUN_DIR": str(run_dir)}) as server:
        assert server.url
        with start({"SANDBOX_RUN_DIR": str(run_dir)}) as second:
            second.fails("SANDBOX_RUN_DIR", "in use")
        sandbox = Sandbox(server.url, ("127.0.0.1", server.proxy_port), "launcher")
        assert sandbox.shell("echo alive") == "alive\n"
        sandbox.start("true")
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait(10)[0] == 0
    with start({"SANDBOX_RUN_DIR": str(run_dir)}) as third:
        sandbox = Sandbox(third.url, ("127.0.0.1", third.proxy_port), "launcher")
        assert sandbox.get("/list_processes").json() == {"processes": []}
        os.kill(third.pid, signal.SIGTERM)
        assert third.wait(10)[0] == 0


def test_a_directory_with_other_things_is_not_emptied(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "state").mkdir()
    with start({"SANDBOX_RUN_DIR": str(tmp_path)}) as server:
        server.fails("SANDBOX_RUN_DIR", str(tmp_path))
    assert (tmp_path / "precious").read_text() == "mine" and (tmp_path / "state").is_dir()


@pytest.mark.parametrize("mask", [0o077, 0o027, 0o777, 0])
def test_parents_of_the_run_directory_are_open(home, mask):
    """nginx's workers, and an nginx of somebody else, pass through them, whatever the umask of who starts the server."""
    run_dir = pathlib.Path(home, "a/b/run")
    with start({"SANDBOX_RUN_DIR": str(run_dir)}, command=["sh", "-c", f'umask {mask:o}; exec "$@"', "sh", *LAUNCHER]) as server:
        sandbox = Sandbox(server.url, ("127.0.0.1", server.proxy_port), "launcher")
        assert sandbox.shell("umask").strip() == f"{mask:04o}"
        assert [stat.S_IMODE(path.stat().st_mode) for path in (run_dir, run_dir.parent, run_dir.parent.parent)] == [0o711, 0o755, 0o755]
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait(10)[0] == 0
    assert run_dir.is_dir()


@pytest.mark.parametrize("settings, words", [
    ({"SANDBOX_RUN_DIR": "{}/a/b;c/run"}, ["nginx"]),
    ({"SANDBOX_RUN_DIR": "{}/a/./" + "x" * 100 + "/run"}, ["too long"]),
    ({"SANDBOX_RUN_DIR": "{}/a/../a/b/" + "x" * 300}, ["too long"]),
    ({"SANDBOX_RUN_DIR": "{}/a/b/run", "SANDBOX_METRICS_LISTEN": "x"}, ["SANDBOX_METRICS_LISTEN"]),
    ({"SANDBOX_RUN_DIR": "{}/a/b/run", "SANDBOX_PREFIX": "relative"}, ["SANDBOX_PREFIX"]),
    ({"SANDBOX_RUN_DIR": "{}/a/b/run", "SANDBOX_ACCESS_LOG": "/none/such"}, ["SANDBOX_ACCESS_LOG"]),
    ({"SANDBOX_RUN_DIR": "{}/a/b/run", "SANDBOX_USER": "www-data"}, ["SANDBOX_USER"]),
])
def test_a_start_that_fails_leaves_no_directory(home, settings, words):
    if "SANDBOX_USER" in settings and os.geteuid() != 0:
        pytest.skip("SANDBOX_USER needs root")
    before = sorted(os.listdir(home))
    with start({name: value.format(home) for name, value in settings.items()}) as server:
        server.fails(*words)
    assert sorted(os.listdir(home)) == before


def test_root_of_a_namespace_with_one_user():
    """Where there is no user for nginx's workers they are root's, and one line says so."""
    prefix = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no user namespaces here")
    with start(command=[*prefix, *LAUNCHER]) as server:
        sandbox = Sandbox(server.url, ("127.0.0.1", server.proxy_port), "launcher")
        assert sandbox.shell("id -u") == "0\n"
        assert server.stderr.text.count("\n") == 1 and "nginx's workers run as root" in server.stderr.text
        server.end()


def copy_installation(target):
    """bin/ and nginx/ as the checkout has them, to take something out of."""
    (target / "bin").mkdir(parents=True)
    for name in ("nginx-sandbox", "fcgi-app", "procd", "terminal", "guard"):
        shutil.copy(BIN / name, target / "bin" / name)
    shutil.copytree(REPOSITORY / "nginx", target / "nginx")
    return [str(target / "bin/nginx-sandbox")]


@pytest.mark.parametrize("missing", ["bin/fcgi-app", "bin/procd", "bin/terminal", "bin/guard", "nginx/nginx.conf", "nginx/proxy.js", "nginx/token.js", "nginx/grant.js", "nginx/ports.js", "nginx/share.js", "nginx/snippets", "nginx/templates/proxy.conf", "nginx/service/procd"])
def test_a_missing_file_is_named(home, missing):
    """And nothing of the start stays in /tmp, which is the test's own where it may have one."""
    copy = pathlib.Path(home, "copy")
    command, prefix = copy_installation(copy), own_tmp(home)
    path = copy / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with start(command=[*prefix, "/tmp/copy/bin/nginx-sandbox"] if prefix else command) as server:
        server.fails(missing)
    assert os.listdir(home) == ["copy"]


def test_a_daemon_that_does_not_start_ends_the_start(tmp_path):
    command = copy_installation(tmp_path / "copy")
    (tmp_path / "copy/bin/fcgi-app").write_text("#!/bin/sh\nexec sleep 1000\n")
    with start(command=command) as server:
        status, stdout, complaint = server.wait(30)
        assert status not in (0, None) and "not ready" in complaint and "ready on" not in stdout
        server.check_nothing_left()


def test_it_works_installed(tmp_path):
    os.chmod(tmp_path, 0o755)
    subprocess.run(["make", "-s", "-C", REPOSITORY, "install", "PREFIX=/usr", f"DESTDIR={tmp_path}"],
                   env={**os.environ, "MAKEFLAGS": ""}, check=True)
    unit = (tmp_path / "usr/share/nginx-sandbox/systemd/nginx-sandbox.service").read_text()
    assert "\nExecStart=/usr/bin/nginx-sandbox\n" in unit and "@" not in unit
    with start(command=[str(tmp_path / "usr/bin/nginx-sandbox")], cwd="/") as server:
        assert Sandbox(server.url, ("127.0.0.1", 1), "launcher").shell("pwd") == "/\n"
        assert server.end() == 0
    subprocess.run(["make", "-s", "-C", REPOSITORY, "uninstall", "PREFIX=/usr", f"DESTDIR={tmp_path}"],
                   env={**os.environ, "MAKEFLAGS": ""}, check=True)
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]
