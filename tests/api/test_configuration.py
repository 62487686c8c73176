"""The launcher's settings: defaults, secrets from a file, and one clear line for what is wrong."""

import os
import pathlib
import shutil
import socket
import stat
import tempfile

import pytest

from sandbox import BIN, DEADLINE, REPOSITORY, Launch, Port, Server, alive, proc_file, refused

pytestmark = pytest.mark.host

HTTP_JS = os.path.exists("/usr/lib/nginx/modules/ngx_http_js_module.so")


@pytest.fixture
def ports():
    pair = Port(), Port()
    yield pair
    for port in pair:
        port.free()


def refuses(settings, ports, *words):
    """It ends at once, not with 0, and says one line that has all the words; nothing is left running."""
    settings = {"SANDBOX_SECRET": "secret", "PORT": str(ports[0].number), "PROXY_PORT": str(ports[1].number), **settings}
    launch = Launch({name: value for name, value in settings.items() if value is not None})
    try:
        code, out, err = launch.wait(2 * DEADLINE)
        left = launch.marked()
    finally:
        launch.destroy()
    assert code not in (0, None) and code > 0
    assert "ready" not in out
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    for word in words:
        assert word in lines[0], lines[0]
    assert not [pid for pid in left if alive(pid)]


@pytest.mark.parametrize("settings", [
    {"SANDBOX_SECRET": None}, {"SANDBOX_SECRET": ""}, {"SANDBOX_SECRET": "\n\r\n"}, {"SANDBOX_SECRET": "\ufeff"}, {"SANDBOX_SECRET": "good\na\x01b"},
    {"SANDBOX_SECRET": "a\rb"}, {"SANDBOX_SECRET": "\n".join(map(str, range(17)))}, {"SANDBOX_SECRET": "good\n" + "x" * 4097}, {"SANDBOX_SECRET": "\t"},
], ids=repr)
def test_no_secret(ports, settings):
    refuses(settings, ports, "SANDBOX_SECRET")


def test_a_secret_file_that_gives_none(ports, tmp_path):
    empty = tmp_path / "empty"
    empty.write_text("\ufeff\r\n\n")
    utf16 = tmp_path / "utf-16"
    utf16.write_text("secret", encoding="utf-16")
    for path in (tmp_path / "none", empty, utf16, tmp_path):
        refuses({"SANDBOX_SECRET": None, "SANDBOX_SECRET_FILE": str(path)}, ports, "SANDBOX_SECRET_FILE")


@pytest.mark.parametrize("value", ["on", "Auto", "sys/fs/cgroup", "/nowhere", "/tmp", "/sys/fs/cgroup/no-such-cgroup"])
def test_a_cgroup_that_is_none(ports, value):
    refuses({"SANDBOX_CGROUP": value}, ports, "SANDBOX_CGROUP")


@pytest.mark.parametrize("name", ["PORT", "PROXY_PORT"])
@pytest.mark.parametrize("value", ["0", "65536", "-1", "http", "80x", " 80", "8e1", "99999999999999999999", "3030;", "$x"])
def test_a_port_that_is_none(ports, name, value):
    refuses({name: value}, ports, name)


def test_the_same_port_twice(ports):
    refuses({"PROXY_PORT": str(ports[0].number)}, ports, "PORT")


@pytest.mark.parametrize("name", ["SANDBOX_MAX_BODY", "SANDBOX_LOG_MAX", "SANDBOX_MAX_CONNECTIONS"])
@pytest.mark.parametrize("value", ["-1", "many", "1x", "1.5m", "99999999999999999999999", "1 m"])
def test_other_numbers(ports, name, value):
    refuses({name: value}, ports, name)


@pytest.mark.parametrize("number, name", [(0, "PORT"), (1, "PROXY_PORT")])
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_a_port_in_use(ports, number, name, host):
    with socket.create_server((host, ports[number].number)):
        refuses({}, ports, name, str(ports[number].number))
    assert refused("127.0.0.1", ports[1 - number].number)


@pytest.mark.parametrize("value", [
    "3032", ":3032", "localhost:3032", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "127.0.0.1:+1", "::1:3032x",
    "::1", "[::1]", "[::1:3032", "[127.0.0.1]:3032", "unix:/tmp/x", "127.0.0.1:3032;", "127.0.0.1 :3032", "1" * 100 + ":3032", "on",
])
def test_a_metrics_address_that_is_none(ports, value):
    refuses({"SANDBOX_METRICS_LISTEN": value}, ports, "SANDBOX_METRICS_LISTEN", "address")


@pytest.mark.parametrize("value", [
    "app.example.org", "https://app.example.org/", "https://app.example.org/path", "https://*.example.org", "https://user@app.example.org",
    "https://app.example.org?x", "https://app.example.org#x", "https://", "://app.example.org", "https:app.example.org", "https:/app.example.org",
    "https://app.example.org:", "https://app.example.org:0", "https://app.example.org:65536", "https://app.example.org:+1", "https://app.example.org:8443x",
    "https://app.example.org:000443", "https://:8443", "https://[::1", "https://[::1]x", "https://::1", "https://[127.0.0.1]", "https://[::1%lo]", "https://[]",
    "https://bücher.example", "https://a b", "https://a;b", "https://a{b}", "https://a\"b", "https://a'b", "https://a\\b", "https://a$b", "https://a\nb",
    "https://a.example;\nserver{}", "1http://a", "null", "*, https://app.example.org", "https://app.example.org, *", "*, *", "**", "off",
    "https://a.example https://b.example", "https://" + "x" * 254, "x" * 33 + "://a", ",".join(f"https://{number}.example" for number in range(65)),
])
def test_origins_that_are_none(ports, value):
    refuses({"SANDBOX_CORS_ORIGINS": value}, ports, "SANDBOX_CORS_ORIGINS", "origins")


@pytest.mark.parametrize("name, value", [("SANDBOX_PORTS", "some"), ("SANDBOX_PORTS", "0"), ("SANDBOX_PORTS", "3000;8080"), ("SANDBOX_PORTS", ","), ("SANDBOX_PORT_DOMAIN", ".a"),
                                         ("SANDBOX_PORT_DOMAIN", 'a"b'), ("SANDBOX_PORT_DOMAIN", "a..b"), ("SANDBOX_PORT_HOST", "yes"), ("SANDBOX_TRUSTED_PROXIES", "a"),
                                         ("SANDBOX_TRUSTED_PROXIES", "10.0.0.0/33"), ("SANDBOX_TRUSTED_PROXIES", "::1/x"), ("SANDBOX_PORT_WAIT", "2h"), ("SANDBOX_MAX_HELD", "-1")])
def test_settings_of_ports(ports, name, value):
    refuses({name: value}, ports, name)


def test_the_metrics_port_is_its_own(ports):
    for port in ports:
        refuses({"SANDBOX_METRICS_LISTEN": f"127.0.0.1:{port.number}"}, ports, "SANDBOX_METRICS_LISTEN", str(port.number))


def test_a_metrics_port_in_use(ports):
    port = Port()
    with socket.create_server(("127.0.0.1", port.number)):
        refuses({"SANDBOX_METRICS_LISTEN": f"127.0.0.1:{port.number}"}, ports, "SANDBOX_METRICS_LISTEN", str(port.number))
    port.free()


def test_a_second_server_on_the_same_ports(make_server):
    server = make_server()
    refuses({"PORT": str(server.port), "PROXY_PORT": str(server.proxy_port)}, server.ports, "PORT", str(server.port))
    assert server.shell("echo unharmed") == "unharmed\n"


def test_a_run_directory_that_cannot_be(ports, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        refuses({"SANDBOX_RUN_DIR": str(path)}, ports, "SANDBOX_RUN_DIR")


def test_a_second_server_in_the_same_run_directory(make_server, ports):
    server = make_server()
    job = server.start("sleep 86400")
    refuses({"SANDBOX_RUN_DIR": str(server.run_dir)}, ports, str(server.run_dir))
    assert server.shell("echo unharmed") == "unharmed\n" and server.status(job["id"]) == "running"


@pytest.mark.parametrize("text", ["plain", "plain\n", "plain\r\n", "inner spaces\n", "a\"b'c$d\\e;f{g}h#i\n", "ü✓\n", "\ufeffmarked", "\ufeffmarked\r\n",
                                  "\n\nlater\n"])
def test_a_secret_from_a_file(make_server, tmp_path, text):
    """Neither a byte order mark at its start nor the line's end is a part of it."""
    path = tmp_path / "secret"
    path.write_text(text, newline="")
    path.chmod(0o600)
    server = make_server({"SANDBOX_SECRET": None, "SANDBOX_SECRET_FILE": str(path)}, secret=text.strip("\ufeff\r\n"))
    assert server.shell("echo in") == "in\n"
    assert server.get("/list_processes", token=False).status_code == 401


@pytest.mark.skipif(not HTTP_JS, reason="needs libnginx-mod-http-js")
@pytest.mark.parametrize("text", ["new\nold\n", "\ufeffnew\r\n\r\nold", "new\n\ufeffold"])
@pytest.mark.parametrize("variable", ["SANDBOX_SECRET", "SANDBOX_SECRET_FILE"])
def test_two_lines_are_two_secrets(make_server, tmp_path, variable, text):
    """A file in the middle of a rotation is no obstacle to a restart; and with several the scheme has no case either."""
    path = tmp_path / "secret"
    path.write_text(text, newline="")
    path.chmod(0o600)
    value = text if variable == "SANDBOX_SECRET" else str(path)
    server = make_server({"SANDBOX_SECRET": None, variable: value}, secret="new")

    def status(header):
        return server.get("/list_processes", token=False, headers={"Authorization": header}).status_code

    for right in ("Bearer new", "Bearer old", "bearer new", "BEARER old", "Bearer  old"):
        assert status(right) == 200, right
    for wrong in ("Bearer New", "Bearer newold", "Bearer new old", "bearer\told", "Bearer \ufeffnew".encode(), "Bearer ", "new", "Bearer bearer new"):
        assert status(wrong) == 401, wrong
    server.stop()
    server.boot()
    assert status("Bearer new") == status("Bearer old") == 200


def test_spaces_at_the_start_of_a_secret(make_server):
    """In HTTP they look like those that stand before the token."""
    server = make_server(secret="  x")
    for value in ("Bearer   x", "Bearer x", "bearer     x"):
        assert server.get("/list_processes", token=False, headers={"Authorization": value}).status_code == 200
    assert server.get("/list_processes", token=False, headers={"Authorization": "Bearerx"}).status_code == 401


def test_static_is_secret(make_server):
    """So other servers of this API call the mode, and environments have it."""
    server = make_server({"SANDBOX_AUTH_MODE": "static"})
    assert server.shell("echo in") == "in\n"
    assert server.get("/list_processes", token=False).status_code == 401


def test_a_mode_that_is_none(ports):
    for mode in ("Static", "none", "secrets"):
        refuses({"SANDBOX_AUTH_MODE": mode}, ports, "SANDBOX_AUTH_MODE", "static")


def test_empty_settings_are_the_defaults(make_server):
    server = make_server({"SANDBOX_MAX_BODY": "", "SANDBOX_LOG_MAX": "", "SANDBOX_MAX_CONNECTIONS": ""})
    assert server.shell("echo in") == "in\n"


def test_the_ready_line(make_server):
    server = make_server()
    lines = [line for line in server.launch.stdout.lines if line.startswith("nginx-sandbox: ready")]
    assert lines == [f"nginx-sandbox: ready on http://127.0.0.1:{server.port} and every other address (TCP proxy on port {server.proxy_port})\n"]
    assert "secret" not in server.launch.stdout.text


@pytest.mark.own_user
@pytest.mark.parametrize("there", [False, True], ids=["made", "there already"])
def test_the_run_directory(make_server, there):
    server = make_server()
    server.stop()
    run_dir = pathlib.Path(server.home) / "deep" / "run-dir_1.x"
    if there:
        run_dir.mkdir(parents=True)
    server.settings["SANDBOX_RUN_DIR"] = str(run_dir)
    server.boot()
    assert server.shell("echo in") == "in\n"
    for name in ("fcgi-app.sock", "terminal.sock", "procd.sock"):
        assert stat.S_ISSOCK((run_dir / name).stat().st_mode)
    for name in ("state", "spool"):
        assert stat.S_IMODE((run_dir / name).stat().st_mode) == 0o700


def test_a_directory_that_is_not_ours_is_not_emptied(ports, tmp_path):
    (tmp_path / "precious").write_text("x")
    refuses({"SANDBOX_RUN_DIR": str(tmp_path)}, ports, "SANDBOX_RUN_DIR", str(tmp_path))
    assert (tmp_path / "precious").read_text() == "x"


def test_a_private_run_directory_is_made_and_removed(make_server):
    """Without SANDBOX_RUN_DIR nothing of the directory stays behind."""
    server = make_server({"SANDBOX_RUN_DIR": None})
    assert server.shell("echo in") == "in\n"
    command = proc_file(server.daemon("procd"), "cmdline").decode().split("\0")
    run_dir = pathlib.Path(command[command.index("-r") + 1])
    assert stat.S_IMODE(run_dir.stat().st_mode) & 0o066 == 0
    server.stop()
    assert not run_dir.exists()


@pytest.mark.own_user
def test_started_from_another_directory(make_server, tmp_path):
    """bin/nginx-sandbox finds its files by where it lies; commands start where it was started."""
    server = make_server(prefix=["sh", "-c", f'cd {tmp_path} && exec "$@"', "sh"])
    assert server.shell("pwd -P") == f"{tmp_path.resolve()}\n"


def test_started_through_a_link(tmp_path):
    link = tmp_path / "sandbox"
    link.symlink_to(BIN / "nginx-sandbox")
    with Server(prefix=["sh", "-c", f'exec {link}', "sh"]) as server:
        assert server.shell("echo linked") == "linked\n"


def test_nothing_is_written_outside(make_server, tmp_path):
    """An ordinary start leaves the installed tree, here a copy that is this test's own, as it was."""
    tree, cwd = pathlib.Path(tempfile.mkdtemp(prefix="nxs-tree-")), tmp_path / "cwd"
    cwd.mkdir()

    def listing():
        return sorted((str(path), path.lstat().st_mtime_ns) for path in tree.rglob("*"))

    try:
        tree.chmod(0o755)
        shutil.copytree(BIN, tree / "bin")
        shutil.copytree(REPOSITORY / "nginx", tree / "nginx")
        before = listing()
        server = make_server(prefix=["sh", "-c", f'cd {cwd} && exec "$@"', "sh"], launcher=tree / "bin/nginx-sandbox")
        server.shell("true")
        assert listing() == before and os.listdir(cwd) == []
        server.stop()
    finally:
        shutil.rmtree(tree)
