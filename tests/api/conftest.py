"""The servers, directories and markers that tests use."""

import fcntl
import itertools
import os
import pathlib
import resource
import subprocess
import tempfile

import pytest

from marker import Marker, end
from sandbox import TEST_USER, Sandbox, Server, make_directory

REMOTE = "SANDBOX_URL" in os.environ

# 2,000 open streams need as many descriptors here.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(_hard, max(_soft, 20000)) if _hard >= 0 else 20000, _hard))


def pytest_collection_modifyitems(items):
    """Slow tests first, so that no worker is left alone with them; what needs the host not on a remote server;
    what needs commands with the server's own rights not where they are another user's."""
    for item in items:
        if TEST_USER and item.get_closest_marker("own_user"):
            item.add_marker(pytest.mark.skip(reason="its commands must be the server's own user"))
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if REMOTE:
        for item in items:
            if item.get_closest_marker("host"):
                item.add_marker(pytest.mark.skip(reason="needs the server's own host"))


class Shared:
    """The server that the ordinary tests of one worker share, started when first needed, and again if it died."""

    def __init__(self):
        self.server = None

    def get(self):
        if REMOTE:
            host, port = os.environ["SANDBOX_PROXY"].rsplit(":", 1)
            return Sandbox(os.environ["SANDBOX_URL"], (host, int(port)), os.environ["SANDBOX_SECRET"])
        if self.server is not None and not self.server.running():
            said = self.server.launch.output()
            self.server.close(check=False)
            self.server = None
            pytest.fail(f"the shared server had died\n{said}")
        self.server = self.server or Server()
        return self.server

    def close(self):
        if self.server:
            self.server.close()


@pytest.fixture(scope="session")
def shared():
    shared = Shared()
    yield shared
    shared.close()


@pytest.fixture
def sandbox(shared):
    """The shared server; the background processes that a test leaves running are ended after it."""
    sandbox = shared.get()
    yield sandbox
    if REMOTE or sandbox.running():
        sandbox.cleanup()


@pytest.fixture
def server():
    """A server for this test alone; that it stops cleanly is part of the test."""
    with Server() as server:
        yield server


@pytest.fixture
def make_server():
    """A function that starts servers with settings, for this test alone."""
    servers = []

    def make(*arguments, **options):
        servers.append(Server(*arguments, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def make_marker(sandbox_of_test):
    markers = []

    def make():
        markers.append(Marker())
        return markers[-1]

    yield make
    for marker, sandbox in itertools.product(markers, sandbox_of_test()):
        end(sandbox, marker.pids(sandbox))


@pytest.fixture
def marker(make_marker):
    return make_marker()


@pytest.fixture
def sandbox_of_test(request):
    """The servers that a fixture of this test has handed out, asked when the test is over."""
    def servers():
        values = [request.node.funcargs.get(name) for name in ("sandbox", "server")]
        return [value for value in values if value is not None and (not value.local or value.running())]

    return servers


@pytest.fixture
def proxy(sandbox):
    """The shared server while nothing is bound and no other test run binds; its (host, port) is the value."""
    with tempfile.TemporaryFile() if sandbox.local else open(f"/tmp/nxs-proxy-{sandbox.proxy_port}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sandbox.post("/unbind_port")
        yield sandbox.proxy_host, sandbox.proxy_port
        if not sandbox.local or sandbox.running():
            sandbox.post("/unbind_port")


@pytest.fixture
def open_directory():
    """A directory where only who starts the server may write, and everybody may look, removed after the test."""
    with tempfile.TemporaryDirectory(prefix="nxs-open-") as path:
        os.chmod(path, 0o755)
        yield pathlib.Path(path)


@pytest.fixture
def workdir(sandbox):
    """A directory on the machine of the shared server, removed after the test."""
    if not sandbox.local:
        path = sandbox.shell("mktemp -d").strip()
        yield path
        sandbox.run('rm -rf "$DIRECTORY"', env={"DIRECTORY": path}, timeout=60)
        return
    path = make_directory()
    yield path
    subprocess.run(["rm", "-rf", path], check=False)  # shutil.rmtree goes no deeper than Python's stack


if TEST_USER:
    @pytest.fixture
    def tmp_path():
        """As pytest's, but where another user than ours can get to it and write."""
        path = make_directory()
        yield pathlib.Path(path)
        subprocess.run(["rm", "-rf", path], check=False)
