"""What is measured: builds of this server, and servers of its API that run already."""

import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("SANDBOX_BIN", ROOT / "bin")).resolve()
TOOLS = pathlib.Path(os.environ.get("BENCH_BIN", ROOT / "build/bench"))

# The processes of a server, by their command lines.
DAEMONS = r"^\S*(fcgi-app|procd) -r "
TERMINAL = r"^\S*terminal -r "
RUNNERS = r"^procd --runner "
GUARD = r"^\S*guard -r "
NGINX = r"^nginx: "


def free_port():
    """Below those that the system gives to clients."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = random.randrange(10000, 32768)
            probe.bind(("0.0.0.0", port))
            return port


def wait_until(condition, seconds=10, pause=0.005):
    """Returns as soon as the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("bench: waited in vain")
        time.sleep(pause)


MEMORY = "/dev/shm"


def fresh_directory(on_disk=True):
    """Or in memory, as /run is."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="bench", dir=None if on_disk or not os.access(MEMORY, os.W_OK) else MEMORY))
    directory.chmod(0o755)  # nginx's workers are another user
    return directory


def command_lines():
    """{pid: (parent, command line)} of all processes."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                found[int(entry.name)] = parent, (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
    return found


class Server:
    """A server of this API on 127.0.0.1 or elsewhere, which runs already."""

    def __init__(self, host, port, proxy, secret):
        self.host, self.port, self.proxy, self.secret = host, int(port), int(proxy), secret

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Leaves it as it is."""

    def call(self, path, body=None, method="POST"):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        connection.request(method, path, None if body is None else json.dumps(body), {"Authorization": f"Bearer {self.secret}"})
        text = connection.getresponse().read()
        connection.close()
        return json.loads(text)

    def try_call(self, *call, **how):
        """The same while the server may be away: {} if it is."""
        try:
            return self.call(*call, **how)
        except (OSError, http.client.HTTPException, ValueError):
            return {}


class Ours(Server):
    """A server of its own, from the programs in a directory. A setting that is None is not set."""

    def __init__(self, binaries=BIN, **settings):
        self.binaries, self.directory = binaries, fresh_directory(on_disk=False)
        super().__init__("127.0.0.1", free_port(), free_port(), "bench-secret")
        settings = {"SANDBOX_SECRET": self.secret, "PORT": str(self.port), "PROXY_PORT": str(self.proxy),
                    "SANDBOX_RUN_DIR": f"{self.directory}/run", "SANDBOX_ACCESS_LOG": "off", **settings}
        settings = {name: value for name, value in {**os.environ, **settings}.items() if value is not None}
        self.process = subprocess.Popen([binaries / "nginx-sandbox"], env=settings, stdout=subprocess.PIPE, text=True)
        if not any("ready on" in line for line in self.process.stdout):
            sys.exit("bench: the server did not start")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(15)
        shutil.rmtree(self.directory, ignore_errors=True)

    def pids(self, pattern):
        """Of its processes whose command line matches."""
        lines = command_lines()
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            queue += [child for child, (parent, _) in lines.items() if parent == pid]
            if pid in lines and re.search(pattern, lines[pid][1]):
                found.append(pid)
        return found

    def pss_kib(self, pattern):
        total, pids = 0, self.pids(pattern)
        assert pids, pattern
        for pid in pids:
            try:
                rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += int(re.search(r"^Pss: +(\d+)", rollup, re.M).group(1))
        return total

    def leader(self, name):
        """The pid of a daemon, or None."""
        try:
            return int(os.readlink(f"{self.directory}/run/service/{name}/leader"))
        except FileNotFoundError:
            return None


def build_commit(commit):
    """Builds a commit in build/base, where it stays. Its name there, and its directory of programs."""
    name = subprocess.run(["git", "rev-parse", "--short", f"{commit}^{{commit}}"], cwd=ROOT, capture_output=True, text=True)
    if name.returncode != 0:
        sys.exit(f"bench: BASE={commit} is no commit")
    name = name.stdout.strip()
    tree = ROOT / "build/base" / name
    if not tree.is_dir():
        tree.parent.mkdir(parents=True, exist_ok=True)
        part = tempfile.mkdtemp(prefix="part-", dir=tree.parent)
        subprocess.run(f"git archive {name} | tar -x -C {part}", shell=True, cwd=ROOT, check=True)
        os.chmod(part, 0o755)
        os.rename(part, tree)
    # Its own make: neither the variables nor the job server of the one that runs us.
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "BIN", "BUILD")}
    subprocess.run(["make", f"-j{os.cpu_count()}", "build"], cwd=tree, env=environment, stdout=subprocess.DEVNULL, check=True)
    return name, tree / "bin"


class EmptyHandler(Ours):
    """Our nginx configuration in front of bench/empty_handler instead of fcgi-app. /nginx is answered by nginx alone."""

    def __init__(self):
        super().__init__()
        run = self.directory / "run"
        subprocess.run(["s6-svc", "-wD", "-d", run / "service/fcgi-app"], check=True)
        path = run / "fcgi-app.sock"
        mode = path.stat()
        path.unlink()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(mode.st_mode & 0o777)
            os.chown(path, mode.st_uid, mode.st_gid)
            listener.listen(4096)
            self.handler = subprocess.Popen([TOOLS / "empty_handler"], stdin=listener)
        conf = run / "nginx/nginx.conf"
        alone = "location = /nginx { default_type application/json; return 200 '{\"status\":\"ok\"}'; }"
        conf.write_text(re.sub(r"(\n\s*server\s*\{)", rf"\1\n{alone}\n", conf.read_text(), count=1))
        old = set(self.pids("^nginx: worker"))
        subprocess.run(["s6-svc", "-h", run / "service/nginx"], check=True)
        # The old workers accept, too, until they have seen the order.
        wait_until(lambda: self.try_call("/nginx", method="GET").get("status") == "ok" and not old & set(self.pids(NGINX)))

    def stop(self):
        super().stop()
        self.handler.terminate()
        self.handler.wait()
