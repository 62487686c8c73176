"""Where the server listens, and that it says so: SANDBOX_LISTEN and SANDBOX_PROXY_LISTEN."""

import os
import pathlib
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time

import pytest

from sandbox import BIN, DEADLINE, Launch, Port, alive, refused, wait_until

pytestmark = pytest.mark.host

SECRET = "listens"
EVERYWHERE = "and every other address"


@pytest.fixture
def place():
    """A directory for unix sockets, whose paths must be short."""
    with tempfile.TemporaryDirectory(prefix="nxs-l-", dir="/tmp") as path:
        os.chmod(path, 0o755)
        yield pathlib.Path(path)


@pytest.fixture
def ports():
    pair = Port(), Port()
    yield tuple(port.number for port in pair)
    for port in pair:
        port.free()


@pytest.fixture
def start(place, ports):
    """A function that starts a server; its launch, and the line that says where it listens."""
    launches = []

    def make(ready=True, **settings):
        launch = Launch({"SANDBOX_SECRET": SECRET, "PORT": str(ports[0]), "PROXY_PORT": str(ports[1]),
                         "SANDBOX_RUN_DIR": str(place / "run"), **settings})
        launches.append(launch)
        if not ready:
            return launch
        wait_until(lambda: "ready on" in launch.stdout.text or launch.process.poll() is not None, "the line", DEADLINE)
        line = launch.stdout.text
        assert line.startswith("nginx-sandbox: ready on ") and line.count("\n") == 1, launch.output()
        return launch, line.removeprefix("nginx-sandbox: ready on ").strip()

    yield make
    for launch in launches:
        launch.destroy()


def end(launch):
    launch.process.send_signal(signal.SIGTERM)
    assert launch.wait(10)[0] == 0, launch.output()


def shell(url, command, *options):
    """What a command prints that was asked for at this URL."""
    done = subprocess.run(["curl", "-sS", "--noproxy", "*", "--max-time", "20", *options, "-H", f"Authorization: Bearer {SECRET}",
                           "-d", f'{{"cmd": "{command}"}}', f"{url}/run"], capture_output=True, text=True, timeout=30, check=False)
    assert '"code":0' in done.stdout.replace(" ", ""), (done.stdout, done.stderr)
    return done.stdout


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_it_says_that_it_listens_everywhere(start, ports):
    launch, line = start()
    assert line == f"http://127.0.0.1:{ports[0]} {EVERYWHERE} (TCP proxy on port {ports[1]})"
    assert not refused("127.0.0.2", ports[0])
    end(launch)


def test_one_address_and_no_other(start, ports):
    launch, line = start(SANDBOX_LISTEN="127.0.0.1", SANDBOX_PROXY_LISTEN="127.0.0.3")
    assert line == f"http://127.0.0.1:{ports[0]} (TCP proxy on 127.0.0.3:{ports[1]})"
    shell(f"http://127.0.0.1:{ports[0]}", "true")
    assert refused("127.0.0.2", ports[0]) and refused("127.0.0.1", ports[1]) and not refused("127.0.0.3", ports[1])
    end(launch)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_several_addresses_of_each_kind(start, ports, place):
    path = place / "api.sock"
    launch, line = start(SANDBOX_LISTEN=f"[::1], 127.0.0.2 ,unix:{path}", SANDBOX_PROXY_LISTEN="::1")
    assert line == f"http://[::1]:{ports[0]}, http://127.0.0.2:{ports[0]}, unix:{path} (TCP proxy on [::1]:{ports[1]})"
    shell(f"http://[::1]:{ports[0]}", "true", "-g")
    shell(f"http://127.0.0.2:{ports[0]}", "true")
    shell("http://localhost", "true", "--unix-socket", str(path))
    assert refused("127.0.0.1", ports[0])
    end(launch)
    assert not path.exists()


def test_unix_sockets_alone(start, ports, place):
    """Both of them, from the start to the end: mode, a reload of nginx, its death, and nothing left."""
    api, proxy = place / "api.sock", place / "proxy.sock"
    launch, line = start(SANDBOX_LISTEN=f"unix:{api}", SANDBOX_PROXY_LISTEN=f"unix:{proxy}")
    assert line == f"unix:{api} (TCP proxy on unix:{proxy})"
    assert refused("127.0.0.1", ports[0]) and refused("127.0.0.1", ports[1])
    for path in (api, proxy):
        status = path.stat()
        assert stat.S_ISSOCK(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o666 and status.st_uid == os.geteuid()

    def ask():
        return shell("http://localhost", "echo in", "--unix-socket", str(api))

    assert "in" in ask()
    with socket.create_server(("127.0.0.1", 0)) as target:
        subprocess.run(["curl", "-sSf", "--unix-socket", str(api), "-H", f"Authorization: Bearer {SECRET}",
                        "-d", f'{{"port": {target.getsockname()[1]}}}', "http://localhost/bind_port"], check=True, capture_output=True)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(proxy))
            client.sendall(b"through")
            target.settimeout(DEADLINE)
            connection, _ = target.accept()
            with connection:
                connection.settimeout(DEADLINE)
                assert connection.recv(7) == b"through"
    service = str(place / "run/service/nginx")
    subprocess.run(["s6-svc", "-h", service], check=True)
    assert "in" in ask()
    master = int(os.readlink(f"{service}/leader"))
    os.kill(master, signal.SIGKILL)
    wait_until(lambda: not alive(master), "nginx to die")
    assert "in" in ask() and api.exists()
    end(launch)
    assert "alert" not in launch.stderr.text and not api.exists() and not proxy.exists()


def test_a_stopped_nginx_and_its_unix_socket(start, place):
    """Its clients are refused meanwhile, who waits is disconnected, and a start of the service heals it."""
    api = place / "api.sock"
    launch, _ = start(SANDBOX_LISTEN=f"unix:{api}")
    service = str(place / "run/service/nginx")
    for _ in range(2):
        subprocess.run(["s6-svc", "-wd", "-T", "10000", "-d", service], check=True)
        assert not api.exists()
        subprocess.run(["s6-svc", "-wu", "-T", "10000", "-u", service], check=True)
        wait_until(api.exists, "the socket")
        shell("http://localhost", "true", "--unix-socket", str(api))
    end(launch)
    assert not api.exists()


def test_what_waits_at_a_stop_is_disconnected(start, place):
    api = place / "api.sock"
    launch, _ = start(SANDBOX_LISTEN=f"unix:{api}", SANDBOX_STOP_GRACE="0")
    master = int(os.readlink(place / "run/service/nginx/leader"))
    children = pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()
    for pid in map(int, children):
        os.kill(pid, signal.SIGSTOP)  # nobody accepts
    answers = []
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(api))
        client.settimeout(2 * DEADLINE)

        def read():
            try:
                answers.append(client.recv(1))
            except ConnectionResetError:
                answers.append(b"")

        reader = threading.Thread(target=read)
        reader.start()
        launch.process.send_signal(signal.SIGTERM)
        reader.join(2 * DEADLINE)
    assert answers == [b""]
    launch.wait(10 + DEADLINE)
    assert not api.exists()


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(start, place):
    path = place / "api.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert path.exists()
    launch, _ = start(SANDBOX_LISTEN=f"unix:{path}")
    second = start(ready=False, SANDBOX_LISTEN=f"unix:{path}", SANDBOX_RUN_DIR=str(place / "other"), SANDBOX_PROXY_LISTEN="127.0.0.9")
    status, _, complaint = second.wait(DEADLINE)
    assert status == 1 and complaint == f"nginx-sandbox: SANDBOX_LISTEN: cannot listen on unix:{path}: Address already in use\n"
    shell("http://localhost", "true", "--unix-socket", str(path))
    end(launch)


def test_nothing_but_a_socket_is_replaced(start, place):
    (place / "file").write_text("precious")
    launch = start(ready=False, SANDBOX_PROXY_LISTEN=f"unix:{place}/file", SANDBOX_LISTEN=f"unix:{place}/api.sock")
    status, _, complaint = launch.wait(DEADLINE)
    assert status == 1 and complaint == f"nginx-sandbox: SANDBOX_PROXY_LISTEN: cannot listen on unix:{place}/file: File exists\n"
    assert (place / "file").read_text() == "precious" and os.listdir(place) == ["file"]


def test_a_start_that_fails_later_leaves_no_socket(start, place):
    launch = start(ready=False, SANDBOX_LISTEN=f"unix:{place}/api.sock", SANDBOX_ACCESS_LOG="/none/such")
    assert launch.wait(DEADLINE)[0] == 1 and not (place / "api.sock").exists()


@pytest.mark.parametrize("pause", [0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_a_stop_at_the_start_leaves_no_socket(start, place, pause):
    """Also before nginx has begun."""
    paths = place / "api.sock", place / "proxy.sock"
    launch = start(ready=False, SANDBOX_LISTEN=f"unix:{paths[0]}", SANDBOX_PROXY_LISTEN=f"unix:{paths[1]}")
    wait_until(paths[0].exists, "the socket")
    time.sleep(pause)  # the moment is what is tried
    end(launch)
    assert not paths[0].exists() and not paths[1].exists()


def test_what_a_killed_nginx_service_leaves_goes_at_the_end(start, place):
    """Its program is killed for good, so that nobody stops nginx in order."""
    launch, _ = start(SANDBOX_LISTEN=f"unix:{place}/api.sock")
    service = place / "run/service/nginx"
    subprocess.run(["s6-svc", "-wD", "-T", "10000", "-xk", str(service)], check=False)
    end(launch)
    assert not (place / "api.sock").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_commands_may_not_take_the_place_of_a_socket(start, place):
    (place / "theirs").mkdir()
    os.chown(place / "theirs", 4711, 4711)
    launch = start(ready=False, SANDBOX_LISTEN=f"unix:{place}/theirs/api.sock", SANDBOX_USER="4711:4711")
    status, _, complaint = launch.wait(DEADLINE)
    assert status == 1 and str(place / "theirs") in complaint and complaint.count("\n") == 1


@pytest.mark.parametrize("name", ["SANDBOX_LISTEN", "SANDBOX_PROXY_LISTEN"])
@pytest.mark.parametrize("value", [
    "localhost", "127.0.0.1:3030", "[::1]:3030", "unix:relative", "unix:", "unix:/", "unix:/tmp/a;b", "unix:/tmp/a b", "unix:/" + "x" * 107, "unix:@abstract",
    ",", "127.0.0.1,", "127.0.0.1,127.0.0.1", "::1,[::1]", "127.0.0.256", "[]", "[", "127.1", "127.0.0.1;", ",".join(f"127.0.0.{i}" for i in range(1, 10)), "x" * 5000,
])
def test_what_is_no_address(name, value):
    environment = {"PATH": os.environ["PATH"], "SANDBOX_SECRET": SECRET, name: value}
    done = subprocess.run([BIN / "nginx-sandbox"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stderr.startswith(f"nginx-sandbox: {name} must be ") and done.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="addresses of the machine itself")
def test_an_address_that_is_another_machines(start):
    status, _, complaint = start(ready=False, SANDBOX_LISTEN="192.0.2.1").wait(DEADLINE)
    assert status == 1 and "SANDBOX_LISTEN: cannot listen on 192.0.2.1:" in complaint
