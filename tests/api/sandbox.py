"""
A running nginx-sandbox as the tests see it: `Sandbox` is any server (calls, streams, processes), `Server` one that a
test started itself, with its process tree, its files and its end.
"""

import concurrent.futures
import contextlib
import http.client
import io
import json
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import typing
import urllib.parse
import uuid

import requests

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SANDBOX_BIN", REPOSITORY / "bin")).resolve()

# How long a test waits for what should happen at once. A sanitizer build may ask for more.
DEADLINE = float(os.environ.get("SANDBOX_TEST_DEADLINE", "20"))
# How long one call may take before it counts as hung, and the same for calls that move much data.
TIMEOUT = 2 * DEADLINE
BIG_TIMEOUT = 12 * DEADLINE

# A sanitizer's own memory is no measure of ours.
SANITIZED = (BIN / "fcgi-app").exists() and any(
    name in (BIN / "fcgi-app").read_bytes() for name in (b"__asan_init", b"__tsan_init"))

# The API tests can be run against servers whose commands are another user's.
TEST_USER = os.environ.get("SANDBOX_TEST_USER")


def user_ids(user):
    """(uid, gid) of a SANDBOX_USER: a name, or two numbers with a colon."""
    if ":" in user:
        return tuple(map(int, user.split(":")))
    account = pwd.getpwnam(user)
    return account.pw_uid, account.pw_gid


def home(user):
    """Where the commands of a SANDBOX_USER start."""
    directory = "/" if ":" in user else pwd.getpwnam(user).pw_dir
    return directory if os.path.isdir(directory) else "/"


def make_directory(user=None):
    """A new directory in /tmp that belongs to `user`, or to the user whom the tests' servers have for commands."""
    path = tempfile.mkdtemp(prefix="nxs-work-")
    if user or TEST_USER:
        os.chown(path, *user_ids(user or TEST_USER))
    return path


class Endpoint(typing.NamedTuple):
    """An entry of api/endpoints.h."""

    path: str
    method: str  # GET or POST, the first of those that it takes
    trait: str  # OPEN, METRICS, SHORT, LARGE, LASTS, STREAMS, WALKS, RAW or SOCKET
    changes: bool
    methods: frozenset


def listed_endpoints():
    """Every endpoint, as the sources list them."""
    entries = re.findall(r'^    ENDPOINT\(\w+, "(/\w+)", ([A-Z_| ]+), (\w+), (READS|CHANGES)\)', (REPOSITORY / "api/endpoints.h").read_text(), re.M)
    assert len(entries) > 20
    methods = [entry[1].replace("ENDPOINT_", "").split(" | ") for entry in entries]
    return [Endpoint(path, taken[0], trait, effect == "CHANGES", frozenset(taken)) for (path, _, trait, effect), taken in zip(entries, methods)]


# Those that need the token.
API = tuple((endpoint.method, endpoint.path) for endpoint in listed_endpoints() if endpoint.trait not in ("OPEN", "METRICS"))
# Those that take a JSON object.
POST_ENDPOINTS = tuple(endpoint.path for endpoint in listed_endpoints() if endpoint.method == "POST" and endpoint.trait != "RAW")


def wait_until(condition, what, deadline=DEADLINE):
    """Polls until `condition()` is truthy and returns its value; fails with `what` after `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(0.01)


def in_threads(count, function):
    """function(0), ..., function(count - 1) at the same time, each in a thread of its own; their results in order."""
    barrier = threading.Barrier(count)

    def start(number):
        barrier.wait(BIG_TIMEOUT)
        return function(number)

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


# ---- the report of an end ----


def split_facts(answer):
    """
    An answer of /run, or the data of `complete`, in two: what the contract names, and the facts of the end, which must be
    there, whole, and agree with the rest.
    """
    facts = {name: answer[name] for name in ("reason", "duration_ms", "max_rss_kb")}
    assert facts["reason"] in ("exit", "signal", "killed", "timeout", "oom"), answer
    assert (facts["reason"] != "signal") or ("signal" in answer and answer["code"] == -1), answer
    assert (facts["reason"] != "exit") or ("signal" not in answer and answer["code"] >= 0), answer
    assert all(type(facts[name]) is int and facts[name] >= 0 for name in ("duration_ms", "max_rss_kb")), answer
    return {name: value for name, value in answer.items() if name not in facts}, facts


# ---- server-sent events ----


class Event:
    def __init__(self, name, data, identifier):
        self.name, self.data, self.id = name, data, identifier
        if name == "complete" and "code" in data:  # of /run_streaming
            self.data, self.facts = split_facts(data)

    def __repr__(self):
        return f"{self.name} {self.data!r:.200}"

    def __eq__(self, other):
        return (self.name, self.data) == (other if isinstance(other, tuple) else (other.name, other.data))


def parse_block(block):
    """One block between blank lines as the published clients take it; None for a mere comment."""
    name = data = identifier = None
    for line in block.split(b"\n"):
        if line.startswith(b"event: "):
            name = line[7:].decode()
        elif line.startswith(b"data: "):
            data = line[6:]
        elif line.startswith(b"id: "):
            identifier = line[4:].decode()
    return None if data is None else Event(name, json.loads(data), identifier)


def parse_events(raw):
    return [event for event in map(parse_block, raw.split(b"\n\n")) if event]


RETRY = b"retry: 1000\n"  # what a log stream begins with
# What no client may take for the end of a line (str.splitlines does), in UTF-8: nothing of it is in a stream as it is.
SEPARATORS = re.compile(rb"[\x0b\x0c\r\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]")


def check_framing(raw):
    """
    Fails unless `raw` is made of whole events: `\\n` only, one blank line after each; in each one event line, one data line, and
    the id, if there is one, as the last: some clients count it before the event is whole. Before the first event's line there may be how
    soon to reconnect, before any event's there may be comments: no block is without an event.
    """
    raw = raw.removeprefix(RETRY)
    assert not SEPARATORS.search(raw)
    assert raw.endswith(b"\n\n"), f"torn end: {raw[-200:]!r}"
    assert b"\n\n\n" not in raw and not raw.startswith(b"\n")
    for block in raw[:-2].split(b"\n\n"):
        lines = [line for line in block.split(b"\n") if not line.startswith(b":")]
        kinds = [line.split(b": ", 1)[0] for line in lines]
        assert kinds in ([b"event", b"data", b"id"], [b"event", b"data"]), block[:200]
        data = lines[1]
        assert isinstance(json.loads(data[6:]), dict), block[:200]


class EventStream:
    """An open event stream. Iterating yields events until the server ends the answer; `cut` if it did not end well."""

    def __init__(self, sandbox, method, path, body=None, headers=None, timeout=BIG_TIMEOUT, answer_timeout=TIMEOUT):
        headers = {"Authorization": sandbox.authorization, **sandbox.headers, **(headers or {})}
        self.connection = sandbox.connection(answer_timeout)
        self.connection.connect()
        self.socket = self.connection.sock
        self.connection.request(method, sandbox.path + path, None if body is None else json.dumps(body), headers)
        self.response = self.connection.getresponse()  # comes at once, whenever the first event does
        self.socket.settimeout(timeout)
        self.status = self.response.status
        self.headers = self.response.headers
        self.raw = bytearray()
        self.cut = False
        self._seen = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def read_some(self):
        """Appends what has arrived to `raw`, waiting for at least one byte; False at the end."""
        try:
            data = self.response.read1(1 << 16)
        except (http.client.IncompleteRead, ConnectionError):
            self.cut = True
            data = b""
        self.raw += data
        return bool(data)

    def read_all(self):
        while self.read_some():
            pass
        return bytes(self.raw)

    def __iter__(self):
        searched = self._seen
        while True:
            end = self.raw.find(b"\n\n", max(searched - 1, self._seen))
            if end >= 0:
                event = parse_block(bytes(self.raw[self._seen:end]))
                self._seen = searched = end + 2
                if event:
                    yield event
                continue
            searched = len(self.raw)
            if not self.read_some():
                return

    def next(self):
        return next(iter(self))

    def events(self):
        return list(self)

    def close(self, reset=False):
        """Goes away without a word: a FIN, or with `reset` an RST."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.response.close()
        self.connection.close()
        self.socket.close()


# ---- raw HTTP ----


class SharedReader(io.BufferedReader):
    """A buffered reader that http.client may "close" after each response on a kept connection."""

    def close(self):
        pass


class RawConnection:
    """A TCP connection on which a test says exactly the bytes it wants."""

    def __init__(self, host, port, timeout=TIMEOUT, source=None):
        self.socket = socket.create_connection((host, port), timeout=timeout, source_address=source)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = SharedReader(socket.SocketIO(self.socket, "r"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def makefile(self, *_, **__):
        return self.reader

    def send(self, data):
        self.socket.sendall(data)

    def response(self, method="GET"):
        """Reads one whole response: (status, headers, body)."""
        response = http.client.HTTPResponse(self, method=method)
        response.begin()
        return response.status, response.headers, response.read()

    def exchange(self, data, method="GET"):
        with contextlib.suppress(ConnectionError):  # an answer may come before all is sent
            self.send(data)
        return self.response(method)

    def drain(self):
        """Ends the sending side and returns what comes until the server closes, or resets what it did not read."""
        data = b""
        with contextlib.suppress(ConnectionError):
            self.socket.shutdown(socket.SHUT_WR)
            while piece := self.socket.recv(65536):
                data += piece
        return data


def http_request(method, target, headers=(), body=b"", version="HTTP/1.1"):
    """The bytes of a request; `headers` are (name, value) pairs, sent as they are."""
    lines = [f"{method} {target} {version}".encode()]
    lines += [name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


# ---- a server ----


class Sandbox:
    """A server somewhere, known by its address and secret."""

    def __init__(self, url, proxy, secret):
        address = urllib.parse.urlsplit(url)
        self.url = url.rstrip("/")
        self.host, self.port, self.path = address.hostname, address.port or 80, address.path.rstrip("/")
        self.proxy_host, self.proxy_port = proxy
        self.secret = secret
        self.headers = {}  # of every request
        self.started = []
        self._local = threading.local()

    @property
    def authorization(self):
        return b"Bearer " + self.secret.encode()

    @property
    def local(self):
        return False

    def _session(self):
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False
        return self._local.session

    def leave_connections(self):
        """To call after nginx was reloaded or ended: it closes idle kept connections, perhaps just as a request is sent on one."""
        self._local = threading.local()

    def call(self, method, path, body=None, *, token=True, headers=None, timeout=TIMEOUT, **options):
        """One request. `body` is bytes or an iterator of bytes as they are, or anything else as JSON."""
        headers = {**self.headers, **(headers or {})}
        if token:
            headers.setdefault("Authorization", self.authorization)
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "__next__"):
            body = json.dumps(body).encode()
        return self._session().request(method, self.url + path, data=body, headers=headers, timeout=timeout, **options)

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def post(self, path, /, **fields):
        return self.call("POST", path, fields)

    def connection(self, timeout):
        """A connection of http.client, not yet open."""
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def raw(self, timeout=TIMEOUT):
        return RawConnection(self.host, self.port, timeout)

    def bearer(self):
        return ("Authorization", self.authorization)

    # -- commands --

    def run_with_facts(self, cmd, /, timeout=TIMEOUT, **fields):
        """The answer of /run, and its figures of the end."""
        answer = self.call("POST", "/run", {"cmd": cmd, **fields}, timeout=timeout)
        assert answer.status_code == 200, (answer.status_code, answer.text[:500])
        return split_facts(answer.json())

    def run(self, cmd, /, timeout=TIMEOUT, **fields):
        return self.run_with_facts(cmd, timeout, **fields)[0]

    def shell(self, cmd, /, **fields):
        """What `cmd` prints; it must succeed."""
        answer = self.run(cmd, **fields)
        assert answer["code"] == 0, answer
        return answer["stdout"]

    def stream(self, cmd, /, timeout=BIG_TIMEOUT, **fields):
        return EventStream(self, "POST", "/run_streaming", {"cmd": cmd, **fields}, timeout=timeout)

    # -- background processes --

    def start(self, cmd, /, **fields):
        answer = self.call("POST", "/start_process", {"cmd": cmd, **fields})
        assert answer.status_code == 201, (answer.status_code, answer.text)
        self.started.append(answer.json()["id"])
        return answer.json()

    def processes(self, full=False):
        """The list; `full`: with everything that /get_process has."""
        answer = self.get("/list_processes?full=1" if full else "/list_processes")
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.json()["processes"]

    def status(self, identifier):
        return next(process["status"] for process in self.processes() if process["id"] == identifier)

    def kill(self, identifier):
        return self.post("/kill_process", id=identifier)

    def logs(self, identifier, headers=None, timeout=BIG_TIMEOUT):
        return EventStream(self, "GET", f"/process_logs_streaming?id={identifier}", headers=headers, timeout=timeout)

    def ended(self, identifier, deadline=DEADLINE):
        """Waits for the end of a background process and returns its status."""
        wait_until(lambda: self.status(identifier) != "running", "the end of the process", deadline)
        return self.status(identifier)

    def lines(self, identifier):
        """The data of all log lines of a process, up to its end."""
        with self.logs(identifier) as stream:
            events = stream.events()
        assert events[-1] == ("complete", {"message": "stream ended"}), events[-3:]
        return [event.data["data"] for event in events[:-1]]

    # -- what the machine of the server shows --

    def find(self, needle):
        """[(pid, command line)] of the living processes whose command line contains `needle`."""
        script = (
            "import os\n"
            "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
            "    try: line = open('/proc/' + pid + '/cmdline', 'rb').read()\n"
            "    except OSError: continue\n"
            "    if os.environ['NEEDLE'].encode() in line: print(pid, line.replace(b'\\0', b' ').hex())\n"
        )
        found = self.shell('exec python3 -c "$SCRIPT"', env={"SCRIPT": script, "NEEDLE": needle})
        pairs = (line.split() for line in found.splitlines())
        return [(int(pid), bytes.fromhex(line).decode(errors="replace")) for pid, line in pairs]

    def cleanup(self):
        """Ends the background processes that start() started."""
        while self.started:
            self.kill(self.started.pop())


# ---- a disk of our own ----


def with_a_small_disk(directory, size="1m"):
    """A command prefix that puts a small tmpfs on `directory`, seen by that command alone; as the same user as ever."""
    script = f'mount -t tmpfs -o size={size},mode=777 none "$1"; shift; exec "$@"'
    if os.geteuid() == 0:
        return ["unshare", "--mount", "sh", "-c", script, "sh", directory]
    same_user = ["unshare", "--user", f"--map-user={os.geteuid()}", f"--map-group={os.getegid()}"]
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", directory, *same_user]


def mounting_is_allowed():
    return subprocess.run([*with_a_small_disk("/mnt"), "true"], capture_output=True, check=False).returncode == 0


# ---- a server of our own ----


class Port:
    """A free TCP port, claimed against every other test run on this machine for as long as this object lives."""

    RANGE = range(12000, 32000)  # below the range that the kernel gives to outgoing connections

    def __init__(self):
        for number in random.sample(self.RANGE, len(self.RANGE)):
            claim = socket.socket(socket.AF_UNIX)
            try:
                claim.bind(f"\0nginx-sandbox-test-port-{number}")
            except OSError:
                claim.close()
                continue
            if all(self.bindable(family, number) for family in (socket.AF_INET, socket.AF_INET6)):
                self.number, self.claim = number, claim
                return
            claim.close()
        raise RuntimeError("no free port")

    @staticmethod
    def bindable(family, number):
        try:
            with socket.socket(family) as test:
                test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    test.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                test.bind(("", number))
        except OSError:
            return family == socket.AF_INET6 and not has_ipv6()
        return True

    def free(self):
        self.claim.close()


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as test:
            test.bind(("::1", 0))
    except OSError:
        return False
    return True


def refused(host, port):
    try:
        socket.create_connection((host, port), timeout=DEADLINE).close()
    except ConnectionRefusedError:
        return True
    return False


def proc_file(pid, name):
    """The bytes of /proc/<pid>/<name>; nothing when the process is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def proc_stat(pid):
    """(state, ppid, start time) or None when the process is gone."""
    text = proc_file(pid, "stat")
    if not text:
        return None
    fields = text[text.rindex(b")") + 2:].split()
    return fields[0].decode(), int(fields[1]), int(fields[19])


def cgroup_mount_point():
    """Where cgroup version 2 is mounted, or None."""
    fields = [line.split() for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line]
    return pathlib.Path(fields[0][4]) if fields else None


def cgroup_of(pid):
    """The directory of the cgroup of a process."""
    place = next(line[3:] for line in proc_file(pid, "cgroup").decode().splitlines() if line.startswith("0::"))
    return cgroup_mount_point() / place.lstrip("/")


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def alive(pid):
    stat = proc_stat(pid)
    return stat is not None and stat[0] not in "ZX"


def runs(pid):
    """Whether any thread of it may begin something: not one that is stopped or a zombie."""
    with contextlib.suppress(OSError):
        stats = [proc_stat(f"{pid}/task/{thread}") for thread in os.listdir(f"/proc/{pid}/task")]
        return any(stat is not None and stat[0] not in "TZX" for stat in stats)
    return False


def signal_if_alive(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def freeze(pid):
    """Stops a process, and returns when each of its threads has stopped: until then it may begin something."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: not runs(pid), f"{pid} to stop")


def descriptors(pid):
    """What the open descriptors of a process are: the texts of the links in /proc/<pid>/fd."""
    links = []
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return links


class LineCollector(threading.Thread):
    """Reads a pipe to its end, line by line, and keeps the text."""

    def __init__(self, pipe):
        super().__init__(daemon=True)
        self.pipe, self.lines = pipe, []
        self.start()

    def run(self):
        with self.pipe:
            for line in self.pipe:
                self.lines.append(line.decode(errors="replace"))

    @property
    def text(self):
        return "".join(self.lines)


READY = re.compile(r"^nginx-sandbox: ready on (http://\S+)", re.M)


class Launch:
    """One run of bin/nginx-sandbox: the process, what it says, and every process that comes of it."""

    def __init__(self, settings, prefix=(), launcher=BIN / "nginx-sandbox"):
        self.mark = uuid.uuid4().hex
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("SANDBOX_") and name not in ("PORT", "PROXY_PORT", "LOG_LEVEL")}
        environment.update(settings, NGINX_SANDBOX_TEST=self.mark)
        self.process = subprocess.Popen(
            [*prefix, str(launcher)], env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.pid = self.process.pid
        self.stdout, self.stderr = LineCollector(self.process.stdout), LineCollector(self.process.stderr)

    def output(self):
        return f"--- stdout\n{self.stdout.text}--- stderr\n{self.stderr.text[-4000:]}"

    def wait_ready(self, deadline=max(10, DEADLINE)):
        def look():
            if self.process.poll() is not None:
                self.stderr.join(DEADLINE)
                raise AssertionError(f"the server ended with {self.process.returncode}\n{self.output()}")
            return READY.search(self.stdout.text)

        try:
            return wait_until(look, "the ready line", deadline).group(1)
        except AssertionError:
            self.destroy()
            raise AssertionError(f"the server did not become ready\n{self.output()}") from None

    def wait(self, deadline=DEADLINE):
        """Waits for the end; (exit status, stdout, stderr)."""
        code = self.process.wait(deadline)
        self.stdout.join(DEADLINE)
        self.stderr.join(DEADLINE)
        return code, self.stdout.text, self.stderr.text

    def tree(self):
        """The pids of the foreground process and all its descendants."""
        parents = {pid: stat[1] for pid in all_pids() if (stat := proc_stat(pid))}
        tree, found = [], {self.pid}
        while found:
            tree += found
            found = {pid for pid, parent in parents.items() if parent in found}
        return [pid for pid in tree if pid in parents]

    def marked(self):
        """The living processes that carry this server's mark in their environment, whatever their parent is."""
        return [pid for pid in all_pids() if self.mark.encode() in proc_file(pid, "environ") and alive(pid)]

    def destroy(self):
        """Ends it by force. All stop first: a process whose child is killed would start another, without the mark perhaps."""
        found, stopped = {*self.tree(), *self.marked()} - {os.getpid()}, set()
        while found:
            for pid in found:
                signal_if_alive(pid, signal.SIGSTOP)
            wait_until(lambda pids=found: not any(runs(pid) for pid in pids), "all to stop")
            stopped |= found
            found = {*self.tree(), *self.marked()} - {os.getpid()} - stopped
        for pid in stopped:
            signal_if_alive(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(DEADLINE)


class Server(Sandbox):
    """
    A server of our own. `settings` are environment variables, `prefix` a command to start it through, `launcher` the
    program where it is not the one that was built.
    """

    def __init__(self, settings=None, secret=None, run_dir=None, prefix=(), launcher=BIN / "nginx-sandbox", look_for_leaks=True):
        self.ports = Port(), Port()
        secret = f"secret-{uuid.uuid4().hex}" if secret is None else secret
        port, proxy_port = (port.number for port in self.ports)
        super().__init__(f"http://127.0.0.1:{port}", ("127.0.0.1", proxy_port), secret)
        self.home = tempfile.mkdtemp(prefix="nxs-")
        os.chmod(self.home, 0o755)
        self.run_dir = pathlib.Path(run_dir or os.path.join(self.home, "run"))
        self.settings = {"SANDBOX_SECRET": secret, "PORT": str(port), "PROXY_PORT": str(proxy_port),
                         "SANDBOX_RUN_DIR": str(self.run_dir), "SANDBOX_MAX_FAILED_AUTH": "1000000", **(settings or {})}
        if TEST_USER:
            self.settings.setdefault("SANDBOX_USER", TEST_USER)
            self.settings.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")  # nothing in /root
        if SANITIZED and (self.settings.get("SANDBOX_USER") or not look_for_leaks):
            # LeakSanitizer has a child trace its process: not one that nobody may trace, and not where there can be no child.
            self.settings["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        self.settings = {name: value for name, value in self.settings.items() if value is not None}
        self.prefix, self.launcher = prefix, launcher
        self.launch = None
        self.boot()

    def boot(self):
        """Starts it, also again after stop()."""
        self.launch = Launch(self.settings, self.prefix, self.launcher)
        self.launch.wait_ready()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close(check=kind is None)

    @property
    def local(self):
        return True

    def running(self):
        return self.launch is not None and self.launch.process.poll() is None

    def stop(self, number=signal.SIGTERM, group=False, deadline=10):
        """Ends it by a signal and checks that it says 0 and leaves nothing behind."""
        before = {pid: stat[2] for pid in self.launch.tree() if (stat := proc_stat(pid))}
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.launch.pid, number)
        try:
            code, _, _ = self.launch.wait(deadline)
        except subprocess.TimeoutExpired:
            self.launch.destroy()
            raise AssertionError(f"still running {deadline} s after the signal\n{self.launch.output()}") from None
        assert code == 0, f"exit status {code}\n{self.launch.output()}"
        left = [pid for pid, start in before.items() if alive(pid) and proc_stat(pid)[2] == start]
        left = {pid: proc_file(pid, "cmdline") for pid in {*left, *self.launch.marked()}}
        if left:
            self.launch.destroy()
        assert not left, f"processes left behind: {left}"
        assert not self.launch.stdout.is_alive() and not self.launch.stderr.is_alive(), "something holds the output"
        assert refused(self.host, self.port) and refused(self.proxy_host, self.proxy_port)

    def crash(self):
        """Kills it. A process that is killed has its sockets for some time more: returns when the ports are free."""
        self.launch.destroy()
        wait_until(lambda: refused(self.host, self.port) and refused(self.proxy_host, self.proxy_port), "the end of the server")

    def close(self, check=True, keep=False):
        """Ends it, by stop() where that is to be checked, and removes its files unless they are to be kept."""
        try:
            if self.running() and check:
                self.stop()
        finally:
            self.launch.destroy()
            for port in self.ports:
                port.free()
            if not keep:
                shutil.rmtree(self.home, ignore_errors=True)

    def find(self, needle):
        found = ((pid, proc_file(pid, "cmdline")) for pid in all_pids() if pid != os.getpid())
        return [(pid, line.replace(b"\0", b" ").decode(errors="replace")) for pid, line in found
                if needle.encode() in line and alive(pid)]

    # -- the daemons --

    def daemon(self, name):
        """The pid of `procd`, `fcgi-app` or another daemon of ours (not their runners), or of `nginx` (the master); None while it is not there."""
        for pid in self.launch.tree():
            line = proc_file(pid, "cmdline")
            if name == "nginx":
                if line.startswith(b"nginx: master"):
                    return pid
            elif os.path.basename(line.split(b"\0")[0]) == name.encode() and b"-r\0" in line:
                return pid
        return None

    def kill_daemon(self, name, number=signal.SIGKILL):
        """Kills a daemon and returns its pid once it is gone."""
        pid = wait_until(lambda: self.daemon(name), f"{name} to run")
        os.kill(pid, number)
        wait_until(lambda: not alive(pid), f"{name} to die")
        if name == "nginx":
            self.leave_connections()
        return pid

    def back(self, name, old):
        """Waits until a killed daemon runs again and the server is healthy."""
        wait_until(lambda: self.daemon(name) not in (None, old), f"{name} to be started again")
        self.healthy()

    def healthy(self):
        def look():
            try:
                return self.get("/health", token=False, timeout=1).status_code == 200
            except requests.RequestException:
                return False

        wait_until(look, "the server to be healthy")

    def supervise(self, name, order):
        """Gives s6 an order for a service: order "d" takes it down, "u" up again."""
        old = self.daemon(name)
        subprocess.run(["s6-svc", f"-{order}", str(self.run_dir / "service" / name)], check=True)
        if order == "d":
            # A process that ends loses its memory, and so its command line, before its connections are closed.
            wait_until(lambda: self.daemon(name) is None and not (old and alive(old)), f"{name} to go down")
        else:
            wait_until(lambda: self.daemon(name), f"{name} to come up")

    def reload_nginx(self):
        """Over when only new workers take connections. Returns the old ones."""
        old = set(self.nginx_pids()) - {self.daemon("nginx")}
        self.supervise("nginx", "h")
        wait_until(lambda: all(b"shutting down" in proc_file(pid, "cmdline") for pid in old if alive(pid)), "the old workers to take no more")
        self.leave_connections()
        return old

    def settle(self, count=100):
        """Requests, one after the other, whatever comes of them: what is still to happen by itself happens meanwhile."""
        for _ in range(count):
            with contextlib.suppress(requests.RequestException):
                self.post("/run", cmd="true")

    def whole_access_log(self):
        """Its text, with the lines that nginx holds back, a second at most: it writes them when it ends."""
        self.supervise("nginx", "d")
        text = (self.run_dir / "nginx/access.log").read_bytes()
        self.supervise("nginx", "u")
        return text

    def answered(self, path):
        """How many requests for a path are over, whatever became of them: those in nginx's access log, a second later at most."""
        log = (self.run_dir / "nginx/access.log").read_text()
        return log.count(f'"uri":"{path}"')

    def waiting(self):
        """How many connections wait in fcgi-app's backlog: those without an inode of their own (proc_pid_net(5))."""
        rows = (line.split() for line in pathlib.Path("/proc/net/unix").read_text().splitlines())
        return sum(row[-1] == str(self.run_dir / "fcgi-app.sock") and row[-2] == "0" for row in rows)

    def nginx_pids(self):
        return [pid for pid in self.launch.tree() if proc_file(pid, "cmdline").startswith(b"nginx: ")]
