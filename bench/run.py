#!/usr/bin/python3
"""The benchmarks: `make bench`. Prints a Markdown table: figure, floor measured in the same run, ratio.

Starts its own server (bin/nginx-sandbox) on free ports. PEER='host:port:proxyport:secret' measures another
server of the same API beside it. BENCH_SECONDS (default 5) is the length of each rate measurement;
arguments choose rows by name (see ROWS).
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("SANDBOX_BIN", ROOT / "bin"))
TOOLS = pathlib.Path(os.environ.get("BENCH_BIN", ROOT / "build/bench"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "5"))
MIB = 1 << 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server under measurement: ours, or a peer that runs already."""

    def __init__(self, host, port, proxy, secret):
        self.host, self.port, self.proxy, self.secret = host, port, proxy, secret

    def call(self, path, body=None, method="POST"):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        connection.request(method, path, None if body is None else json.dumps(body), self.headers())
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return json.loads(text)

    def headers(self):
        return {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}

    def pss_kib(self, pattern=r""):
        return None


class Ours(Server):
    def __init__(self, **environment):
        self.directory = tempfile.mkdtemp(prefix="bench")
        os.chmod(self.directory, 0o755)  # nginx's workers are another user
        super().__init__("127.0.0.1", free_port(), free_port(), "bench-secret")
        settings = dict(SANDBOX_SECRET=self.secret, PORT=str(self.port), PROXY_PORT=str(self.proxy),
                        SANDBOX_RUN_DIR=self.directory + "/run", SANDBOX_ACCESS_LOG="off", **environment)
        self.process = subprocess.Popen([BIN / "nginx-sandbox"], env={**os.environ, **settings},
                                        stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if "ready on" in line:
                break
        else:
            sys.exit("bench: the server did not start")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(15)
        shutil.rmtree(self.directory, ignore_errors=True)

    def daemons(self, pattern):
        """Pids below the supervisor whose command line matches."""
        children = {}
        lines = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    stat = (entry / "stat").read_text()
                    lines[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry.name))
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            queue += children.get(pid, [])
            if re.search(pattern, lines.get(pid, "")):
                found.append(pid)
        return found

    def pss_kib(self, pattern=r"fcgi-app|procd|nginx: "):
        total = 0
        for pid in self.daemons(pattern):
            try:
                rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += int(re.search(r"^Pss: +(\d+)", rollup, re.M).group(1))
        return total


def wrk(url, script=None, headers=(), connections=8):
    command = ["wrk", "-t2", f"-c{connections}", f"-d{SECONDS}s", "--timeout", "30s"]
    for header in headers:
        command += ["-H", header]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as lua:
        if script:
            lua.write(script)
            lua.flush()
            command += ["-s", lua.name]
        output = subprocess.run(command + [url], capture_output=True, text=True, check=True).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", output)
    if bad:
        print(f"bench: {url}: {bad.group(0)}", file=sys.stderr)
    return float(re.search(r"Requests/sec: +([\d.]+)", output).group(1)), output


def post(server, path, body):
    script = 'wrk.method = "POST"\nwrk.body = [==[%s]==]\n' % json.dumps(body)
    return wrk(f"http://{server.host}:{server.port}{path}", script, [f"Authorization: Bearer {server.secret}"])[0]


def get(server, path):
    return wrk(f"http://{server.host}:{server.port}{path}", None, [f"Authorization: Bearer {server.secret}"])[0]


def tool(name, *arguments):
    return subprocess.run([TOOLS / name, *map(str, arguments)], capture_output=True, text=True, check=True).stdout


class Streams:
    """bench/stream_reader on a server."""

    def __init__(self, server, count, method, path, body=None):
        self.process = subprocess.Popen(
            [TOOLS / "stream_reader", str(server.port), str(count), method, path, *([json.dumps(body)] if body else [])],
            env={**os.environ, "SANDBOX_SECRET": server.secret}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_for(self, word):
        for line in self.process.stdout:
            if line.startswith(word):
                return line.split()
        sys.exit(f"bench: streams ended before '{word}'")

    def result(self):
        last = self.process.stdout.read().splitlines()[-1].split()
        self.process.wait()
        return int(last[0]), int(last[1]), float(last[2])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def peak_pss(server, stop):
    peak = [0]

    def sample():
        while not stop.is_set():
            peak[0] = max(peak[0], server.pss_kib(r"fcgi-app|procd") or 0)
            stop.wait(0.02)

    thread = threading.Thread(target=sample)
    thread.start()
    return thread, peak


def judged(target, figure):
    """The target, marked if the figure misses it: by its first number where more is better, else by its last, the worst."""
    bound = re.match(r"([≥≤]) ([\d.,]+)", target)
    if not bound:
        return target
    most, *rest = [float(number.replace(",", "")) for number in (bound[2].rstrip(","), *re.findall(r"\d[\d,.]*", figure))]
    good = rest[0] >= most if bound[1] == "≥" else rest[-1] <= most
    return target if good else f"{target} **missed**"


def row(name, figure, target="", floor="", ratio=""):
    target = judged(target, ratio or figure)
    print(f"| {name} | {figure} | {floor} | {ratio} | {target} |", flush=True)


def run_true(server):
    floor = float(tool("spawn_floor", SECONDS))
    rate = post(server, "/run", {"cmd": "true"})
    row("`POST /run true`, 8 connections", f"{rate:,.0f}/s", "≥ 0.75", f"{floor:,.0f}/s bare posix_spawn in two loops", f"{rate / floor:.2f}")


def run_output(server):
    with tempfile.NamedTemporaryFile() as text:
        text.write((b"The quick brown fox jumps over the lazy dog; 0123456789 abcdefghijklmno\n" * (100 * MIB // 72 + 1))[:100 * MIB])
        text.flush()
        os.chmod(text.name, 0o644)
        started = time.monotonic()
        subprocess.run(f"cat {text.name} | cat >/dev/null", shell=True, check=True)
        floor = 100 * MIB / 1e6 / (time.monotonic() - started)
        stop = threading.Event()
        thread, peak = peak_pss(server, stop)
        rates = []
        for _ in range(3):
            started = time.monotonic()
            streams = Streams(server, 1, "POST", "/run", {"cmd": f"cat {text.name}"})
            size = streams.result()[1]
            assert size >= 100 * MIB, size
            rates.append(100 * MIB / 1e6 / (time.monotonic() - started))
        stop.set()
        thread.join()
    row("`/run` of 100 MiB stdout", f"{statistics.median(rates):,.0f} MB/s", "≥ 250 MB/s", f"{floor:,.0f} MB/s `cat \\| cat`")
    if peak[0]:
        row("peak PSS of fcgi-app + procd + runners meanwhile", f"{peak[0] / 1024:.1f} MiB", "≤ 64 MiB")


def run_streaming(server):
    started = time.monotonic()
    subprocess.run("seq 1000000 | wc -l", shell=True, check=True, stdout=subprocess.DEVNULL)
    floor = 1e6 / (time.monotonic() - started)
    events, _, seconds = Streams(server, 1, "POST", "/run_streaming", {"cmd": "seq 1000000"}).result()
    assert events >= 1000001, events
    row("`/run_streaming` of `seq 1000000`", f"{1e6 / seconds:,.0f} lines/s", "≥ 500,000", f"{floor:,.0f} lines/s `seq \\| wc`", "")


def watchers(_):
    server = Ours(SANDBOX_LOG_MAX="1g")
    lines, count = 200000, 50
    try:
        gate = server.directory + "/gate"
        job = server.call("/start_process", {"cmd": f"echo ready; until [ -e {gate} ]; do sleep 0.05; done; seq {lines}"})
        streams = Streams(server, count, "GET", f"/process_logs_streaming?id={job['id']}")
        streams.wait_for("open")
        started = time.monotonic()
        pathlib.Path(gate).touch()
        events = streams.result()[0]
        seconds = time.monotonic() - started
    finally:
        server.stop()
    row(f"{count} watchers of {lines:,} lines", f"{events / seconds:,.0f} lines/s in sum, {events - (lines + 2) * count:+d} events", "≥ 1,000,000, every line")


def small_requests(server):
    floor = None
    if isinstance(server, Ours):
        empty = EmptyHandler()
        floor = get(empty, "/")
        alone = get(empty, "/nginx")
        empty.stop()
        row("empty FastCGI handler, 8 connections", f"{floor:,.0f}/s", "", f"{alone:,.0f}/s nginx alone", f"{floor / alone:.2f}")
    path = tempfile.mktemp(prefix="bench-read-")
    server.call("/write_file", {"path": path, "content": "x" * 1024})
    for name, rate in (("`GET /list_processes`", get(server, "/list_processes")),
                       ("`POST /read_file` of 1 KB", post(server, "/read_file", {"path": path}))):
        row(f"{name}, 8 connections", f"{rate:,.0f}/s", "≥ 0.8", f"{floor:,.0f}/s empty handler" if floor else "", f"{rate / floor:.2f}" if floor else "")
    server.call("/delete_file", {"path": path})


def another_user(server):
    """What SANDBOX_USER costs: a change of user before each command, and fcgi-app's seccomp filter."""
    if os.geteuid() != 0:
        return
    path = tempfile.mktemp(prefix="bench-read-")
    server.call("/write_file", {"path": path, "content": "x" * 1024})
    other = Ours(SANDBOX_USER="games", PATH="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    try:
        for what, body in (("/run", {"cmd": "true"}), ("/read_file", {"path": path})):
            plain, rate = post(server, what, body), post(other, what, body)
            row(f"`POST {what}` with `SANDBOX_USER`, 8 connections", f"{rate:,.0f}/s", "", f"{plain:,.0f}/s without", f"{rate / plain:.2f}")
    finally:
        other.stop()
        server.call("/delete_file", {"path": path})


class EmptyHandler(Server):
    """Our nginx configuration in front of bench/empty_handler instead of fcgi-app."""

    def __init__(self):
        self.ours = Ours()
        super().__init__("127.0.0.1", self.ours.port, self.ours.proxy, self.ours.secret)
        subprocess.run(["s6-svc", "-wD", "-d", self.ours.directory + "/run/service/fcgi-app"], check=True)
        path = self.ours.directory + "/run/fcgi-app.sock"
        mode = os.stat(path)
        os.unlink(path)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        os.chmod(path, mode.st_mode & 0o777)
        os.chown(path, mode.st_uid, mode.st_gid)
        listener.listen(4096)
        self.handler = subprocess.Popen([TOOLS / "empty_handler"], stdin=listener)
        listener.close()
        conf = pathlib.Path(self.ours.directory + "/run/nginx/nginx.conf")
        text = conf.read_text()
        conf.write_text(re.sub(r"(\n\s*server\s*\{)", r"\1\n location = /nginx { default_type application/json; return 200 '{\"status\":\"ok\"}'; }\n", text, count=1))
        subprocess.run(["s6-svc", "-h", self.ours.directory + "/run/service/nginx"], check=True)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                self.call("/nginx", method="GET")
                break
            except (OSError, ValueError):
                time.sleep(0.05)

    def stop(self):
        self.ours.stop()
        self.handler.terminate()
        self.handler.wait()


def idle_streams(server):
    count = 2000
    job = server.call("/start_process", {"cmd": "sleep 600"})
    before = server.pss_kib()
    streams = Streams(server, count, "GET", f"/process_logs_streaming?id={job['id']}")
    streams.wait_for("open")
    streams.wait_for("idle")
    after = server.pss_kib()
    streams.close()
    server.call("/kill_process", {"id": job["id"]})
    row(f"one idle log stream ({count:,} open), all daemons", f"{(after - before) / count:.1f} KiB PSS", "≤ 24 KiB")


def replayed_streams(server):
    count = 2000
    job = server.call("/start_process", {"cmd": "head -c 180000 /dev/zero | tr '\\0' x | fold -w 100; sleep 600"})
    time.sleep(0.5)
    before = server.pss_kib()
    streams = Streams(server, count, "GET", f"/process_logs_streaming?id={job['id']}")
    streams.wait_for("open")
    size = int(streams.wait_for("idle")[3])
    after = server.pss_kib()
    streams.close()
    server.call("/kill_process", {"id": job["id"]})
    row(f"the same after each replayed {size // count // 1024} KiB of history", f"{(after - before) / count:.1f} KiB PSS", "≤ 48 KiB")


def idle_daemons(_):
    server = Ours()
    try:
        time.sleep(1)
        size = server.pss_kib(r"fcgi-app|procd|guard")
    finally:
        server.stop()
    row("fcgi-app + procd + idle runners + guard", f"{size / 1024:.1f} MiB PSS", "≤ 6 MiB")


def proxy(server):
    """wrk against a plain nginx that serves 1 MiB, directly and through PROXY_PORT."""
    directory = tempfile.mkdtemp(prefix="bench-target-")
    os.chmod(directory, 0o755)
    port = free_port()
    (pathlib.Path(directory) / "file").write_bytes(b"x" * MIB)
    conf = pathlib.Path(directory) / "nginx.conf"
    conf.write_text(f"""daemon off; worker_processes 1; pid {directory}/pid; error_log stderr;
events {{}}
http {{ access_log off; sendfile on; client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
 fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
 server {{ listen 127.0.0.1:{port}; root {directory}; }} }}
""")
    target = subprocess.Popen(["/usr/sbin/nginx", "-e", "stderr", "-c", conf], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        server.call("/unbind_port")
        server.call("/bind_port", {"port": str(port)})
        direct = wrk(f"http://127.0.0.1:{port}/file")[0]
        through = wrk(f"http://{server.host}:{server.proxy}/file")[0]
        server.call("/unbind_port")
    finally:
        target.terminate()
        target.wait()
        shutil.rmtree(directory)
    row("TCP proxy, 1 MiB answers, 8 connections", f"{through:,.0f} MiB/s", "≥ 0.6", f"{direct:,.0f} MiB/s directly", f"{through / direct:.2f}")


def spread(name, samples):
    samples = sorted(sample * 1000 for sample in samples)
    row(name, f"median {statistics.median(samples):.2f} ms, p99 {samples[min(len(samples) - 1, len(samples) * 99 // 100)]:.2f} ms")


def open_stream(server, body):
    """POST /run_streaming on a raw HTTP/1.0 connection; the file of its answer, head read."""
    connection = socket.create_connection((server.host, server.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    text = json.dumps(body)
    connection.sendall(f"POST /run_streaming HTTP/1.0\r\nAuthorization: Bearer {server.secret}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
    lines = connection.makefile("rb")
    while lines.readline().strip():
        pass
    return connection, lines


def output_latency(server):
    connection, lines = open_stream(server, {"cmd": f"exec {TOOLS}/ticker 500"})
    samples = []
    for line in lines:
        arrived = time.time_ns()
        if line.startswith(b'data: {"stream"'):
            samples.append((arrived - int(json.loads(line[6:])["data"])) / 1e9)
    connection.close()
    spread("from output written to bytes at the client", samples)


def hangup_latency(server):
    samples = []
    for _ in range(200):
        connection, lines = open_stream(server, {"cmd": "sleep 1000 & echo $! $$; wait"})
        pids = []
        while not pids:
            line = lines.readline()
            if line.startswith(b"data: "):
                pids = json.loads(line[6:])["data"].split()
        started = time.monotonic()
        lines.close()
        connection.close()
        while any(os.path.exists(f"/proc/{pid}") for pid in pids):
            assert time.monotonic() - started < 5
        samples.append(time.monotonic() - started)
    spread("from hang-up to a dead tree", samples)


def start_latency(_):
    samples = []
    for _ in range(20):
        started = time.monotonic()
        server = Ours()
        samples.append(time.monotonic() - started)
        server.stop()
    spread("from start to healthy", samples)


def recovery(server):
    """From the death of daemons to a command that is answered with new ones in their place."""
    def leader(name):
        try:
            return int(os.readlink(f"{server.directory}/run/service/{name}/leader"))
        except FileNotFoundError:
            return None

    def answers():
        try:
            return server.call("/run", {"cmd": "true"}).get("code") == 0
        except (OSError, http.client.HTTPException, ValueError):
            return False

    for names in (["fcgi-app"], ["procd"], ["nginx"], ["fcgi-app", "procd", "nginx"]):
        samples = []
        for _ in range(5):
            time.sleep(2)  # a second lies between two starts of one service
            old = {name: leader(name) for name in names}
            started = time.monotonic()
            for pid in old.values():
                os.kill(pid, signal.SIGKILL)
            while any(leader(name) in (None, pid) for name, pid in old.items()) or not answers():
                assert time.monotonic() - started < 30
                time.sleep(0.005)
            samples.append(time.monotonic() - started)
        row(f"from SIGKILL of {' and '.join(names)} to an answered `/run`",
            f"median {statistics.median(samples):.2f} s, worst {max(samples):.2f} s", "≤ 2 s")


def two_secrets(server):
    """What the token check by njs costs, which nginx has while one secret takes the place of another."""
    etc = pathlib.Path(tempfile.mkdtemp(prefix="bench-etc-"))
    os.chmod(etc, 0o755)
    (etc / "map.conf").write_text("default run;\n")  # the run directory of our server as a sandbox
    (etc / "run.secret").touch(0o600)
    port = free_port()
    modules = "/usr/lib/nginx/modules"
    conf = etc / "front"
    conf.write_text(f"""load_module {modules}/ngx_http_js_module.so; worker_processes 2; pid {etc}/pid; error_log stderr;
{"user www-data;" if os.geteuid() == 0 else ""} events {{ worker_connections 1024; }}
http {{ access_log off; client_body_temp_path {etc}/b; proxy_temp_path {etc}/p; fastcgi_temp_path {etc}/f; uwsgi_temp_path {etc}/u;
 scgi_temp_path {etc}/s; keepalive_requests 100000; include {etc}/nginx/http.conf;
 server {{ listen 127.0.0.1:{port}; location = /nginx {{ include {etc}/nginx/snippets/token.conf; try_files /none =204; }}
  include {etc}/nginx/server.conf; }} }}
""")

    def rates(secrets):
        (etc / "run.secret").write_text(secrets)
        subprocess.run([BIN / "nginx-sandbox", "render", "--etc", etc, "--state", server.directory], check=True)
        nginx = subprocess.Popen(["/usr/sbin/nginx", "-e", "stderr", "-c", conf, "-g", "daemon off;"])
        front = Server("127.0.0.1", port, None, server.secret)
        try:
            deadline = time.monotonic() + 10
            while socket.socket().connect_ex(("127.0.0.1", port)) != 0 and time.monotonic() < deadline:
                time.sleep(0.05)
            return get(front, "/nginx"), get(front, "/list_processes")
        finally:
            nginx.terminate()
            nginx.wait()

    try:
        one, two = rates(f"{server.secret}\n"), rates(f"{server.secret}\nanother\n")
    finally:
        shutil.rmtree(etc)
    for i, name in enumerate(("the token check alone", "`GET /list_processes`")):
        row(f"{name} with two secrets (njs), 8 connections", f"{two[i]:,.0f}/s", "", f"{one[i]:,.0f}/s with one (`secure_link`)",
            f"{two[i] / one[i]:.2f}, {2e6 * (1 / two[i] - 1 / one[i]):.0f} µs of a processor more")


ROWS = [run_true, run_output, run_streaming, watchers, small_requests, another_user, two_secrets, idle_streams, replayed_streams,
        idle_daemons, proxy, output_latency, hangup_latency, start_latency, recovery]
OURS_ONLY = {watchers, another_user, two_secrets, idle_streams, replayed_streams, idle_daemons, start_latency, recovery}


def main():
    chosen = [one for one in ROWS if not sys.argv[1:] or one.__name__ in sys.argv[1:]]
    print("| what | figure | floor | ratio | target |\n|---|---|---|---|---|")
    server = Ours(SANDBOX_LOG_MAX="1g")
    try:
        for one in chosen:
            one(server)
    finally:
        server.stop()
    if os.environ.get("PEER"):
        host, port, proxy_port, secret = os.environ["PEER"].split(":", 3)
        peer = Server(host, int(port), int(proxy_port), secret)
        print(f"\nThe same of {host}:{port}:\n\n| what | figure | floor | ratio | target |\n|---|---|---|---|---|")
        for one in chosen:
            if one not in OURS_ONLY:
                one(peer)


main()
