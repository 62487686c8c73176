"""The rows: each a small function that lets its contenders take turns and writes its lines."""

import contextlib
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time

import load
import nginxes
import servers
from file_rows import edit_file, find_files, search_files
from port_rows import port_hold, port_requests, port_websockets
from servers import DAEMONS, GUARD, NGINX, RUNNERS, TOOLS
from terminal_rows import idle_terminals, key_echo, tcp_websocket, terminal_output, terminal_recovery, terminal_viewers
from table import FEW, MEDIAN_MS, MIB, MS, PAIRS, PER_SECOND, WORST_S, Figure, Form, take_turns

REST = int(os.environ.get("BENCH_REST", "60"))  # seconds before memory is looked at
MEBIBYTE = 1 << 20


class Bench:
    """The builds `here` and, with BASE, `base`; the servers that run already; the table."""

    def __init__(self, builds, running, table):
        self.builds, self.running, self.table = builds, running, table
        self.line = table.line

    def start(self, stack, **settings):
        """{contender: a fresh server of each build}."""
        return {name: stack.enter_context(servers.Ours(binaries, **settings)) for name, binaries in self.builds.items()}

    def fresh(self, measure, turns=FEW, **settings):
        """Each build measured on a server that was started for this turn."""
        def once(binaries):
            with servers.Ours(binaries, **settings) as server:
                return measure(server)
        return take_turns({name: functools.partial(once, binaries) for name, binaries in self.builds.items()}, turns)

    def each(self, measure, beside=None, turns=PAIRS, **settings):
        """Each build measured on one server for all turns. Without settings of their own the running servers take turns, too.
        `beside` are more contenders: {name: measure}."""
        with contextlib.ExitStack() as stack:
            contenders = {**self.start(stack, **settings), **({} if settings else self.running)}
            return take_turns({**{name: functools.partial(measure, server) for name, server in contenders.items()}, **(beside or {})}, turns)


def list_rate(server):
    return load.rate(server, "/list_processes")


def read_rate(server):
    file = {"path": f"/tmp/bench-read-{server.port}"}
    server.call("/write_file", {**file, "content": "x" * 1024})
    try:
        return load.rate(server, "/read_file", file)
    finally:
        server.call("/delete_file", file)


def run_rate(server):
    return load.rate(server, "/run", {"cmd": "true"})


def list_latency(bench):
    figures = bench.each(lambda server: load.latency(server, "/list_processes"))
    bench.line("`GET /list_processes`, one connection", figures, MEDIAN_MS, base="≤ 0.8")


def run_latency(bench):
    figures = bench.each(lambda server: load.latency(server, "/run", {"cmd": "true"}))
    bench.line("`POST /run true`, one connection", figures, MEDIAN_MS, base="≤ 0.8")


def output_latency(bench):
    def delays(server):
        connection, lines = load.open_stream(server, {"cmd": f"exec {TOOLS}/ticker 100"})
        samples = []
        for line in lines:
            arrived = time.time_ns()
            if line.startswith(b'data: {"stream"'):
                samples.append((arrived - int(json.loads(line[6:])["data"])) / 1e6)
        connection.close()
        return samples

    bench.line("from output written to bytes at the client", bench.each(delays), MS)


def change_latency(bench):
    """From a change of a file to its event, with 1,000 directories watched."""
    def delays(server):
        tree = server.directory / "watched"
        for number in range(1000):
            (tree / str(number)).mkdir(parents=True, exist_ok=True)
        connection, lines = load.open_changes(server, tree)
        samples = []
        for number in range(30):
            time.sleep(0.06)  # so that it is not told with the one before
            began = time.monotonic()
            (tree / f"{number}/{began}").mkdir()
            while not lines.readline().startswith(b"event: created"):
                pass
            samples.append((time.monotonic() - began) * 1e3)
        connection.close()
        return samples

    bench.line("from a change of a file to its event at the client", bench.each(delays), MEDIAN_MS, target="≤ 60 ms")


def hangup_latency(bench):
    def once(server):
        connection, lines = load.open_stream(server, {"cmd": "sleep 1000 & echo $! $$; wait"})
        pids = []
        while not pids:
            line = lines.readline()
            if line.startswith(b"data: "):
                pids = json.loads(line[6:])["data"].split()
        started = time.monotonic()
        lines.close()
        connection.close()
        servers.wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), pause=0)
        return (time.monotonic() - started) * 1e3

    bench.line("from hang-up to a dead tree", bench.each(lambda server: [once(server) for _ in range(30)]), MS)


def small_call(bench, what, measure, of_empty):
    """A small request beside the empty handler and beside what an operator's proxy_pass costs."""
    with servers.EmptyHandler() as empty, nginxes.proxy_pass() as hop:
        figures = bench.each(measure, {"empty": lambda: load.rate(empty, "/"), "hop": lambda: load.rate(hop, "/")})
    bench.line(what, figures, PER_SECOND, ("empty", "{:,.0f}/s empty FastCGI handler", of_empty),
               ("hop", "{:,.0f}/s nginx → nginx by proxy_pass", "≥ 0.5"), base="≥ 1.6")


def list_processes(bench):
    small_call(bench, "`GET /list_processes`, 8 connections", list_rate, "≥ 0.95")


def read_file(bench):
    small_call(bench, "`POST /read_file` of 1 KB, 8 connections", read_rate, "≥ 0.9")


def floors(bench):
    """How fast the floors themselves are."""
    with servers.EmptyHandler() as empty, nginxes.proxy_pass() as hop:
        figures = take_turns({"here": lambda: load.rate(empty, "/"), "alone": lambda: load.rate(empty, "/nginx"), "hop": lambda: load.rate(hop, "/")}, FEW)
    bench.line("empty FastCGI handler, 8 connections", figures, PER_SECOND, ("alone", "{:,.0f}/s our nginx alone"),
               ("hop", "{:,.0f}/s nginx → nginx by proxy_pass"))


def run_true(bench):
    figures = bench.each(run_rate, {"spawn": lambda: float(load.tool("spawn_floor", load.SECONDS))})
    bench.line("`POST /run true`, 8 connections", figures, PER_SECOND,
               ("spawn", "{:,.0f}/s bare posix_spawn in two loops", "≥ 0.8"), base="≥ 1.2")


def jobs(bench):
    """From the first /start_process to the end of the last job."""
    count = 1000

    def ended(server):
        started = time.monotonic()
        load.requests(server, count, "/start_process", {"cmd": "true"})
        servers.wait_until(lambda: all(job["status"] != "running" for job in server.call("/list_processes", method="GET")["processes"]))
        return count / (time.monotonic() - started)

    bench.line(f"{count:,} jobs started and ended, 8 clients", bench.fresh(ended), PER_SECOND, base="≥ 1.3")


def big_output(directory):
    """A file of 100 MiB of text."""
    path = pathlib.Path(directory) / "text"
    path.write_bytes((b"The quick brown fox jumps over the lazy dog; 0123456789 abcdefghijklmno\n" * (100 * MEBIBYTE // 72 + 1))[:100 * MEBIBYTE])
    return path


def shell(command):
    subprocess.run(command, shell=True, check=True)


def megabytes(work):
    """MB/s of 100 MiB."""
    started = time.monotonic()
    work()
    return 100 * MEBIBYTE / 1e6 / (time.monotonic() - started)


def read_output(server, path):
    size = load.Streams(server, 1, "POST", "/run", {"cmd": f"cat {path}"}).result()[1]
    assert size >= 100 * MEBIBYTE, size


def run_output(bench):
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        path = big_output(directory)
        figures = bench.each(lambda server: megabytes(lambda: read_output(server, path)), {
            "cat": lambda: megabytes(lambda: subprocess.run(f"cat {path} | cat >/dev/null", shell=True, check=True))})
    bench.line("`/run` of 100 MiB stdout", figures, Form("{:,.0f} MB/s"), ("cat", "{:,.0f} MB/s `cat \\| cat`"), target="≥ 250 MB/s")


def write_file(bench):
    """100 MiB of content after the path, and how often fcgi-app writes it, as the kernel counts (proc_pid_io(5))."""
    def write(server, directory):
        assert server.call("/write_file", {"path": f"{directory}/file", "content": "x" * (100 * MEBIBYTE)}) == {"success": True}

    def written(server):
        counts = pathlib.Path(f"/proc/{server.leader('fcgi-app')}/io").read_text()
        return int(re.search(r"wchar: (\d+)", counts)[1]) / (100 * MEBIBYTE)

    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        path = big_output(directory)
        figures = bench.each(lambda server: megabytes(lambda: write(server, directory)), {
            "cat": lambda: megabytes(lambda: subprocess.run(f"cat {path} >{path}.copy", shell=True, check=True))})
        times = bench.fresh(lambda server: write(server, directory) or written(server), 1)
    bench.line("`/write_file` of 100 MiB after the path", figures, Form("{:,.0f} MB/s"), ("cat", "{:,.0f} MB/s `cat >file`"))
    bench.line("bytes that fcgi-app writes then, to bytes of content", times, Form("{:.2f}"), target="≤ 1.01")


@contextlib.contextmanager
def files_apart(size):
    """A directory in memory, so that no disk is measured, with a file of so many bytes; and an nginx of its own for it."""
    with tempfile.TemporaryDirectory(prefix="bench", dir="/dev/shm") as directory:
        path = pathlib.Path(directory)
        path.chmod(0o777)
        with open(path / "file", "wb") as file:
            piece = os.urandom(min(size, MEBIBYTE))
            for _ in range(0, size, MEBIBYTE):
                file.write(piece)
        with nginxes.plain_files(directory) as plain:
            yield path, plain


def get_file(bench):
    with files_apart(1024 * MEBIBYTE) as (path, plain):
        figures = bench.each(lambda server: load.curl(server, f"/files{path}/file", "-o", "/dev/null"),
                             {"plain": lambda: load.curl(plain, "/file", "-o", "/dev/null")}, FEW)
    bench.line("`GET /files` of 1 GiB", figures, Form("{:,.0f} MB/s"), ("plain", "{:,.0f} MB/s nginx's own file by sendfile", "≥ 0.9"))


def put_file(bench):
    with files_apart(1024 * MEBIBYTE) as (path, plain):
        def put(server, target):
            (path / "copy").unlink(missing_ok=True)
            return load.curl(server, target, "-T", str(path / "file"))

        figures = bench.each(lambda server: put(server, f"/files{path}/copy"), {"plain": lambda: put(plain, "/copy")}, FEW)
    bench.line("`PUT /files` of 1 GiB", figures, Form("{:,.0f} MB/s"), ("plain", "{:,.0f} MB/s `PUT` by nginx's module dav", "≥ 0.95"))


def small_files(bench):
    """Beside list_processes of the same server."""
    with files_apart(4096) as (path, _), servers.Ours() as lists:
        for method, measure, target in (("GET", lambda server: load.rate(server, f"/files{path}/file"), "≥ 0.9"),
                                        ("PUT", lambda server: load.put_rate(server, f"/files{path}/put"), "≥ 0.6")):
            figures = bench.each(measure, {"lists": functools.partial(list_rate, lists)})
            bench.line(f"`{method} /files` of 4 KiB, 8 connections", figures, PER_SECOND, ("lists", "{:,.0f}/s `GET /list_processes`", target))


def get_memory(bench):
    """How much more all daemons have while 1 GiB passes, nginx included: the most that a look every 20 ms finds."""
    with files_apart(1024 * MEBIBYTE) as (path, _):
        def more(server):
            load.rate(server, f"/files{path}/file", connections=1, lua='wrk.headers["Range"] = "bytes=0-9"')
            before = server.pss_kib(f"{DAEMONS}|{RUNNERS}|{GUARD}|{NGINX}")
            return (peak_kib(server, f"{DAEMONS}|{RUNNERS}|{GUARD}|{NGINX}", lambda: load.curl(server, f"/files{path}/file", "-o", "/dev/null")) - before) / 1024

        bench.line("more memory of all daemons during `GET /files` of 1 GiB", bench.fresh(more), MIB, target="≤ 4 MiB")


def peak_kib(server, pattern, work):
    """The most memory that processes have while the work is done; a look every 20 ms."""
    seen, stop = [0], threading.Event()

    def look():
        while not stop.wait(0.02):
            seen.append(server.pss_kib(pattern))

    thread = threading.Thread(target=look)
    thread.start()
    work()
    stop.set()
    thread.join()
    return max(seen)


def archives(bench):
    """A tree of 20,000 files of 10 KiB, to the client and back, in memory: a disk would be all that is measured."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="bench", dir=memory) as directory:
        work = pathlib.Path(directory)
        for number in range(200):
            (work / "tree" / f"{number}").mkdir(parents=True)
            for file in range(100):
                (work / "tree" / f"{number}" / f"{file}.txt").write_bytes(os.urandom(10240))
        shell(f"tar c -C {work}/tree . >{work}/archive")
        size = (work / "archive").stat().st_size / 1e6

        def rate(command):
            shell(f"rm -rf {work}/copy && mkdir {work}/copy")
            started = time.monotonic()
            shell(command)
            return size / (time.monotonic() - started)

        def curl(server, path):
            return f"curl -sf -H 'Authorization: Bearer {server.secret}' 'http://{server.host}:{server.port}/files{work}/{path}?archive=tar'"

        sent = bench.each(lambda server: rate(f"{curl(server, 'tree')} -o /dev/null"), {"tar": lambda: rate(f"tar c -C {work}/tree . | cat >/dev/null")})
        taken = bench.each(lambda server: rate(f"{curl(server, 'copy')} -T {work}/archive -o /dev/null"),
                           {"tar": lambda: rate(f"tar x -C {work}/copy <{work}/archive")})
    bench.line("`GET /files` of a tree of 20,000 files, 200 MB, as a tar", sent, Form("{:,.0f} MB/s"), ("tar", "{:,.0f} MB/s `tar c \\| cat`", "≥ 0.8"))
    bench.line("`PUT /files` of that tar", taken, Form("{:,.0f} MB/s"), ("tar", "{:,.0f} MB/s `tar x`", "≥ 0.8"))


def run_streaming(bench):
    def lines_here(server):
        events, _, seconds = load.Streams(server, 1, "POST", "/run_streaming", {"cmd": "seq 1000000"}).result()
        assert events >= 1000001, events
        return 1e6 / seconds

    def lines_there():
        started = time.monotonic()
        subprocess.run("seq 1000000 | wc -l", shell=True, check=True, stdout=subprocess.DEVNULL)
        return 1e6 / (time.monotonic() - started)

    bench.line("`/run_streaming` of `seq 1000000`", bench.each(lines_here, {"wc": lines_there}), Form("{:,.0f} lines/s"),
               ("wc", "{:,.0f} lines/s `seq \\| wc`"), target="≥ 500,000")


def watchers(bench):
    lines, count = 200000, 50

    def watch(server):
        gate = server.directory / "gate"
        job = server.call("/start_process", {"cmd": f"echo ready; until [ -e {gate} ]; do sleep 0.05; done; seq {lines}"})
        streams = load.Streams(server, count, "GET", f"/process_logs_streaming?id={job['id']}")
        streams.wait_for("open")
        started = time.monotonic()
        gate.touch()
        events = streams.result()[0]
        assert events >= (lines + 2) * count, events
        return events / (time.monotonic() - started)

    bench.line(f"{count} watchers of {lines:,} lines, every line", bench.fresh(watch, SANDBOX_LOG_MAX="1g"), Form("{:,.0f} lines/s in sum"),
               target="≥ 1,000,000")


def proxy(bench):
    """1 MiB answers of an nginx through PROXY_PORT, through a stream proxy with a fixed target, and directly."""
    with nginxes.file_server(MEBIBYTE) as target, nginxes.stream_proxy(target.port) as plain:
        def through(server):
            if server.call("/port_status", method="GET").get("port") != target.port:
                server.call("/bind_port", {"port": str(target.port)})
            return load.rate(server, "/file", port=server.proxy)

        figures = bench.each(through, {"plain": lambda: load.rate(plain, "/file"), "direct": lambda: load.rate(target, "/file")})
    bench.line("TCP proxy, 1 MiB answers, 8 connections", figures, Form("{:,.0f} MiB/s"), ("plain", "{:,.0f} MiB/s a plain stream proxy_pass", "≥ 0.95"),
               ("direct", "{:,.0f} MiB/s directly"))


def idle_daemons(bench):
    def measure(server):
        time.sleep(1)  # runners start, and rest
        return server.pss_kib(f"{DAEMONS}|{RUNNERS}|{GUARD}") / 1024

    bench.line("fcgi-app + procd + idle runners + guard", bench.fresh(measure), MIB, target="≤ 6 MiB")


def rested_memory(bench):
    """The builds rest during the same time."""
    count = 800
    figures = {name: Figure() for name in bench.builds}
    for _ in range(FEW):
        with contextlib.ExitStack() as stack:
            started = bench.start(stack)
            for server in started.values():
                load.wrk(server, "/list_processes", connections=count)
            time.sleep(REST)
            for name, server in started.items():
                figures[name].add(server.pss_kib(DAEMONS) / 1024)
    bench.line(f"fcgi-app + procd {REST} s after {count} connections were open at once", figures, MIB, target="≤ 2 MiB")


def stream_memory(bench, what, count, command, target):
    def measure(server):
        job = server.call("/start_process", {"cmd": command})
        time.sleep(0.5)
        before = server.pss_kib(f"{DAEMONS}|{RUNNERS}|{GUARD}|{NGINX}")
        streams = load.Streams(server, count, "GET", f"/process_logs_streaming?id={job['id']}")
        streams.wait_for("open")
        streams.wait_for("idle")
        after = server.pss_kib(f"{DAEMONS}|{RUNNERS}|{GUARD}|{NGINX}")
        streams.close()
        return (after - before) / count

    bench.line(f"{what} ({count:,} open), all daemons", bench.fresh(measure), Form("{:.1f} KiB PSS"), target=target)


def idle_streams(bench):
    stream_memory(bench, "one idle log stream", 2000, "sleep 600", "≤ 24 KiB")


def replayed_streams(bench):
    stream_memory(bench, "one log stream after 380 KiB of history", 2000, "head -c 180000 /dev/zero | tr '\\0' x | fold -w 100; sleep 600",
                  "≤ 48 KiB")


def peak_memory(bench):
    """The most that a look every 20 ms finds while 100 MiB pass."""
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        path = big_output(directory)

        def peak(server):
            return peak_kib(server, f"{DAEMONS}|{RUNNERS}", lambda: [read_output(server, path) for _ in range(3)]) / 1024

        bench.line("peak of fcgi-app + procd + runners during `/run` of 100 MiB stdout", bench.fresh(peak), MIB, target="≤ 64 MiB")


def start_latency(bench):
    def once(binaries):
        started = time.monotonic()
        with servers.Ours(binaries):
            return (time.monotonic() - started) * 1e3

    figures = take_turns({name: functools.partial(once, binaries) for name, binaries in bench.builds.items()}, 20)
    bench.line("from start to healthy", figures, MS)


def recovery(bench):
    """From the death of daemons to a command that is answered with new ones in their place."""
    def once(names, server, done):
        time.sleep(max(0, done.get(server, 0) + 2 - time.monotonic()))  # a second lies between two starts of one service
        old = {name: server.leader(name) for name in names}
        started = time.monotonic()
        for pid in old.values():
            os.kill(pid, signal.SIGKILL)
        servers.wait_until(lambda: all(server.leader(name) not in (None, pid) for name, pid in old.items())
                           and server.try_call("/run", {"cmd": "true"}).get("code") == 0, 30)
        done[server] = time.monotonic()
        return done[server] - started

    for names in (["fcgi-app"], ["procd"], ["nginx"], ["fcgi-app", "procd", "nginx"]):
        with contextlib.ExitStack() as stack:
            done = {}
            started = bench.start(stack)
            time.sleep(2)
            figures = take_turns({name: functools.partial(once, names, server, done) for name, server in started.items()}, FEW)
        bench.line(f"from SIGKILL of {' and '.join(names)} to an answered `/run`", figures, WORST_S, target="≤ 2 s")


def access_log(bench):
    """What the access log costs. It is on by default; the other rows turn it off."""
    with servers.Ours() as without:
        figures = bench.each(list_rate, {"without": lambda: list_rate(without)}, FEW, SANDBOX_ACCESS_LOG=None)
    bench.line("`GET /list_processes` with the access log, 8 connections", figures, PER_SECOND, ("without", "{:,.0f}/s without"), base="≥ 1.6")


def another_user(bench):
    """What SANDBOX_USER costs: a change of user before each command, and fcgi-app's seccomp filter."""
    if os.geteuid() != 0:
        return
    for path, measure in (("/run", run_rate), ("/read_file", read_rate)):
        with servers.Ours() as plain:
            figures = bench.each(measure, {"plain": functools.partial(measure, plain)}, FEW,
                                 SANDBOX_USER="games", PATH="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        bench.line(f"`POST {path}` with `SANDBOX_USER`, 8 connections", figures, PER_SECOND, ("plain", "{:,.0f}/s without"))


def two_secrets(bench):
    """What the token check by njs costs, which nginx has while one secret takes the place of another."""
    with contextlib.ExitStack() as stack:
        started = bench.start(stack)
        fronts = {name: stack.enter_context(nginxes.rendered_front(server, [server.secret, "another"])) for name, server in started.items()}
        fronts["one"] = stack.enter_context(nginxes.rendered_front(started["here"], [started["here"].secret]))
        for what, path in (("the token check alone", "/nginx"), ("`GET /list_processes`", "/list_processes")):
            figures = take_turns({name: functools.partial(load.rate, front, path) for name, front in fronts.items()}, FEW)
            more = 1e6 * len(os.sched_getaffinity(0)) * (1 / figures["here"].median() - 1 / figures["one"].median())
            bench.line(f"{what} with two secrets (njs), 8 connections", figures, PER_SECOND,
                       ("one", "{:,.0f}/s with one (`secure_link`)", "", f", {more:.0f} µs of a processor more"))


# In the order of the table: what a user feels, memory, starts, and what options cost.
ROWS = [list_latency, run_latency, output_latency, change_latency, hangup_latency, list_processes, read_file, run_true, jobs, run_output,
        run_streaming, write_file, get_file, put_file, small_files, archives, edit_file, find_files,
        search_files, watchers, proxy, port_requests, port_websockets, port_hold,
        key_echo, terminal_output, terminal_viewers, tcp_websocket, idle_terminals, terminal_recovery, idle_daemons, rested_memory, peak_memory, get_memory, idle_streams, replayed_streams,
        start_latency, recovery, floors, access_log, another_user, two_secrets]
